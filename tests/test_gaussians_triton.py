"""Tiles of Gaussians in Triton: in its interpreter they are the plain twin's, and a real compiler takes the kernels."""

from dataclasses import replace

import pytest
import torch
from gaussian_fields import flying_gaussians, through_lens
from gaussian_scenes import MOMENTS, assert_alike, leaves, single, some_gaussians, some_motion, view
from small_fields import GAUSSIANS_OPTIONS
from training_runs import make_trainer
from triton_compiler import compiled_kernels

from syncnerf.backend import Execution
from syncnerf.encodings.engines import missing
from syncnerf.scene.lens import Lens
from syncnerf_gaussians.gaussians import Gaussians, Motion
from syncnerf_gaussians.raster import Raster, influence, rasterise, rasterise_rates

pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
VIEWS = [view(37, 21), view(13, 19, yaw=0.6)]
"""Not whole numbers of tiles."""


def on_device(thing):
    """The same in 32 bits on the device where Triton runs."""
    if isinstance(thing, torch.Tensor):
        return single(thing).to(DEVICE)
    if not hasattr(thing, "__dict__"):
        return thing
    found = {name: on_device(value) for name, value in vars(thing).items() if value is not None}
    return replace(thing, **found | ({"times": thing.times.to(DEVICE)} if hasattr(thing, "times") else {}))


def drawn(gaussians: Gaussians, motion: Motion, engine: str) -> tuple[Raster, dict[str, torch.Tensor]]:
    """Pictures, and gradients of a sum of all their numbers with weights drawn once and for all."""
    inputs = leaves(gaussians, motion)
    pictures = rasterise(gaussians, VIEWS, motion, engine=engine)
    generator, loss = torch.Generator().manual_seed(7), 0.0
    for values in pictures[:2]:
        loss = loss + (values.cpu() * torch.randn(values.shape, generator=generator, dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True)
    return pictures, {name: one.cpu() for name, one in zip(inputs, gradients, strict=True) if one is not None}


@pytest.mark.parametrize(("size", "degree"), [(0.1, 3), (0.4, 1)])
def test_pictures_and_gradients_are_those_of_the_twin_in_64_bits(size, degree):
    found, gradients = drawn(on_device(some_gaussians(25, degree, size)), on_device(some_motion(25, MOMENTS)), "triton")
    expected, slopes = drawn(some_gaussians(25, degree, size), some_motion(25, MOMENTS), "torch")
    for name, value in expected._asdict().items():
        scale = float(value.detach().abs().max())
        torch.testing.assert_close(
            getattr(found, name).detach().cpu().double(), value.detach(), rtol=0, atol=2e-5 * scale
        )
    assert_alike(gradients, slopes, 5e-5)


def test_derivatives_by_time_are_those_of_the_twin():
    found = rasterise_rates(on_device(some_gaussians(25)), VIEWS, on_device(some_motion(25, MOMENTS)), "triton")
    expected = rasterise_rates(some_gaussians(25), VIEWS, some_motion(25, MOMENTS))
    assert_alike(
        {"rates": found[1].cpu(), "rgb": found[0].rgb.cpu()}, {"rates": expected[1], "rgb": expected[0].rgb}, 5e-5
    )


def test_influence_is_that_of_the_twin():
    errors = torch.rand(sum(len(one) for one in VIEWS), generator=torch.Generator().manual_seed(4))
    gaussians, motion = on_device(some_gaussians(25)), on_device(some_motion(25, MOMENTS))
    found = influence(gaussians, VIEWS, motion, errors.to(DEVICE), "triton")
    expected = influence(some_gaussians(25), VIEWS, some_motion(25, MOMENTS), errors.double())
    assert_alike({name: value.cpu() for name, value in found._asdict().items()}, expected._asdict(), 1e-5)


def test_a_backend_answers_alike_with_either_engine():
    field, question = flying_gaussians((1.0, 0.5, 0.0)).to(DEVICE), through_lens(Lens())
    wanted, times = replace(question.wanted, depth=True), question.times.to(DEVICE).detach()
    question = replace(question, views=question.views.to(DEVICE), times=times, wanted=wanted)[:2]
    answers = []
    for engine in ("torch", "triton"):
        field.execution = Execution(engine=engine)
        slopes, answer = field.render_slopes(question), field(question)
        wrong = torch.ones(answer.rgb.shape[:-1], device=DEVICE)
        answers.append((answer.rgb, answer.depth, slopes.slopes, answer.extras["seen"](wrong)))
    for plain, fast in zip(*answers, strict=True):
        assert float(plain.abs().max()) > 0.0
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-4 * float(plain.abs().max()))


@pytest.mark.slow
def test_a_training_step_is_the_same_on_either_engine(tiny_scene, tmp_path):
    """From the option to the kernels, and through the relocation."""
    losses = {}
    for engine in ("torch", "triton"):
        arguments = [f"--datadir={tiny_scene}", *GAUSSIANS_OPTIONS, "--gaussians=40", "--lr=1e-3", f"--engine={engine}"]
        trainer = make_trainer([*arguments, f"--device={DEVICE}", "--batch-size=1024"], tmp_path / engine)
        assert trainer.synced.backend.execution.engine == engine
        losses[engine] = [trainer.train_step()[0]["photometric"].item() for _ in range(6)]
    assert losses["triton"] == pytest.approx(losses["torch"], rel=1e-3)
    assert len(set(losses["torch"])) == 6


@pytest.mark.skipif(missing("gsplat", torch.device(DEVICE)) is not None, reason="gsplat's kernels are not here")
def test_pictures_of_gsplat_are_those_of_the_twin():
    """But for the order of depths instead of distances, and what its own bounds leave out."""
    found, gradients = drawn(on_device(some_gaussians(25, size=0.04)), on_device(some_motion(25, MOMENTS)), "gsplat")
    expected, slopes = drawn(some_gaussians(25, size=0.04), some_motion(25, MOMENTS), "torch")
    for name in ("rgb", "accumulation"):
        difference = getattr(found, name).detach().cpu() - getattr(expected, name).detach()
        assert float(difference.abs().mean()) < 1e-3
    for name, gradient in slopes.items():
        if name != "times":
            cosine = torch.nn.functional.cosine_similarity(
                gradients[name].double().flatten(), gradient.flatten(), dim=0
            )
            assert float(cosine) > 0.99, name


COMPILE = """
from syncnerf_gaussians import tiles_triton as kernels
shared = {"numbers": "*fp32", "splats": "*i32", "begin": "*i32", "tiles": "*i32", "values": "*fp32"}
for kernel, own, constants in (
    (kernels._draw_kernel, {"rates": "*fp32", "slopes": "*fp32"}, {"SIDE": 16, "RATES": False}),
    (kernels._draw_kernel, {"rates": "*fp32", "slopes": "*fp32"}, {"SIDE": 16, "RATES": True}),
    (kernels._backward_kernel, {"upstream": "*fp32", "sums": "*fp32"}, {"SIDE": 16}),
):
    check(kernel, {name: kind for name, kind in (shared | own).items() if name in kernel.arg_names}, constants)
"""


def test_kernels_compile_for_a_gpu(tmp_path):
    assert compiled_kernels(COMPILE, tmp_path) == 3
