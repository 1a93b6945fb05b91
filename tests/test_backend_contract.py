"""What every backend must do: run over all that are installed, each in every variant of its field and sampler."""

import inspect
import itertools

import pytest
import torch

from syncnerf.backend import Backend, Execution, SceneGeometry, discover_backends
from syncnerf.option import configured, options_of
from syncnerf.questions import SHOWN, RayBatch, RayQuestion
from syncnerf.scene.rays import Rays

SMALL = {
    "plane_resolution": 8, "plane_scales": "1,2", "plane_channels": 8, "time_resolution": 6, "hidden_width": 16,
    "basis_width": 16, "proposal_samples": "16", "proposal_resolutions": "8", "field_samples": 8,
    "occupancy_resolution": 12, "occupancy_steps": 24, "occupancy_start": 2, "occupancy_every": 2,
    "hash_levels": 3, "hash_table": 9, "hash_coarsest": 4, "hash_finest": 12, "proposal_levels": 2, "proposal_table": 9,
    "grid_resolution": 12, "final_resolution": 12, "distortion_weight": 0.01, "density_weight": 0.01, "time_blur": 2.0,
    "initial_depth": 5.0,
}  # fmt: skip
"""Sizes for a test, of whichever backend knows the option."""
VARIANTS = ("field", "sampler")
RAYS, STEPS = 40, 100


def variants() -> list:
    """Every backend with every choice of its field and its sampler."""
    found = []
    for name, spec in sorted(discover_backends().items()):
        items = [item for item in options_of(spec.config) if item.name in VARIANTS and item.metadata.get("choices")]
        for values in itertools.product(*(item.metadata["choices"] for item in items)):
            choice = dict(zip((item.name for item in items), values, strict=True))
            found.append(pytest.param((name, choice), id="-".join([name, *values])))
    return found


def scene_geometry(**changes) -> SceneGeometry:
    values = {
        "bounds": torch.tensor([[-1.3] * 3, [1.3] * 3]), "near": 2.0, "far": 6.0, "frame_count": 12,
        "steps": STEPS, "background": (1.0, 1.0, 1.0),
    }  # fmt: skip
    return SceneGeometry(**{**values, **changes})


def some_rays(count: int = RAYS) -> Rays:
    generator = torch.Generator().manual_seed(0)
    origins = 4 * torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    targets = torch.rand(count, 3, generator=generator) - 0.5
    ones = torch.ones(count)
    return Rays(origins, torch.nn.functional.normalize(targets - origins, dim=-1), 2 * ones, 6 * ones)


@pytest.fixture(params=variants())
def make(request):
    """Builds the backend anew at every call, its weights stirred so that nothing is flat in time."""
    name, choice = request.param
    spec = discover_backends()[name]
    config = configured(spec.config, SMALL | choice)

    def build(seed: int = 0, **execution) -> Backend:
        torch.manual_seed(seed)
        backend = spec.build(config, scene_geometry(), Execution(**execution))
        with torch.no_grad():
            for parameter in backend.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        backend.before_step(0)
        return backend

    build.spec = spec
    return build


