"""Thinned gradients: what they are on the average, which are left alone, and that kernels pass by what is zero."""

import pytest
import torch
from small_fields import SMALL

from syncnerf.assembly import assemble, make_batches
from syncnerf.encodings import hash_grid_native, small_network
from syncnerf.encodings.hash_grid import hash_grid_features
from syncnerf.encodings.hash_grid_layout import GridLayout
from syncnerf.encodings.mlp_weights import mlp_values
from syncnerf.encodings.told_rows import told_rows
from syncnerf.installed import discover_backends
from syncnerf.job import Job
from syncnerf.loss_curvature import loss_curvatures
from syncnerf.option import configured
from syncnerf.options import parse
from syncnerf.questions import RayQuestion
from syncnerf.rendering.thinning import thinned_rows, thinning, unthinned
from syncnerf.testing.samples import scene_geometry, some_batch
from syncnerf_kplanes import adapter, plane_lookup

needs_kernels = pytest.mark.skipif(small_network._library() is None, reason="no C compiler: kernels are not used")


def unequal_rows(count: int = 400, width: int = 5) -> torch.Tensor:
    """Rows whose lengths span five orders of magnitude."""
    generator = torch.Generator().manual_seed(3)
    scale = 10.0 ** (5.0 * torch.rand(count, 1, generator=generator, dtype=torch.float64) - 5.0)
    return scale * torch.randn(count, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("threshold", [0.5, 2.0, 10.0])
def test_the_mean_over_all_draws_is_the_gradient_itself(threshold):
    """Draws on a grid that is finer than the rarest row's share by far: the mean is exact but for the grid's steps."""
    rows, draws = unequal_rows(), 4000
    total = torch.zeros_like(rows)
    for number in range(draws):
        total += thinned_rows(rows, threshold, torch.tensor((number + 0.5) / draws, dtype=torch.float64))
    lengths = rows.norm(dim=1)
    shares = (lengths / (threshold * lengths.mean())).clamp(max=1.0)
    # Each row is kept in all but at most one of its draws x share draws.
    assert ((total / draws - rows).norm(dim=1) <= lengths / (shares * draws) + 1e-12).all()


@pytest.mark.parametrize("draw", [0.0, 0.37, 0.999])
def test_long_rows_are_left_alone_and_the_others_are_as_few_as_their_shares_say(draw):
    rows, threshold = unequal_rows(), 2.0
    thinned = thinned_rows(rows, threshold, torch.tensor(draw, dtype=torch.float64))
    lengths = rows.norm(dim=1)
    long = lengths >= threshold * lengths.mean()
    assert 10 < long.sum() < 200
    assert torch.equal(thinned[long], rows[long])
    kept = thinned.norm(dim=1) > 0
    shares = (lengths / (threshold * lengths.mean())).clamp(max=1.0)
    assert abs(float(kept.sum() - shares.sum())) <= 1.0
    torch.testing.assert_close(
        thinned[kept & ~long].norm(dim=1), (threshold * lengths.mean()).expand(int((kept & ~long).sum()))
    )


def test_rows_of_zeros_stay_zeros_and_what_is_not_finite_stays_so():
    draw = torch.tensor(0.5, dtype=torch.float64)
    assert torch.equal(thinned_rows(torch.zeros(7, 3), 1.0, draw), torch.zeros(7, 3))
    assert thinned_rows(torch.zeros(0, 3), 1.0, draw).shape == (0, 3)
    spoilt = torch.ones(7, 3)
    spoilt[2, 1] = torch.nan
    assert not thinned_rows(spoilt, 1.0, draw).isfinite().all(), "16-bit training has to see an overflow"


def test_short_rows_of_16_bits_are_lengthened_without_an_overflow():
    rows = torch.full((4000, 2), 6e-8, dtype=torch.float16)
    rows[0] = 1e4
    kept = [thinned_rows(rows, 1.0, torch.tensor(d / 50, dtype=torch.float64)).double() for d in range(50)]
    short = torch.stack(kept)[:, 1:]
    assert short.isfinite().all()
    lengths = short.norm(dim=2)
    torch.testing.assert_close(lengths[lengths > 0], torch.full_like(lengths[lengths > 0], 3.54), rtol=0.01, atol=0)


def test_nothing_is_thinned_without_a_threshold_or_a_generator():
    assert thinning(0.0, torch.Generator()) is unthinned
    assert thinning(1.0, None) is unthinned
    values = torch.rand(4, 3)
    assert thinning(1.0, torch.Generator())(values) is values, "values that want no gradient cost no draw"


def with_few_told(network, inputs: list[torch.Tensor], told: torch.Tensor) -> list[torch.Tensor]:
    """Gradients of the inputs for an upstream gradient that is zero but in the told rows."""
    leaves = [value.clone().requires_grad_() for value in inputs]
    output = network(*leaves)
    upstream = torch.rand(output.shape, generator=torch.Generator().manual_seed(1)) - 0.3
    upstream[~told] = 0.0
    return list(torch.autograd.grad(output, leaves, upstream))


def small_networks():
    shapes = [(64, 48), (16, 64)]
    weights = 0.2 * torch.randn(sum(a * b for a, b in shapes), generator=torch.Generator().manual_seed(2))
    kernel, twin = (lambda v, w, f=f: f(v, w, 40, 16, shapes) for f in (small_network.native_network, mlp_values))
    return kernel, twin, [torch.randn(900, 40, generator=torch.Generator().manual_seed(5)), weights]


def hash_grids():
    layout = GridLayout(3, 2, 4, 8, 4, 2.0)
    table = torch.randn(layout.size, generator=torch.Generator().manual_seed(2))
    kernel, twin = (
        lambda p, t, f=f: f(p, t, layout) for f in (hash_grid_native.native_features, hash_grid_features)
    )
    return kernel, twin, [torch.rand(900, 3, generator=torch.Generator().manual_seed(5)), table]


def plane_grids():
    generator, sizes = torch.Generator().manual_seed(2), (7, 6, 5, 4)
    planes = [torch.randn(sizes[b], sizes[a], 8, generator=generator) for a, b in plane_lookup.PAIRS]
    kernel, twin = (
        lambda p, *planes, f=f: f(p, list(planes))
        for f in (plane_lookup.plane_features, plane_lookup.plane_features_torch)
    )
    return kernel, twin, [2 * torch.rand(900, 4, generator=generator) - 1, *planes]


@needs_kernels
@pytest.mark.parametrize("kind", [small_networks, hash_grids, plane_grids], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("share", [0.0, 0.002, 0.3, 0.95])
def test_kernels_give_the_gradients_of_their_twins_where_few_points_are_told(kind, share):
    kernel, twin, inputs = kind()
    told = torch.rand(900, generator=torch.Generator().manual_seed(7)) < share
    for one, other in zip(*(with_few_told(f, inputs, told) for f in (kernel, twin)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * max(float(other.abs().max()), 1e-6))


def test_told_rows_are_those_that_are_not_zero_and_none_where_they_are_most():
    upstream = torch.zeros(10, 3)
    upstream[4, 2], upstream[7] = -1e-30, torch.tensor([1.0, -1.0, 0.0])
    assert told_rows(upstream).tolist() == [4, 7]
    assert told_rows(torch.ones(10, 3)) is None


CHOICES = [
    {"field": "kplanes", "sampler": "occupancy"},
    {"field": "kplanes_explicit", "sampler": "occupancy"},
    {"field": "hash", "sampler": "proposal"},
]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "-".join(choice.values()))
def test_a_field_learns_the_same_on_the_average_and_shows_the_very_same(choice, monkeypatch):
    """Over 80 choices of what is thinned, the samples' jitter being the same, against the whole gradient."""
    spec = discover_backends()["kplanes"]
    backend = spec.build(configured(spec.config, {**SMALL, **choice, "gradient_thinning": 2.0}), scene_geometry())
    with torch.no_grad():
        for parameter in backend.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    batch = some_batch(spec)

    def step(draws: torch.Generator | None) -> tuple[torch.Tensor, torch.Tensor]:
        monkeypatch.setattr(adapter, "thinning", lambda threshold, generator: thinning(threshold, draws))
        backend.zero_grad()
        rendering = backend(RayQuestion(batch.rays, batch.frame_times), torch.Generator().manual_seed(4))
        sum(backend.losses(rendering, batch, 0).values()).backward()
        gradients = [p.grad.flatten().double() for p in backend.parameters() if p.grad is not None]
        return rendering.rgb.detach(), torch.cat(gradients)

    rgb, whole = step(None)
    draws = torch.Generator().manual_seed(11)
    steps = [step(draws) for _ in range(80)]
    assert all(torch.equal(shown, rgb) for shown, _ in steps)
    thinned = torch.stack([gradient for _, gradient in steps])
    single = (thinned - whole).norm(dim=1).mean() / whole.norm()
    mean = (thinned.mean(dim=0) - whole).norm() / whole.norm()
    assert 0.01 < single < 1.0, "something was thinned, and no step was spoilt by it"
    assert mean < 2.5 * single / 80**0.5


def test_a_training_thins_and_a_clock_s_curvature_does_not(tiny_arguments, monkeypatch):
    asked = []
    monkeypatch.setattr(adapter, "thinning", lambda *given: asked.append(given) or unthinned)
    job = Job.of(parse([*tiny_arguments, "--gradient-thinning=1.5"]))
    synced = assemble(job)
    batch = make_batches(job).draw(torch.Generator().manual_seed(0), 0)
    synced.render_batch(batch, torch.Generator().manual_seed(1))
    loss_curvatures(synced, [batch], 0, 1e-3)
    assert [threshold for threshold, _ in asked] == [1.5] * 3
    assert [generator is None for _, generator in asked] == [False, True, True]
