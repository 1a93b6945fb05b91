"""How nodes come by their first paths, and what Gaussians begin as."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from syncnerf.encodings.spherical_harmonics import CONSTANT
from syncnerf.scene.geometry import StartingPaths, StartingPoints
from syncnerf.testing.samples import scene_geometry
from syncnerf_gaussians.cloud import RESTING, Cloud
from syncnerf_gaussians.first_paths import velocities
from syncnerf_gaussians.flow import Surface, fit_paths, follow
from syncnerf_gaussians.gaussians import Motion, Poses
from syncnerf_gaussians.lives import Lives
from syncnerf_gaussians.motion import moved, presence
from syncnerf_gaussians.options import CloudConfig
from syncnerf_gaussians.scaffold import Scaffold
from syncnerf_gaussians.start import LIVELY_SHARE, begin

MOMENTS, BEGIN = 9, 3
FRAME = 2.0 / (MOMENTS - 1)
TURN, STEP = 0.12, np.array([0.05, 0.02, -0.03])
"""Radians about z, and scene units, from moment to moment."""


def carried_ball(places: np.ndarray) -> torch.Tensor:
    """Points of a ball that turns and flies, at all moments, [T, N, 3]; where they are given at BEGIN."""
    moved = []
    for moment in range(MOMENTS):
        since = moment - BEGIN
        moved.append(Rotation.from_rotvec([0, 0, TURN * since]).apply(places) + STEP * since)
    return torch.from_numpy(np.stack(moved)).float()


def on_ball(count: int, seed: int = 0) -> np.ndarray:
    directions = np.random.default_rng(seed).normal(size=(count, 3))
    return 0.4 * directions / np.linalg.norm(directions, axis=1, keepdims=True)


NOTHING = [Surface(torch.empty(0, 3), torch.empty(0, 3))] * MOMENTS


def of_tracks(noise: float = 0.0, wrong: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Tracks of 150 points, each seen for five moments; some of them wrong: they go the other way."""
    places = carried_ball(on_ball(150))
    places[:, :wrong] = places.flip(0)[:, :wrong]
    places += noise * torch.randn(places.shape, generator=torch.Generator().manual_seed(0))
    starts = torch.arange(150) % (MOMENTS - 4)
    moment = torch.arange(MOMENTS)[:, None]
    return places, (moment >= starts) & (moment < starts + 5)


def shown(lives: Lives, times: torch.Tensor) -> float:
    """Share of its opacity that a single Gaussian has, mean over moments."""
    return float(presence(Motion(times, drift=lives.drift()), 1, torch.ones(len(times), dtype=torch.int64)))


@pytest.mark.parametrize("wrong", [0, 20])
def test_nodes_follow_the_tracks_around_them(wrong):
    nodes = on_ball(12, seed=1)
    found = follow(torch.from_numpy(nodes).float(), BEGIN, *of_tracks(1e-3, wrong), NOTHING, 0.25)
    true = carried_ball(nodes)
    way = (true - true[BEGIN]).norm(dim=-1).mean()
    assert float((found.positions - true).norm(dim=-1).mean()) < (0.2 if wrong else 0.05) * float(way)
    for moment in range(MOMENTS):
        turns = Rotation.from_quat(found.quaternions[moment].numpy(), scalar_first=True).as_rotvec()
        assert np.abs(turns - [0, 0, TURN * (moment - BEGIN)]).mean() < 0.1 * TURN * MOMENTS


