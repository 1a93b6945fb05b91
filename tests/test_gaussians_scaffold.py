"""Splines against scipy's, the scaffold's motion, who carries whom, and what holds it back."""

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from syncnerf_gaussians import splines
from syncnerf_gaussians.gaussians import Poses
from syncnerf_gaussians.rotations import inverse, product, rotation_matrices
from syncnerf_gaussians.scaffold import Scaffold, carried, spread_out

TIMES = torch.tensor([-1.0, -0.731, -0.2, 0.0, 0.4999, 0.5, 0.93, 1.0], dtype=torch.float64)
BEYOND = torch.tensor([-1.3, -1.0 - 1e-9, 1.0 + 1e-9, 1.25], dtype=torch.float64)


def drawn_knots(count: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, *shape, generator=generator, dtype=torch.float64)


def of_scipy(knots: torch.Tensor) -> BSpline:
    count = len(knots)
    step = 2.0 / (count - 3)
    return BSpline(-1.0 + step * np.arange(-3, count + 1), knots.numpy(), 3)


@pytest.mark.parametrize("count", [4, 5, 11])
def test_values_and_slopes_are_those_of_scipy(count):
    knots = drawn_knots(count, 3, 2)
    true = of_scipy(knots)
    np.testing.assert_allclose(splines.evaluate(knots, TIMES), true(TIMES.numpy()), atol=1e-12)
    np.testing.assert_allclose(splines.slopes(knots, TIMES), true.derivative()(TIMES.numpy()), atol=1e-11)


def test_beyond_its_ends_a_spline_goes_straight_on():
    knots = drawn_knots(7, 2)
    true = of_scipy(knots)
    for times, end in ((BEYOND[:2], -1.0), (BEYOND[2:], 1.0)):
        expected = true(end) + (times[:, None].numpy() - end) * true.derivative()(end)
        np.testing.assert_allclose(splines.evaluate(knots, times), expected, atol=1e-9)
        np.testing.assert_allclose(splines.slopes(knots, times), np.tile(true.derivative()(end), (2, 1)), atol=1e-9)


def test_gradients_reach_knots_and_times_within_and_beyond():
    times = torch.cat([TIMES[1:-1], BEYOND[[0, 3]]]).requires_grad_()
    knots = drawn_knots(6, 2).requires_grad_()
    assert torch.autograd.gradcheck(splines.evaluate, (knots, times))
    slope = torch.autograd.grad(splines.evaluate(knots, times)[:, 0].sum(), times)[0]
    np.testing.assert_allclose(slope, splines.slopes(knots, times)[:, 0].detach(), atol=1e-11)


@pytest.mark.parametrize("count", [4, 5, 9])
def test_refinement_leaves_the_curve_as_it_is(count):
    knots = drawn_knots(count, 3)
    finer = splines.refined(knots)
    assert len(finer) == 2 * count - 3
    every = torch.cat([TIMES, BEYOND])
    np.testing.assert_allclose(splines.evaluate(finer, every), splines.evaluate(knots, every), atol=1e-12)


# -- the scaffold -------------------------------------------------------------------------------------------------


def two_bodies(levels: int = 2) -> Scaffold:
    """Two rods of five nodes that cross at time 0: one rests, the other flies along x and turns by 90 degrees."""
    along = torch.linspace(-0.4, 0.4, 5)
    rod = torch.stack([torch.zeros(5), along, torch.zeros(5)], dim=-1)
    scaffold = Scaffold(torch.cat([rod, rod]), segments=3, levels=levels, spacing=0.2)
    knots = scaffold.places[0].shape[0]
    # The control values of a straight line are a straight line.
    at = (torch.arange(knots) - (knots - 1) / 2) * (2.0 / (knots - 3))
    with torch.no_grad():
        angle = at * torch.pi / 4
        turn = torch.stack([torch.cos(angle / 2), 0 * at, 0 * at, torch.sin(angle / 2)], dim=-1)
        scaffold.turns[0][:, 5:] = turn[:, None]
    with torch.no_grad():
        turned = Rotation.from_quat(turn.numpy(), scalar_first=True).apply(np.array([0.0, 1.0, 0.0]))
        moved = along[None, :, None] * torch.from_numpy(turned).float()[:, None]
        moved[..., 0] += 2.0 * at[:, None]
        scaffold.places[0][:, 5:] = moved
    scaffold.renew_neighbours()
    return scaffold


def test_details_begin_without_a_change_and_are_held_until_their_time():
    coarse, fine = two_bodies(levels=1), two_bodies(levels=3)
    every = torch.cat([TIMES, BEYOND])
    for first, second in zip(vars(coarse.poses(every)).values(), vars(fine.poses(every)).values(), strict=True):
        torch.testing.assert_close(first, second, atol=2e-6, rtol=0)
    fine.hold_levels(2)
    learning = [values.requires_grad for values in (*fine.places, *fine.turns)]
    assert learning == [True, True, False] * 2


