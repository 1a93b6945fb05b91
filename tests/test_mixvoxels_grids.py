"""MixVoxels' grids: lookups against scipy, the fused kernel against its twin, resampling, checkpoints that resize."""

import numpy as np
import pytest
import scipy.ndimage
import torch

from syncnerf_mixvoxels import vm_lookup
from syncnerf_mixvoxels.vm_grid import VMGrid
from syncnerf_mixvoxels.vm_lookup import LINE_AXES, PLANE_AXES, vm_features, vm_features_torch

needs_kernel = pytest.mark.skipif(vm_lookup._library() is None, reason="no C compiler: the fused kernel is not used")
CELLS = [(5, 7, 9), (2, 3, 2), (16, 16, 16)]


def random_grids(cells: tuple[int, int, int], ranks: tuple[int, int, int]) -> tuple[list, list]:
    generator = torch.Generator().manual_seed(sum(cells) + sum(ranks))
    planes = [
        torch.randn(cells[second], cells[first], rank, generator=generator)
        for (first, second), rank in zip(PLANE_AXES, ranks, strict=True)
    ]
    return planes, [torch.randn(cells[axis], r, generator=generator) for axis, r in zip(LINE_AXES, ranks, strict=True)]


def random_points(count: int, reach: float = 1.2) -> torch.Tensor:
    return reach * (2 * torch.rand(count, 3, generator=torch.Generator().manual_seed(count)) - 1)


def scipy_features(points: np.ndarray, planes: list, lines: list) -> np.ndarray:
    """The definition, with scipy's linear interpolation and clamped borders."""
    columns = []
    for plane, line, (first, second), axis in zip(planes, lines, PLANE_AXES, LINE_AXES, strict=True):
        plane, line = plane.double().numpy(), line.double().numpy()
        places = [(points[:, second] + 1) / 2 * (plane.shape[0] - 1), (points[:, first] + 1) / 2 * (plane.shape[1] - 1)]
        along = [(points[:, axis] + 1) / 2 * (len(line) - 1)]
        for rank in range(plane.shape[2]):
            on_plane = scipy.ndimage.map_coordinates(plane[..., rank], places, order=1, mode="nearest")
            on_line = scipy.ndimage.map_coordinates(line[:, rank], along, order=1, mode="nearest")
            columns.append(on_plane * on_line)
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize("ranks", [(4, 4, 4), (16, 4, 8)])
@pytest.mark.parametrize("lookup", [vm_features, vm_features_torch])
def test_features_are_planes_times_lines(cells, ranks, lookup):
    (planes, lines), points = random_grids(cells, ranks), random_points(300)
    points[:3] = torch.tensor([[-1.0] * 3, [1.0] * 3, [7.0, -7.0, 0.0]])
    expected = scipy_features(points.double().numpy(), planes, lines)
    np.testing.assert_allclose(lookup(points, planes, lines).numpy(), expected, rtol=2e-5, atol=1e-5)


@needs_kernel
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize("count", [1, 777, 5000])
def test_fused_kernel_is_its_torch_twin_in_values_and_gradients(cells, count, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        results = []
        for lookup in (vm_features, vm_features_torch):
            planes, lines = random_grids(cells, (16, 4, 12))
            grids = [grid.requires_grad_() for grid in (*planes, *lines)]
            features = lookup(random_points(count), grids[:3], grids[3:])
            features.backward(torch.rand(features.shape, generator=torch.Generator().manual_seed(1)) - 0.3)
            results.append((features.detach(), [grid.grad for grid in grids]))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)
    for found, expected in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_the_twin_answers_what_the_kernel_cannot(monkeypatch):
    """Ranks that do not fill the kernel's lanes, gradients of the points, double precision."""
    monkeypatch.setattr(vm_lookup, "_FusedLookup", None)
    planes, lines = random_grids((6, 5, 4), (3, 5, 1))
    points = random_points(40, 0.9)
    np.testing.assert_allclose(
        vm_features(points, planes, lines).numpy(), scipy_features(points.double().numpy(), planes, lines), atol=1e-5
    )
    planes, lines = random_grids((6, 5, 4), (4, 4, 4))
    wide = [grid.double() for grid in (*planes, *lines)]
    assert torch.autograd.gradcheck(
        lambda at: vm_features(at, wide[:3], wide[3:]), (random_points(10, 0.9).double().requires_grad_(),), atol=1e-4
    )


def test_resampling_keeps_the_function_at_the_old_nodes():
    torch.manual_seed(0)
    grid = VMGrid((5, 6, 7), (4, 8, 4))
    axes = [torch.linspace(-1, 1, cells) for cells in (5, 6, 7)]
    nodes = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
    before, parameters = grid(nodes).detach(), list(grid.parameters())
    grid.resample((9, 11, 13))
    torch.testing.assert_close(grid(nodes).detach(), before, rtol=1e-4, atol=1e-6)
    assert [tuple(plane.shape[:2]) for plane in grid.planes] == [(11, 9), (13, 9), (13, 11)]
    assert all(new is not old for new, old in zip(grid.parameters(), parameters, strict=True))
    assert all(parameter.requires_grad for parameter in grid.parameters())


def test_resampling_to_a_part_of_the_box_follows_the_points():
    torch.manual_seed(0)
    grid = VMGrid((9, 9, 9), (4, 4, 4))
    box = torch.tensor([[-0.5, -1.0, 0.0], [0.5, 0.0, 1.0]])
    points = random_points(200, 1.0)
    inside = box[0] + (points + 1) / 2 * (box[1] - box[0])
    before = grid(inside).detach()
    grid.resample((5, 5, 5), box)  # cells as large as before: the nodes coincide and nothing is lost
    torch.testing.assert_close(grid(points).detach(), before, rtol=1e-4, atol=1e-6)


def test_a_checkpoint_of_another_resolution_loads():
    torch.manual_seed(0)
    large, small = VMGrid((9, 8, 7), (4, 4, 4)), VMGrid((3, 3, 3), (4, 4, 4))
    small.load_state_dict(large.state_dict())
    points = random_points(50)
    assert torch.equal(small(points), large(points))
    with pytest.raises(RuntimeError, match="size mismatch"):
        VMGrid((3, 3, 3), (8, 4, 4)).load_state_dict(large.state_dict())


def test_regularisers_are_the_closed_formulas():
    torch.manual_seed(0)
    grid = VMGrid((4, 5, 6), (4, 8, 4))
    planes = [plane.detach().numpy() for plane in grid.planes]
    lines = [line.detach().numpy() for line in grid.lines]
    variation = sum(np.square(np.diff(plane, axis=axis)).mean() for plane in planes for axis in (0, 1))
    variation += sum(np.square(np.diff(line, axis=0)).mean() for line in lines)
    assert grid.total_variation().item() == pytest.approx(variation, rel=1e-5)
    assert grid.magnitude().item() == pytest.approx(sum(np.abs(g).mean() for g in (*planes, *lines)), rel=1e-5)