def test_without_tracks_nodes_follow_the_surface_by_its_colours():
    """A ball's shape tells nothing of its turning: colours do."""
    surface = on_ball(1500, seed=2)
    colours = torch.from_numpy(0.5 + 0.5 * np.sin(9 * surface)).float()
    moved = carried_ball(surface)
    generator = torch.Generator().manual_seed(0)
    surfaces = []
    for moment in range(MOMENTS):
        # Other points at every moment.
        some = torch.randperm(1500, generator=generator)[:900]
        surfaces.append(Surface(moved[moment, some], colours[some]))
    nodes = on_ball(12, seed=1)
    nothing = torch.zeros(MOMENTS, 0, 3), torch.zeros(MOMENTS, 0, dtype=torch.bool)
    found = follow(torch.from_numpy(nodes).float(), BEGIN, *nothing, surfaces, 0.25)
    true = carried_ball(nodes)
    still = (true - true[BEGIN]).norm(dim=-1).mean()
    assert float((found.positions - true).norm(dim=-1).mean()) < 0.2 * float(still)


def test_where_nothing_is_known_nothing_moves():
    nodes = torch.from_numpy(on_ball(5)).float()
    nothing = torch.zeros(MOMENTS, 0, 3), torch.zeros(MOMENTS, 0, dtype=torch.bool)
    found = follow(nodes, BEGIN, *nothing, NOTHING, 0.25)
    assert torch.equal(found.positions, nodes.expand(MOMENTS, 5, 3))


def test_splines_take_the_paths_coarse_part_first():
    times = torch.linspace(-1, 1, 41, dtype=torch.float64)
    positions = torch.stack([(3 * times).sin(), (2 * times).cos(), times**3], dim=-1)[:, None].float()
    quaternions = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(41, 1, 4)
    scaffold = Scaffold(torch.zeros(1, 3), 4, 3, 1.0)
    fit_paths(scaffold, times, Poses(positions, quaternions))
    found = scaffold.poses(times)
    torch.testing.assert_close(found.positions.detach(), positions, atol=5e-3, rtol=0)
    torch.testing.assert_close(found.quaternions.detach(), quaternions, atol=1e-5, rtol=0)
    assert float(scaffold.places[2].detach().abs().max()) < 0.1 * float(scaffold.places[0].detach().abs().max())


# -- the Gaussians ------------------------------------------------------------------------------------------------


def starting_points() -> StartingPoints:
    """A grey floor that rests, and the flying ball at all moments, with its tracks."""
    times = torch.linspace(-1, 1, MOMENTS, dtype=torch.float64)
    floor = torch.cartesian_prod(torch.linspace(-1, 1, 30), torch.linspace(-1, 1, 30), torch.tensor([-0.9]))
    ball = carried_ball(on_ball(200))
    places = torch.cat([floor, ball.flatten(0, 1)]).double()
    colours = torch.cat([torch.full((900, 3), 0.5), torch.tensor([0.9, 0.1, 0.2]).expand(200 * MOMENTS, 3)])
    when = torch.cat([torch.full((900,), torch.nan, dtype=torch.float64), times.repeat_interleave(200)])
    tracks, seen = of_tracks()
    slow = torch.full((len(places), 3), torch.nan)
    return StartingPoints(places, colours, when, slow, StartingPaths(times, tracks, seen))


def begun(carried: bool = True) -> tuple[Cloud, Scaffold | None]:
    torch.manual_seed(0)
    cloud = Cloud(1000, 4, 1, 0, Lives(1000, FRAME), carried)
    scaffold = Scaffold(torch.zeros(30, 3), 2, 3, 1.0) if carried else None
    begin(cloud, scaffold, scene_geometry(points=starting_points()), CloudConfig(gaussians=1000))
    return cloud, scaffold