def some_times(spec, count: int = RAYS) -> torch.Tensor:
    times = 1.6 * torch.rand(count, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.8
    return times[:, None] + torch.tensor([0.0, 0.07, 0.14]).double() if spec.trains_on == "time_series" else times


def some_batch(spec) -> RayBatch:
    times = some_times(spec)
    rgb = torch.rand(*times.shape, 3, generator=torch.Generator().manual_seed(2))
    statistics = {"mean": rgb.reshape(RAYS, -1, 3).mean(dim=1), "deviation": torch.full((RAYS,), 0.1)}
    cameras, rows = torch.zeros(RAYS, dtype=torch.int64), torch.zeros(RAYS)
    return RayBatch(some_rays(), cameras, times, rows, rgb, statistics)


def test_it_is_a_backend_with_the_contracts_signatures(make):
    backend = make()
    assert isinstance(backend, Backend)
    for method in ("render_rays", "losses", "penalties", "param_groups", "before_step", "after_step", "step_kind"):
        expected = inspect.signature(getattr(Backend, method)).parameters
        assert list(inspect.signature(getattr(type(backend), method)).parameters) == list(expected)
    names = {p for m in vars(type(backend)).values() if callable(m) for p in inspect.signature(m).parameters}
    assert not any("camera" in name for name in names), "a backend never sees a camera"


@pytest.mark.parametrize("jittered", [False, True])
def test_shapes_types_and_ranges_of_a_rendering(make, jittered):
    backend, times = make(), some_times(make.spec)
    rendering = backend(RayQuestion(some_rays(), times), torch.Generator().manual_seed(0) if jittered else None)
    assert rendering.rgb.shape == (*times.shape, 3)
    assert rendering.depth.shape == rendering.accumulation.shape == times.shape
    for value in (rendering.rgb, rendering.depth, rendering.accumulation):
        assert value.dtype == torch.float32
        assert torch.isfinite(value).all()
    assert -1e-5 <= rendering.rgb.min() <= rendering.rgb.max() <= 1 + 1e-5
    assert -1e-5 <= rendering.accumulation.min() <= rendering.accumulation.max() <= 1 + 1e-5
    assert rendering.depth.min() >= 1.9
    assert rendering.depth.max() <= 6.1
    assert rendering.rgb.std() > 1e-3
    single = times[:, 0] if times.ndim == 2 else times
    assert backend(RayQuestion(some_rays(), single)).rgb.shape == (RAYS, 3)


def test_rendering_without_a_generator_is_deterministic_and_independent_of_the_batch(make):
    backend, times, rays = make().eval(), some_times(make.spec), some_rays()
    with torch.no_grad():
        first, again = backend(RayQuestion(rays, times)), backend(RayQuestion(rays, times))
        part = backend(RayQuestion(rays[7:19], times[7:19]))
    assert torch.equal(first.rgb, again.rgb)
    assert torch.equal(first.depth, again.depth)
    torch.testing.assert_close(first.rgb[7:19], part.rgb, atol=2e-5, rtol=0)


def test_every_random_draw_comes_from_the_generator(make):
    backend, times, rays = make(), some_times(make.spec), some_rays()
    with torch.no_grad():
        torch.manual_seed(1)
        first = backend(RayQuestion(rays, times), torch.Generator().manual_seed(3)).rgb
        torch.manual_seed(2)
        again = backend(RayQuestion(rays, times), torch.Generator().manual_seed(3)).rgb
        other = backend(RayQuestion(rays, times), torch.Generator().manual_seed(4)).rgb
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_gradients_reach_the_times_and_every_parameter(make):
    backend, batch = make(), some_batch(make.spec)
    times = batch.frame_times.requires_grad_()
    rendering = backend(RayQuestion(batch.rays, times), torch.Generator().manual_seed(0))
    losses, penalties = backend.losses(rendering, batch, 0), backend.penalties(0)
    assert "photometric" in losses
    assert not losses.keys() & penalties.keys()
    losses |= penalties
    assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    assert times.grad.dtype == torch.float64
    assert (times.grad != 0).float().mean() > 0.5
    silent = [name for name, p in backend.named_parameters() if p.grad is None or not (p.grad != 0).any()]
    assert silent == []
    assert all(torch.isfinite(p.grad).all() for p in backend.parameters())


def test_losses_do_not_know_the_camera(make):
    backend, batch = make(), some_batch(make.spec)
    rendering = backend(RayQuestion(batch.rays, batch.frame_times))
    first = backend.losses(rendering, batch, 0)
    batch.cameras = batch.cameras + 5
    assert {k: v.item() for k, v in backend.losses(rendering, batch, 0).items()} == {
        k: v.item() for k, v in first.items()
    }


def test_parameter_groups_name_each_parameter_once(make):
    backend = make()
    groups = backend.param_groups(0.25)
    names = [group["name"] for group in groups]
    assert len(set(names)) == len(names)
    assert all(group["lr"] > 0 for group in groups)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(set(listed)) == len(listed)
    assert set(listed) == {id(parameter) for parameter in backend.parameters()}
    doubled = backend.param_groups(0.5)
    assert [group["lr"] for group in doubled] == [2 * group["lr"] for group in groups]


def test_what_a_step_replaces_is_said(make):
    """Every parameter is the one that it was, or named as what took its place."""
    backend = make()
    for step in range(12):
        before = {id(parameter): parameter for parameter in backend.parameters()}
        backend.before_step(step)
        replaced = backend.after_step(step)
        for item in replaced:
            del before[id(item.old)]
            before[id(item.new)] = item.new
            assert item.rows is None or item.rows.shape == item.new.shape[:1]
        assert before.keys() == {id(parameter) for parameter in backend.parameters()}


def train(backend: Backend, spec, steps: range) -> None:
    optimizer = torch.optim.Adam(backend.param_groups(1e-2))
    batch = some_batch(spec)
    for step in steps:
        backend.before_step(step)
        rendering = backend(RayQuestion(batch.rays, batch.frame_times), torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        sum((backend.losses(rendering, batch, step) | backend.penalties(step)).values()).backward()
        optimizer.step()
        backend.after_step(step)


def test_state_moves_to_another_instance(make):
    """Everything that training changed travels in the state; what follows is the same bit for bit."""
    backend = make(0)
    train(backend, make.spec, range(6))
    other = make(1)
    other.load_state_dict(backend.state_dict())
    other.before_step(5)
    times, rays = some_times(make.spec), some_rays()
    with torch.no_grad():
        assert torch.equal(backend(RayQuestion(rays, times)).rgb, other(RayQuestion(rays, times)).rgb)
    train(backend, make.spec, range(6, 9))
    train(other, make.spec, range(6, 9))
    for name, value in backend.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_schedules_are_functions_of_the_step_alone(make):
    straight, wandering = make(0), make(0)
    batch = some_batch(make.spec)
    for step in (90, 3, 55):
        wandering.before_step(step)
    for step in (0, 10, 40, 99):
        straight.before_step(step)
        wandering.before_step((step * 7) % STEPS)
        wandering.before_step(step)
        results = []
        for backend in (straight, wandering):
            rendering = backend(RayQuestion(batch.rays, batch.frame_times))
            losses = backend.losses(rendering, batch, step) | backend.penalties(step)
            results.append((rendering.rgb, {name: value.item() for name, value in losses.items()}))
        assert torch.equal(results[0][0], results[1][0])
        assert results[0][1] == results[1][1]
    for step in (4, 8):
        assert len(straight.after_step(step)) == len(wandering.after_step(step))
        for name, value in straight.state_dict().items():
            assert torch.equal(value, wandering.state_dict()[name]), name


def test_kinds_of_steps_are_for_training_in_fixed_shapes(make):
    """None means: not to be recorded. A backend may say so always, as MixVoxels does."""
    assert make().step_kind(3) is None
    backend = make(fixed_shapes=True)
    backend.before_step(3)
    kind = backend.step_kind(3)
    assert hash(kind) == hash(backend.step_kind(3))
    assert (kind is None) == (make.spec.name == "mixvoxels")
    assert backend.eval().step_kind(3) is None


def test_decomposition_is_there_when_it_is_asked_for(make):
    backend, times = make().eval(), some_times(make.spec)
    with torch.no_grad():
        plain = backend(RayQuestion(some_rays(), times))
        assert "dynamic_rgb" not in plain.extras
        extras = backend(RayQuestion(some_rays(), times, SHOWN)).extras
        moved = backend(RayQuestion(some_rays(), times + 0.2, SHOWN)).extras
    for name in ("static_rgb", "dynamic_rgb"):
        assert extras[name].shape[-1] == 3
        assert 0 <= extras[name].min() <= extras[name].max() <= 1
    # The static part may only move as far as other samples are chosen at another time.
    movement = {name: (extras[name] - moved[name]).abs().mean() for name in extras if name.endswith("_rgb")}
    assert movement["dynamic_rgb"] > 0
    assert movement["static_rgb"] < 0.5 * (plain.rgb - backend(RayQuestion(some_rays(), times + 0.2)).rgb).abs().mean()
