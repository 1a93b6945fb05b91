"""The occupancy grid: what may hold something is always looked at, what is empty never."""

import inspect

import numpy as np
import pytest
import torch

from syncnerf.rendering.occupancy import OccupancyGrid, with_neighbours
from syncnerf.rendering.occupied_steps import occupied_steps, occupied_steps_torch
from syncnerf.scene.rays import Rays, clip_to_box

BOUNDS = torch.tensor([[-1.0, -2.0, 0.0], [1.0, 1.0, 2.0]])


@pytest.fixture
def rays():
    generator = torch.Generator().manual_seed(0)
    origins = 4 * torch.nn.functional.normalize(torch.randn(80, 3, generator=generator), dim=-1)
    targets = 0.7 * torch.randn(80, 3, generator=generator) + torch.tensor([0.0, -0.5, 1.0])
    ones = torch.ones(80)
    return Rays(origins, torch.nn.functional.normalize(targets - origins, dim=-1), 0.5 * ones, 9 * ones)


def ball_hull(resolution: int) -> torch.Tensor:
    ticks = (torch.arange(resolution) + 0.5) / resolution
    x, y, z = torch.meshgrid(ticks, ticks, ticks, indexing="ij")
    return ((x - 0.4) ** 2 + (y - 0.6) ** 2 + (z - 0.5) ** 2) < 0.3**2


@pytest.mark.parametrize(("intervals", "bins"), [(6, 3), (5, 3), (3, 5)])
def test_hulls_of_moments_are_looked_at_in_their_intervals_alone(intervals, bins):
    hulls = torch.stack([ball_hull(8).roll(step, 0) for step in range(intervals)])
    hulls[:, :, :2] = False
    grid = OccupancyGrid(BOUNDS, 8, bins, hulls)
    for time in 2 * torch.rand(60, generator=torch.Generator().manual_seed(5)) - 1:
        points = BOUNDS[0] + torch.rand(400, 3, generator=torch.Generator().manual_seed(6)) * (BOUNDS[1] - BOUNDS[0])
        cells = tuple(((points - BOUNDS[0]) / (BOUNDS[1] - BOUNDS[0]) * 8).long().T)
        interval = int((time + 1) / 2 * intervals)
        first, last = int((time + 1) / 2 * bins) / bins, (int((time + 1) / 2 * bins) + 1) / bins
        near = [step for step in range(intervals) if step < last * intervals and step + 1 > first * intervals]
        found = grid.contains(points, time.expand(400))
        assert found[hulls[interval][cells]].all()
        assert not found[~hulls[near].any(dim=0)[cells]].any()


def some_times(count: int) -> torch.Tensor:
    return 2 * torch.rand(count, generator=torch.Generator().manual_seed(9)) - 1


@pytest.mark.parametrize("resolution", [5, 8, 16])
def test_pooled_hull_keeps_every_possible_cell(resolution):
    """A coarser or finer grid holds every point of the hull's cells, also where the resolutions do not divide."""
    hull = ball_hull(12)
    grid = OccupancyGrid(BOUNDS, resolution, hull=hull)
    points = torch.rand(4000, 3, generator=torch.Generator().manual_seed(1))
    in_hull = hull[tuple((points * 12).long().T)]
    found = grid.contains(BOUNDS[0] + points * (BOUNDS[1] - BOUNDS[0]), torch.zeros(4000))
    assert found[in_hull].all()
    assert not found.all()


def test_contains_is_the_cell_of_the_point_at_the_time():
    grid = OccupancyGrid(BOUNDS, 4, time_bins=3)
    grid.occupied = torch.rand(3, 4, 4, 4, generator=torch.Generator().manual_seed(2)) < 0.5
    generator = torch.Generator().manual_seed(3)
    points = BOUNDS[0] + (1.4 * torch.rand(500, 3, generator=generator) - 0.2) * (BOUNDS[1] - BOUNDS[0])
    times = 2.2 * torch.rand(500, generator=generator) - 1.1
    found = grid.contains(points, times).numpy()
    for point, time, answer in zip(points.numpy(), times.numpy(), found, strict=True):
        cell = np.floor((point - BOUNDS[0].numpy()) / (BOUNDS[1] - BOUNDS[0]).numpy() * 4).astype(int)
        time_bin = min(max(int(np.floor((time + 1) / 2 * 3)), 0), 2)
        inside = (cell >= 0).all() and (cell < 4).all()
        assert answer == (inside and bool(grid.occupied[time_bin, *cell]))