def test_slopes_are_the_derivatives_of_the_poses():
    scaffold = two_bodies().double()
    times = torch.cat([TIMES[1:-1], BEYOND]).requires_grad_()
    poses, slopes = scaffold.poses(times), scaffold.slopes(times)
    for name in ("positions", "quaternions"):
        values, rates = getattr(poses, name), getattr(slopes, name)
        for node, axis in ((7, 0), (9, 1), (0, 2)):
            slope = torch.autograd.grad(values[:, node, axis].sum(), times, retain_graph=True)[0]
            torch.testing.assert_close(slope, rates[:, node, axis].detach(), atol=1e-9, rtol=1e-9)


def test_what_moves_together_is_near_however_close_others_come():
    scaffold = two_bodies()
    # At time 0 both rods are in one place; each of their nodes has four companions and eight neighbours.
    for node in range(10):
        body = range(0, 5) if node < 5 else range(5, 10)
        assert set(scaffold.neighbours[node, :4].tolist()) == set(body) - {node}
    assert float(scaffold.closeness[:, 4:].max()) < 0.05 < float(scaffold.closeness[:, 0].min())


def test_a_point_is_carried_by_the_body_that_it_is_on():
    scaffold = two_bodies()
    time = torch.tensor([-0.5], dtype=torch.float64)
    now = scaffold.poses(time)
    points = torch.cat([now.positions[0, [1, 8]], now.positions[0, [3, 5]]])
    nodes, distances = scaffold.carriers(points, time.expand(4))
    assert [set((row >= 5).tolist()) for row in nodes] == [{False}, {True}, {False}, {True}]
    assert nodes[:, 0].tolist() == [1, 8, 3, 5]
    assert (distances.diff(dim=1) >= 0).all()


def test_a_carried_point_keeps_its_place_on_its_node():
    generator = np.random.default_rng(0)
    turns = Rotation.random(3, random_state=generator)
    positions = generator.normal(size=(3, 1, 3))
    poses = Poses(
        torch.from_numpy(positions).float(), torch.from_numpy(turns.as_quat(scalar_first=True)[:, None]).float()
    )
    first = Poses(poses.positions[:1], poses.quaternions[:1])
    local = np.array([0.3, -0.2, 0.5])
    point = torch.from_numpy(turns[0].apply(local) + positions[0]).float()
    path = carried(point, torch.tensor([0]), first, poses)
    np.testing.assert_allclose(path[:, 0], turns.apply(local) + positions[:, 0], atol=1e-6)


def test_rigid_motion_costs_nothing_and_stretching_does():
    scaffold = two_bodies()
    times, later = TIMES[:4], TIMES[4:]
    alone = scaffold.closeness.clone()
    scaffold.closeness[:, 4:] = 0.0  # within the bodies alone
    # A turn along a quaternion spline is not quite uniform, nor are its nodes quite on a circle.
    rigid = float(scaffold.rigidity(times, later).detach())
    with torch.no_grad():
        scaffold.places[0][:, 6] += torch.linspace(0, 0.3, 6)[:, None]
    assert float(scaffold.rigidity(times, later).detach()) > 10 * rigid
    scaffold.closeness.copy_(alone)
    assert float(scaffold.rigidity(times, times).detach()) == 0.0


def test_uniform_motion_has_no_acceleration():
    scaffold = two_bodies()
    with torch.no_grad():
        scaffold.turns[0].copy_(scaffold.turns[0][:1].expand_as(scaffold.turns[0]))
        scaffold.places[0].copy_(torch.arange(6.0)[:, None, None] * torch.ones(1, 10, 3))
    assert float(scaffold.acceleration().detach()) < 1e-10
    with torch.no_grad():
        scaffold.places[1][4] += 0.1
    assert float(scaffold.acceleration().detach()) > 1e-3


def test_points_are_spread_out():
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(0))
    chosen = points[spread_out(points, 20)]
    apart = torch.cdist(chosen, chosen).fill_diagonal_(torch.inf)
    # No point is further from all of the chosen than these are from each other.
    assert float(torch.cdist(points, chosen).amin(dim=1).max()) <= float(apart.min()) + 1e-6
    assert len(spread_out(points[:5], 20)) == 5


def test_rotations_are_scipys():
    """Matrices, products of broadcast quaternions, inverses."""
    first, second = (Rotation.random(count, random_state=count) for count in (7, 5))
    one, two = (torch.from_numpy(np.roll(each.as_quat(), 1, axis=1)) for each in (first, second))
    np.testing.assert_allclose(rotation_matrices(one), first.as_matrix(), atol=1e-14)
    every = product(one[:, None], two)
    assert every.shape == (7, 5, 4)
    for row in range(7):
        found, expected = rotation_matrices(every[row]), (first[row] * second).as_matrix()
        np.testing.assert_allclose(found, expected, atol=1e-14)
    np.testing.assert_allclose(rotation_matrices(inverse(one)), first.inv().as_matrix(), atol=1e-14)
