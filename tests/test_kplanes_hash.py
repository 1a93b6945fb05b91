"""The hash field: what its parts compute, time, options, and moving between engines."""

import importlib.util

import numpy as np
import pytest
import torch
from kplanes_fields import assert_time_slopes, build

from syncnerf.encodings.hash_grid import hash_grid_features
from syncnerf.errors import UserError
from syncnerf.option import configured
from syncnerf.questions import RayQuestion
from syncnerf.testing.samples import some_rays
from syncnerf_kplanes.hash_features import HashSizes, SpaceTimeHash
from syncnerf_kplanes.spec import KPlanesConfig

HASH = {
    "field": "hash", "hash_levels": 4, "hash_features": 4, "hash_table": 11, "hash_coarsest": 4, "hash_finest": 16,
    "proposal_levels": 2, "proposal_table": 10, "time_resolution": 8,
}  # fmt: skip
SIZES = HashSizes(4, 2, 10, 4, 24, 6, smooth=False)


def stirred(module: torch.nn.Module, size: float = 0.5) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return module


def some_moments(count: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    draws = 2 * torch.rand(count, 4, generator=torch.Generator().manual_seed(4)) - 1
    return draws[:, :3], draws[:, 3]


def test_features_are_those_of_four_grids_side_by_side():
    features, (points, times) = stirred(SpaceTimeHash(SIZES)), some_moments()
    x, y, z = (0.5 * points + 0.5).T
    moment = (0.5 * times + 0.5) * 6 / 24
    columns = [(x, y, z), (x, y, moment), (x, z, moment), (y, z, moment)]
    tables = [features.static.table, *(grid.table for grid in features.dynamic)]
    parts = [
        hash_grid_features(torch.stack(where, dim=-1), table, SIZES.layout)
        for where, table in zip(columns, tables, strict=True)
    ]
    torch.testing.assert_close(features(points, times), torch.cat(parts, dim=-1))
    assert features.width == 4 * 8


def test_static_leaves_time_out():
    features, (points, times) = stirred(SpaceTimeHash(SIZES)), some_moments()
    still = features(points, times, static=True)
    assert torch.equal(still[:, :8], features(points, -times)[:, :8])
    assert not still[:, 8:].any()
    assert not torch.allclose(features(points, times)[:, 8:], features(points, -times)[:, 8:])


def test_beyond_the_cube_is_the_border():
    features, (points, times) = stirred(SpaceTimeHash(SIZES)), some_moments()
    far = (2 * points, 2 * times)
    torch.testing.assert_close(features(*far), features(far[0].clamp(-1, 1), far[1].clamp(-1, 1)))


@pytest.mark.parametrize("cells", [6, 20])
def test_time_has_cells_of_its_own(cells):
    """Of the finest level as many as asked for; never more than along space."""
    sizes = HashSizes(4, 2, 10, 4, 24, cells, smooth=False)
    grids = sizes.layout.grids
    assert grids[-1].scale * sizes.time_scale == pytest.approx(cells, rel=0.05)
    assert grids[0].side == 4
    assert HashSizes(4, 2, 10, 4, 24, 100, smooth=False).time_scale == 1.0
    # Along time alone, features are straight within a cell.
    features, ticks = stirred(SpaceTimeHash(sizes)), torch.linspace(-1, 1, 40 * cells + 1)
    along = features(torch.full((len(ticks), 3), 0.1), ticks)[:, -1].detach()
    bent = (along[2:] - 2 * along[1:-1] + along[:-2]).abs() > 1e-4
    bends = (bent[1:] & ~bent[:-1]).sum().item() + bent[0].item()
    assert bends == pytest.approx(cells, abs=1 + 0.05 * cells)


def test_blur_fades_levels_of_the_dynamic_part_fine_ones_first():
    features, (points, times) = stirred(SpaceTimeHash(SIZES)), some_moments()
    sharp = features(points, times)
    features.set_blur(0.15)
    weights = (features(points, times) / sharp).median(dim=0).values.reshape(4, 4, 2)
    torch.testing.assert_close(weights[0], torch.ones(4, 2))
    torch.testing.assert_close(weights[1:], weights[1:2, :, :1].expand(3, 4, 2))
    assert (weights[1, 1:, 0] < weights[1, :-1, 0]).all()
    # A level's fastest wave has a period of two cells; a Gaussian of deviation s leaves exp(-2 (pi s / period)^2).
    cell = 2.0 / (SIZES.layout.grids[-1].scale * 0.25)
    waves = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    gaussian = torch.exp(-0.5 * (waves / 0.15) ** 2)
    left = (gaussian * torch.cos(torch.pi * waves / cell)).sum() / gaussian.sum()
    assert weights[1, -1, 0].item() == pytest.approx(left.item(), rel=1e-3)
    features.set_blur(0.0)
    assert torch.equal(features(points, times), sharp)


def test_penalties_against_their_formulas():
    features = stirred(SpaceTimeHash(SIZES))
    penalties = {name: penalty().item() for name, penalty in features.penalties().items()}
    tables = [grid.table.detach().double().numpy() for grid in (features.static, *features.dynamic)]

    assert penalties["static"] == pytest.approx(sum(np.mean(np.abs(table)) for table in tables[1:]), rel=1e-5)
    expected = 0.0
    for table in tables:
        entries = table.reshape(-1, 2)
        for level in SIZES.layout.grids:
            expected += np.mean(entries[level.offset : level.offset + level.size] ** 2)
    assert penalties["decay"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sampler", ["occupancy", "proposal"])
@pytest.mark.parametrize("blur", [0.0, 1.0])
def test_time_gradient_is_that_of_finite_differences(sampler, blur):
    """Smoothstep, so that no level's cells give the slope a step; proposals hold still, and so do samples.

    The networks' kinks do give it steps: times are moved so little that few of them are crossed.
    """
    backend = build(**HASH, sampler=sampler, time_blur=blur, hash_interpolation="smoothstep").eval()
    backend.before_step(10)
    stirred(backend.field.features)
    times = 1.6 * torch.rand(30, generator=torch.Generator().manual_seed(5), dtype=torch.float64) - 0.8
    times.requires_grad_()
    upstream = torch.rand(30, 3, generator=torch.Generator().manual_seed(6))
    assert_time_slopes(backend, some_rays(30), times, upstream, step=0.0002)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.parametrize("sampler", ["occupancy", "proposal"])
def test_a_checkpoint_of_one_engine_runs_with_another(sampler):
    trained, other = (build(**HASH, sampler=sampler, engine=engine).eval() for engine in ("torch", "triton"))
    stirred(trained)
    other.load_state_dict(trained.state_dict())
    times = 1.6 * torch.rand(12, generator=torch.Generator().manual_seed(5), dtype=torch.float64) - 0.8
    with torch.no_grad():
        found, expected = (backend(RayQuestion(some_rays(12), times)) for backend in (other, trained))
    torch.testing.assert_close(found.rgb, expected.rgb, rtol=1e-4, atol=1e-4)
    assert expected.rgb.std() > 0.05


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("hash_features", 3), ("hash_table", 2), ("proposal_table", 40), ("hash_levels", 0), ("hash_finest", 8),
        ("hidden_width", 48),
    ],
)  # fmt: skip
def test_sizes_that_cannot_be_are_refused_in_one_line(option, value):
    with pytest.raises(UserError, match=option):
        configured(KPlanesConfig, {option: value})
