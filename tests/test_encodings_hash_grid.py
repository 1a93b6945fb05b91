"""Hash grids: layout and values by hand and by a slow loop, gradients by finite differences, engines as the twin."""

import importlib.util
import math

import numpy as np
import pytest
import torch

from syncnerf.encodings import hash_grid_native
from syncnerf.encodings.hash_grid import HashGrid, hash_grid_features
from syncnerf.encodings.hash_grid_layout import PRIMES, GridLayout
from syncnerf.encodings.hash_grid_native import native_features

needs_kernel = pytest.mark.skipif(hash_grid_native._library() is None, reason="no C compiler")
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
"""Where Triton's kernels run."""

LAYOUTS = [
    GridLayout(2, 5, 2, 6, 3, 1.6),
    GridLayout(3, 4, 1, 8, 4, 1.5, smooth=True),
    GridLayout(3, 3, 4, 12, 5, 2.0),
    GridLayout(4, 4, 2, 9, 3, 1.4),
    GridLayout(4, 2, 8, 8, 2, 2.0, smooth=True),
]
"""Each has dense and hashed levels; tables of more and of fewer entries than vertices."""


def name(layout: GridLayout) -> str:
    return f"{layout.dimensions}d-{layout.features}f{'-smooth' if layout.smooth else ''}"


def some_table(layout: GridLayout, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(layout.size, generator=torch.Generator().manual_seed(layout.size)).to(dtype)


def some_points(layout: GridLayout, count: int, dtype=torch.float32) -> torch.Tensor:
    """Mostly inside [0, 1], some beyond, and the corners."""
    points = 1.2 * torch.rand(count, layout.dimensions, generator=torch.Generator().manual_seed(count)) - 0.1
    points[0], points[1] = 0.0, 1.0
    return points.to(dtype)


def slow_features(points: np.ndarray, table: np.ndarray, layout: GridLayout) -> np.ndarray:
    """The definition, a vertex at a time, in whole numbers of 32 bits."""
    features = np.zeros((len(points), layout.levels, layout.features))
    for number, point in enumerate(points):
        offset = 0
        for level in range(layout.levels):
            scale = 2 ** (level * math.log2(layout.growth)) * layout.base_resolution - 1
            side = math.ceil(scale) + 1
            size = min((side**layout.dimensions + 7) // 8 * 8, 2**layout.log2_table_size)
            for corner in range(2**layout.dimensions):
                index, stride, weight = 0, 1, 1.0
                for axis in range(layout.dimensions):
                    position = point[axis] * scale + 0.5
                    upper = corner >> axis & 1
                    vertex = (math.floor(position) + upper) % 2**32
                    fraction = position - math.floor(position)
                    if layout.smooth:
                        fraction = 3 * fraction**2 - 2 * fraction**3
                    weight *= fraction if upper else 1 - fraction
                    if side**layout.dimensions <= size:
                        index = (index + vertex * stride) % 2**32
                    else:
                        index ^= vertex * PRIMES[axis] % 2**32
                    stride *= side
                entry = (offset + index % size) * layout.features
                features[number, level] += weight * table[entry : entry + layout.features]
            offset += size
    return features.reshape(len(points), -1)


def by_triton(points, table, layout, kind=torch.float32):
    """Triton's features, worked out where it runs."""
    from syncnerf.encodings.hash_grid_triton import triton_features

    return triton_features(points.to(DEVICE), table.to(DEVICE), layout, kind).cpu()


def engines():
    return [
        pytest.param(hash_grid_features, id="torch"),
        pytest.param(native_features, id="native", marks=needs_kernel),
        pytest.param(by_triton, id="triton", marks=needs_triton),
    ]


def gradients(lookup, points, table, layout):
    points, table = points.clone().requires_grad_(), table.clone().requires_grad_()
    features = lookup(points, table, layout)
    upstream = torch.rand(features.shape, generator=torch.Generator().manual_seed(1)) - 0.3
    features.backward(upstream.to(features.dtype))
    return features.detach(), points.grad, table.grad


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


def test_layout_of_a_grid_by_hand():
    grids = GridLayout(3, 3, 2, 14, 16, 2.0).grids
    assert [(g.scale, g.side, g.size, g.offset, g.hashed) for g in grids] == [
        (15.0, 16, 4096, 0, False), (31.0, 32, 16384, 4096, True), (63.0, 64, 16384, 20480, True),
    ]  # fmt: skip
    padded = GridLayout(2, 2, 4, 10, 5, 3.0)
    assert [(g.side, g.size, g.offset, g.hashed) for g in padded.grids] == [(5, 32, 0, False), (15, 232, 32, False)]
    assert padded.size == (32 + 232) * 4
    assert padded.width == 8
    # 3 x 3 x 3 vertices would be padded beyond the table: they share it then.
    assert [(g.size, g.hashed) for g in GridLayout(3, 1, 1, 4, 3, 1.0).grids] == [(16, True)]


def test_primes_are_tiny_cuda_nns():
    assert PRIMES == (1, 2654435761, 805459861, 3674653429)


@pytest.mark.parametrize("wrong", [{"dimensions": 5}, {"features": 3}, {"levels": 0}, {"growth": 0.5}])
def test_grids_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="a hash grid has"):
        GridLayout(**{"dimensions": 3, "levels": 2, "features": 2, "log2_table_size": 8, "base_resolution": 4,
                      "growth": 1.5, **wrong})  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=name)