@pytest.mark.parametrize("jittered", [False, True])
def test_march_covers_the_box_up_to_half_a_step_at_either_end(rays, jittered):
    grid = OccupancyGrid(BOUNDS, 8)
    step = 0.21
    samples = grid.march(rays, torch.zeros(80), step, torch.Generator().manual_seed(0) if jittered else None)
    enter, leave = clip_to_box(rays, BOUNDS)
    torch.testing.assert_close(samples.lengths, torch.full_like(samples.lengths, step), atol=1e-5, rtol=0)
    for ray in range(80):
        edges = samples.edges[ray]
        used = samples.inside[ray]
        if leave[ray] - enter[ray] < 2 * step:
            continue
        assert edges[:-1][used].min() <= enter[ray] + step / 2 + 1e-5
        assert edges[1:][used].max() >= leave[ray] - step / 2 - 1e-5
        assert used.nonzero()[:, 0].diff().eq(1).all()
        assert (samples.middles[ray][used] > enter[ray]).all()
        assert (samples.middles[ray][used] < leave[ray]).all()


def test_marched_length_is_right_on_the_average():
    """Else the opacity of everything near the box's end would be biased."""
    count, step = 4000, 0.3
    origins, directions = torch.tensor([[0.1, -0.2, 5.0]]), torch.tensor([[0.0, 0.0, -1.0]])
    ones = torch.ones(count)
    rays = Rays(origins.expand(count, 3), directions.expand(count, 3), 0 * ones, 9 * ones)
    for top in (2.0, 1.9, 1.801):
        bounds = torch.tensor([[-1.0, -2.0, 0.0], [1.0, 1.0, top]])
        samples = OccupancyGrid(bounds, 4).march(rays, 0 * ones, step, torch.Generator().manual_seed(1))
        mean = (samples.inside * samples.lengths).sum(dim=-1).mean().item()
        assert mean == pytest.approx(top, abs=0.01)


def test_march_visits_every_occupied_cell_that_a_ray_crosses_and_no_other(rays):
    grid = OccupancyGrid(BOUNDS, 8, time_bins=2, hull=ball_hull(8))
    grid.occupied[1] = False
    step, times = 0.02, some_times(80)
    samples = grid.march(rays, times, step, None)
    fine = torch.linspace(0.5, 9.0, 4000)
    points = rays.origins[:, None] + fine[None, :, None] * rays.directions[:, None]
    occupied = grid.contains(points, times[:, None])
    assert occupied.any()
    assert not samples.inside[times > 0].any()
    lengths = samples.inside.sum(dim=-1) * step
    expected = occupied.sum(dim=-1) * (fine[1] - fine[0])
    torch.testing.assert_close(lengths, expected, atol=6 * step, rtol=0.02)
    middles = rays.origins[:, None] + samples.middles[..., None] * rays.directions[:, None]
    assert torch.equal(samples.inside, grid.contains(middles, times[:, None]) & samples.inside)