def test_gaussians_lie_on_the_points_and_go_with_their_nodes():
    cloud, scaffold = begun()
    rests = cloud.rests
    # 900 points rest, 200 move at any moment; these would have less than the share that moves at least.
    assert int(rests.sum()) == round(1000 * (1.0 - LIVELY_SHARE))
    assert float((cloud.means[rests, 2].detach() + 0.9).abs().max()) < 0.2
    assert (cloud.nodes[rests] == RESTING).all()
    # As large as fits the distances of as many points as there are Gaussians on the floor of 30 by 30.
    size = CloudConfig().start_size * (2 / 29) * (900 / int(rests.sum())) ** 0.5
    sizes = cloud.log_scales[rests].detach().exp()
    # The third neighbour is further away at the floor's four corners.
    assert 0 < int((~torch.isclose(sizes, torch.tensor(size), rtol=1e-3).all(dim=1)).sum()) <= 4 * 2
    assert float(sizes.max()) < 1.42 * size
    colours = 0.5 + CONSTANT * cloud.colours[:, 0].detach()
    assert float((colours[~rests] - torch.tensor([0.9, 0.1, 0.2])).abs().max()) < 1e-5
    # Carried to another moment they are on the ball as it is then.
    times = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    with torch.no_grad():
        at = moved(*cloud.at(times, scaffold)).means[:, ~rests]
    for moment, number in enumerate((0, 4, 8)):
        middle = torch.from_numpy(STEP * (number - BEGIN)).float()
        assert float(((at[moment] - middle).norm(dim=-1) - 0.4).abs().median()) < 0.06


def test_free_gaussians_begin_at_their_moments_with_the_tracks_velocities():
    cloud, _ = begun(carried=False)
    lives = cloud.lives
    drift = lives.drift()
    assert torch.isinf(drift.fades[cloud.rests]).all()
    expected = torch.from_numpy(STEP).float() / FRAME
    for moving in (lives.flies & (lives.centres < 0.9), ~cloud.rests & (lives.centres > 0.9)):
        assert float((drift.velocities[moving].median(dim=0).values - expected).abs().max()) < 0.1
    assert float(drift.velocities[cloud.rests].abs().max()) == 0.0


def test_the_shortest_life_has_a_frame_of_every_camera():
    """However the cameras' clocks lie, and however short it would like to be."""
    lives = Lives(1, FRAME)
    lives.put(torch.tensor([0.3], dtype=torch.float64), torch.zeros(1, 3))
    with torch.no_grad():
        lives.log_fades.fill_(-50.0)
        lives.log_plateaus.fill_(-50.0)
        for phase in torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64):
            frames = FRAME * (torch.arange(-20, 20) + phase)
            assert max(shown(lives, time[None]) for time in frames) >= 0.8
        # As wide, where three fifths of it are left, as one and a half frames.
        edges = 0.3 + FRAME * torch.tensor([-0.75, 0.75], dtype=torch.float64)
        assert shown(lives, edges) == pytest.approx(math.exp(-0.5), rel=1e-3)


def test_velocities_are_those_of_near_tracks_alone():
    paths = StartingPaths(
        torch.tensor([-1.0, 1.0], dtype=torch.float64),
        torch.tensor([[[0.0, 0, 0], [0.1, 0, 0]], [[0.0, 0.4, 0], [0.1, 0.4, 0]]]),
        torch.ones(2, 2, dtype=torch.bool),
    )
    places = torch.tensor([[0.05, 0.0, 0.0], [3.0, 0, 0], [0.05, 0.0, 0.0], [0.05, 0.0, 0.0]])
    found = velocities(places, torch.tensor([0.0, 0.0, torch.nan, 1.1], dtype=torch.float64), paths)
    # Nor is anything known of what rests, or of later times.
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.2, 0.0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]))


def test_without_points_gaussians_are_anywhere_in_the_space():
    torch.manual_seed(0)
    occupied = torch.zeros(4, 4, 4, dtype=torch.bool)
    occupied[1, 2, 3] = True
    cloud, scaffold = Cloud(200, 2, 1, 0, Lives(200, FRAME)), Scaffold(torch.zeros(5, 3), 2, 2, 1.0)
    begin(cloud, scaffold, scene_geometry(occupied=occupied), CloudConfig(gaussians=200))
    middle = torch.tensor([-1.3 + 2.6 * (k + 0.5) / 4 for k in (1, 2, 3)])
    assert float((cloud.means - middle).abs().median()) < 0.4
    assert 0.3 < float(cloud.rests.float().mean()) < 0.7