@pytest.mark.parametrize("lookup", engines())
def test_values_are_those_of_the_slow_loop(layout, lookup):
    points, table = some_points(layout, 70), some_table(layout)
    expected = slow_features(points.double().numpy(), table.double().numpy(), layout)
    assert relative(lookup(points, table, layout), torch.from_numpy(expected)) < 2e-6


@pytest.mark.parametrize("layout", LAYOUTS, ids=name)
def test_gradients_of_the_twin_are_those_of_finite_differences(layout):
    points, table = some_points(layout, 3, torch.float64), some_table(layout, torch.float64).requires_grad_()
    points[:] = torch.tensor([0.137, 0.611, 0.873])[:, None] + 0.011 * torch.arange(layout.dimensions)
    assert torch.autograd.gradcheck(
        lambda p, t: hash_grid_features(p, t, layout), (points.requires_grad_(), table), eps=1e-7, fast_mode=True
    )


@pytest.mark.parametrize("layout", LAYOUTS, ids=name)
@pytest.mark.parametrize("count", [1, 150])
@pytest.mark.parametrize("lookup", engines()[1:])
def test_engines_are_the_twin_in_values_and_gradients(layout, count, lookup):
    points, table = some_points(layout, max(count, 2))[-count:], some_table(layout)
    found, expected = (gradients(each, points, table, layout) for each in (lookup, hash_grid_features))
    for one, other in zip(found, expected, strict=True):
        assert relative(one, other) < 1e-5


@needs_triton
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("layout", [LAYOUTS[1], LAYOUTS[3]], ids=name)
def test_triton_in_16_bits_is_near_the_twin_in_32(layout, kind, tolerance):
    points, table = some_points(layout, 100), some_table(layout)
    found = gradients(lambda p, t, grids: by_triton(p, t, grids, kind), points, table, layout)
    expected = gradients(hash_grid_features, points, table, layout)
    assert found[0].dtype == kind
    assert found[1].dtype == found[2].dtype == torch.float32
    for one, other in zip(found, expected, strict=True):
        assert relative(one, other) < tolerance


@needs_kernel
@pytest.mark.parametrize("threads", [2, 3])
def test_native_gradients_of_the_table_do_not_depend_on_threads(threads):
    layout, before = LAYOUTS[3], torch.get_num_threads()
    points, table = some_points(layout, 5000), some_table(layout)
    alone = gradients(native_features, points, table, layout)
    torch.set_num_threads(threads)
    try:
        together = gradients(native_features, points, table, layout)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone[0], together[0])
    assert torch.equal(alone[2], together[2])
    assert relative(together[1], alone[1]) < 1e-6


@pytest.mark.parametrize("lookup", engines()[1:])
def test_only_the_gradients_that_are_asked_for_are_made(lookup):
    layout = LAYOUTS[2]
    points, table = some_points(layout, 40), some_table(layout)
    _, of_points, of_table = gradients(lookup, points, table, layout)
    for leaf, expected, other in ((points, of_points, table), (table, of_table, points)):
        leaf = leaf.clone().requires_grad_()
        features = lookup(leaf, other, layout) if other is table else lookup(other, leaf, layout)
        features.backward(torch.rand(features.shape, generator=torch.Generator().manual_seed(1)) - 0.3)
        torch.testing.assert_close(leaf.grad, expected)
        assert other.grad is None


@pytest.mark.parametrize("lookup", engines())
def test_no_points_and_points_that_are_not_contiguous(lookup):
    layout = LAYOUTS[1]
    points, table = some_points(layout, 30), some_table(layout)
    torch.testing.assert_close(lookup(points.T.contiguous().T, table, layout), lookup(points, table, layout))
    leaf = table.clone().requires_grad_()
    nothing = lookup(torch.empty(0, 3), leaf, layout)
    assert nothing.shape == (0, layout.width)
    nothing.sum().backward()
    assert leaf.grad is None or not leaf.grad.any()


def test_the_module_moves_between_engines():
    torch.manual_seed(0)
    trained = HashGrid(LAYOUTS[0], "torch")
    assert trained.table.shape == (LAYOUTS[0].size,)
    assert 0 < trained.table.abs().max() <= 1e-4
    points = some_points(LAYOUTS[0], 20)
    for engine in ("torch", "triton", "tcnn"):
        other = HashGrid(LAYOUTS[0], engine)
        other.load_state_dict(trained.state_dict())
        if engine == "torch" or (engine == "triton" and pytest.importorskip("triton")):
            where = DEVICE if engine == "triton" else "cpu"
            found = other.to(where)(points.to(where)).cpu()
            torch.testing.assert_close(found, trained(points), rtol=1e-5, atol=1e-9)


@needs_kernel
def test_the_kernel_is_really_used_and_answers_in_autocasts_type(monkeypatch):
    used, original = [], hash_grid_native._NativeLookup.apply
    monkeypatch.setattr(hash_grid_native._NativeLookup, "apply", lambda *a: used.append(1) or original(*a))
    grid, points = HashGrid(LAYOUTS[0]), some_points(LAYOUTS[0], 9)
    assert grid(points).dtype == torch.float32
    assert used == [1]
    with torch.autocast("cpu", torch.bfloat16):
        assert grid(points).dtype == torch.bfloat16
    assert used == [1, 1]