def test_march_jitter_comes_from_the_generator(rays):
    grid = OccupancyGrid(BOUNDS, 8)
    times = some_times(80)
    first, again, other = (
        grid.march(rays, times, 0.1, torch.Generator().manual_seed(seed)).edges for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(grid.march(rays, times, 0.1, None).edges, grid.march(rays, times, 0.1, None).edges)


@pytest.mark.parametrize("steps", [1, 63, 64, 65, 200])
def test_kernel_of_steps_is_its_torch_twin(rays, steps):
    generator = torch.Generator().manual_seed(4)
    occupied = torch.rand(3, 7, 7, 7, generator=generator) < 0.4
    distances = torch.linspace(1.0, 8.0, steps).expand(80, -1) + 0.01 * torch.rand(80, 1, generator=generator)
    bins = torch.randint(3, (80,), generator=generator)
    near, far = 1.0 + 3 * torch.rand(80, generator=generator), 4.0 + 4 * torch.rand(80, generator=generator)
    asked = (occupied, BOUNDS, Rays(rays.origins, rays.directions, near, far), distances, bins)
    found = occupied_steps(*asked)
    assert torch.equal(found, occupied_steps_torch(*asked))
    assert steps == 1 or 0 < found.sum() < found.numel() // 2
    assert not found[(distances <= near[:, None]) | (distances >= far[:, None])].any()


def test_steps_of_no_rays_and_of_a_grid_that_is_not_contiguous(rays):
    occupied = torch.rand(5, 5, 5, 2, generator=torch.Generator().manual_seed(5)).permute(3, 0, 1, 2) < 0.5
    asked = (rays, torch.rand(80, 9) * 8, torch.randint(2, (80,)))
    assert torch.equal(occupied_steps(occupied, BOUNDS, *asked), occupied_steps_torch(occupied, BOUNDS, *asked))
    nothing = occupied_steps(occupied, BOUNDS, rays[:0], torch.rand(0, 9), torch.zeros(0, dtype=torch.int64))
    assert nothing.shape == (0, 9)


def test_steps_that_do_not_belong_together_are_refused(rays):
    occupied, distances, bins = torch.ones(2, 5, 5, 5, dtype=torch.bool), torch.rand(80, 9), torch.ones(80).long()
    unchecked = inspect.unwrap(occupied_steps)
    for wrong in (
        (occupied[:, :4], BOUNDS, rays, distances, bins),
        (occupied, BOUNDS, rays, distances[:79], bins),
        (occupied, BOUNDS, rays, distances, bins[:79]),
        (occupied, BOUNDS, rays, distances, bins + 1),
        (occupied, BOUNDS, rays, distances, bins - 2),
    ):
        with pytest.raises(ValueError, match="cells"):
            unchecked(*wrong)


def test_neighbours_in_space_and_time_are_those_of_a_slow_search():
    cells = torch.rand(4, 5, 3, 6, generator=torch.Generator().manual_seed(7)) < 0.03
    expected = torch.zeros_like(cells)
    for place in cells.nonzero().tolist():
        expected[tuple(slice(max(at - 1, 0), at + 2) for at in place)] = True
    assert torch.equal(with_neighbours(cells), expected)


def moving_density(points: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """A ball of density 100 that travels along x in time."""
    centre = torch.stack([0.6 * times, torch.full_like(times, -0.5), torch.full_like(times, 1.0)], dim=-1)
    return 100.0 * ((points - centre).norm(dim=-1) < 0.5).float()


def test_update_keeps_what_is_dense_and_drops_what_is_empty():
    grid = OccupancyGrid(BOUNDS, 12, time_bins=4)
    generator = torch.Generator().manual_seed(0)
    grid.update(moving_density, threshold=1.0, decay=0.9, generator=generator)
    assert grid.occupied.float().mean() < 0.5
    points = BOUNDS[0] + torch.rand(20000, 3, generator=generator) * (BOUNDS[1] - BOUNDS[0])
    times = 2 * torch.rand(20000, generator=generator) - 1
    dense = moving_density(points, times) > 1.0
    assert dense.sum() > 300
    assert grid.contains(points, times)[dense].all()
    # The box closes around what is left, and everything dense is in it.
    assert ((points[dense] >= grid.box[0]) & (points[dense] <= grid.box[1])).all()
    assert (grid.box[1] - grid.box[0]).prod() < (BOUNDS[1] - BOUNDS[0]).prod()


def test_update_never_resurrects_impossible_cells_and_forgets_by_decay():
    grid = OccupancyGrid(BOUNDS, 12, hull=ball_hull(12))
    possible = grid.possible.clone()
    generator = torch.Generator().manual_seed(0)
    grid.update(lambda points, times: torch.full((len(points),), 8.0), 1.0, 0.5, generator)
    assert torch.equal(grid.occupied, possible)
    halves = lambda points, times: 8.0 * (points[:, 0] > 0.0)  # noqa: E731
    for looks in range(1, 5):
        grid.update(halves, 1.0, 0.5, generator)
        remembered = grid.density[0][:4][possible[0, :4]]
        assert remembered.numel() == 0 or remembered.max() == 8.0 * 0.5**looks
    assert grid.occupied.sum() < possible.sum()
    assert (grid.occupied <= possible).all()


def test_cells_that_were_dropped_are_asked_in_turns_and_return_when_they_fill_again():
    grid, generator, asked = OccupancyGrid(BOUNDS, 12), torch.Generator().manual_seed(0), []

    def ball(points: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        asked.append(len(points))
        return 8.0 * ((points - torch.tensor([0.0, -0.5, 1.0])).norm(dim=-1) < 0.3)

    for _ in range(6):
        grid.update(ball, 1.0, 0.5, generator)
    occupied = int(grid.occupied.sum())
    assert occupied < 0.2 * 12**3
    asked.clear()
    grid.update(ball, 1.0, 0.5, generator)
    # A quarter of the others, give or take five deviations.
    assert abs(asked[0] - occupied - 0.25 * (12**3 - occupied)) < 5 * (12**3 * 0.25 * 0.75) ** 0.5
    for _ in range(25):
        grid.update(lambda points, times: torch.full((len(points),), 8.0), 1.0, 0.5, generator)
    assert grid.occupied.all()


def test_an_all_empty_field_leaves_the_grid_as_it_was():
    grid = OccupancyGrid(BOUNDS, 6)
    grid.update(lambda points, times: torch.zeros(len(points)), 1.0, 0.5, torch.Generator().manual_seed(0))
    assert grid.occupied.all()
