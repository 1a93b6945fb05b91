"""What fields start from: carved moments, triangulated tracks, and both as one."""

import logging
from dataclasses import replace

import pytest
import torch
from filmed_balls import (
    FPS,
    FRAMES,
    OFFSETS,
    RADIUS,
    SIDE,
    STILL,
    STILL_RADIUS,
    ball_place,
    clock_between,
    filmed,
    picture,
    standing,
)
from torch.nn.functional import normalize

from syncnerf.scene import Scene
from syncnerf.scene.points import ScenePoints
from syncnerf.scene.visual_hull import visual_hull
from syncnerf.starting.options import StartConfig
from syncnerf.starting.space_tracks import SpaceTracks, camera_pairs, triangulated_tracks
from syncnerf.starting.start import seen_points, starting_points
from syncnerf.starting.surfaces import moment_surfaces
from syncnerf.sync.sampson import RayTracks


@pytest.fixture(scope="module")
def balls(tmp_path_factory) -> Scene:
    return filmed(tmp_path_factory.mktemp("balls"), picture)


@pytest.fixture(scope="module")
def surfaces(balls):
    hull = visual_hull(balls, 48)
    moments = torch.tensor([-9.0, 0.3, 0.5, 0.8], dtype=torch.float64)
    return moment_surfaces(balls, hull, moments, standing(OFFSETS))


def test_what_moves_is_found_at_its_moments_as_the_clock_has_them(surfaces):
    moving = surfaces.chosen(~surfaces.times.isnan())
    assert moving.times.unique().tolist() == [0.3, 0.5, 0.8]  # no camera saw the first
    for moment in moving.times.unique():
        there = moving.places[moving.times == moment]
        middle = ball_place(moment).float()
        apart = (there - middle).norm(dim=-1)
        # Half of what it flies in a frame.
        assert float((there.mean(dim=0) - middle).norm()) < 0.08
        # Six cameras carve a ball to a little more than itself.
        assert 0.8 * RADIUS < float(apart.median()) < 1.5 * RADIUS
        assert (moving.colours[moving.times == moment] - torch.tensor([0.78, 0.12, 0.12])).abs().max() < 0.05


def test_offsets_decide_where_it_is_found(balls):
    hull = visual_hull(balls, 48)
    moment = torch.tensor([0.5], dtype=torch.float64)
    wrong = moment_surfaces(balls, hull, moment, standing(torch.zeros(6, dtype=torch.float64)))
    right = moment_surfaces(balls, hull, moment, standing(OFFSETS))
    counts = [int((~found.times.isnan()).sum()) for found in (wrong, right)]
    assert counts[0] < 0.6 * counts[1]


def test_what_stands_still_is_given_once_with_its_colours(surfaces):
    still = surfaces.chosen(surfaces.times.isnan())
    apart = (still.places - STILL).norm(dim=-1)
    assert 0.85 * STILL_RADIUS < float(apart.median()) < 1.4 * STILL_RADIUS
    assert len(still.places.unique(dim=0)) == len(still.places)
    # Well within a quarter, its colour is there.
    normal = (still.places - STILL) / apart[:, None]
    clear = (normal[:, :2].abs().amin(dim=-1) > 0.3) & (normal[:, 2] > -0.3)
    true = torch.stack([40 + 160 * (normal[:, 0] > 0), 40 + 160 * (normal[:, 1] > 0), 0 * normal[:, 0]], dim=-1) / 255.0
    assert int(clear.sum()) > 50
    assert float((still.colours - true)[clear].abs().amax(dim=-1).median()) < 0.02


# -- tracks -------------------------------------------------------------------------------------------------------


def planted(balls: Scene, count: int = 30) -> tuple[dict[int, RayTracks], torch.Tensor, torch.Tensor]:
    """Tracks of points that circle, each with a colour of its own; amplitudes and phases."""
    generator = torch.Generator().manual_seed(0)
    middle = torch.rand(count, 3, generator=generator, dtype=torch.float64) - 0.5
    phase = 6.28 * torch.rand(count, generator=generator, dtype=torch.float64)
    colours = 255 * torch.rand(count, 3, generator=generator)
    tracks = {}
    for index, view in enumerate(balls.cameras):
        order = torch.randperm(count, generator=generator)
        places = circling(middle, phase, view.frame_times + OFFSETS[index])[:, order]
        centre = view.pose(0)[:3, 3]
        rays = normalize(places - centre, dim=-1)
        tracks[index] = RayTracks(
            centre.expand(FRAMES, 3), rays, torch.ones(FRAMES, count, dtype=torch.bool), colours[order],
            view.frame_times, 1.4 * SIDE,
        )  # fmt: skip
    return tracks, middle, phase


def circling(middle: torch.Tensor, phase: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    angle = 4.0 * times[:, None] + phase
    return middle + 0.3 * torch.stack([angle.cos(), angle.sin(), (1.3 * angle).sin()], dim=-1)


def test_tracks_of_several_cameras_are_matched_and_triangulated(balls):
    tracks, middle, phase = planted(balls)
    times = torch.linspace(0.2, 0.8, 7, dtype=torch.float64)
    found = triangulated_tracks(balls, tracks, standing(OFFSETS), times)
    assert len(found) > 60  # each point, from several pairs
    true = circling(middle, phase, times).float()
    errors = (found.places[:, :, None] - true[:, None]).norm(dim=-1)[found.seen].amin(dim=-1)
    # A ray between two frames is a chord's: a few thousandths.
    assert float(errors.quantile(0.95)) < 0.01
    static = (found.places - found.places.mean(dim=0)).norm(dim=-1)[found.seen]
    assert float(static.median()) > 0.1


def test_wrong_offsets_make_fewer_tracks(balls):
    tracks, _, _ = planted(balls)
    times = torch.linspace(0.2, 0.8, 7, dtype=torch.float64)
    wrong = triangulated_tracks(balls, tracks, standing(OFFSETS.flip(0)), times)
    right = triangulated_tracks(balls, tracks, standing(OFFSETS), times)
    assert int(wrong.seen.sum()) < 0.5 * int(right.seen.sum())


@pytest.mark.parametrize(
    ("apart", "side", "known"),
    # Pixels by which the rays of one moment miss each other; distance between the cameras, in distances to the point.
    [
        (1.0, 0.5, [True, True, True]), (2.0, 0.5, [True, False, True]),
        (1.0, 0.09, [True, True, True]), (1.0, 0.05, []),
    ],
)  # fmt: skip
def test_two_rays_make_a_point_if_they_pass_closely_and_at_an_angle(balls, apart, side, known):
    point, focal = torch.tensor([0.0, 0.0, -4.0], dtype=torch.float64), 1000.0
    times = torch.arange(FRAMES, dtype=torch.float64) / FPS
    tracks = {}
    for index, shift in ((0, 0.0), (1, apart)):
        centre = torch.tensor([4.0 * side * index, 0.0, 0.0], dtype=torch.float64)
        places = point.expand(FRAMES, 3).clone()
        places[:, 1] += 0.02 * times
        places[3, 1] += shift * 4.0 / focal
        tracks[index] = RayTracks(
            centre.expand(FRAMES, 3), normalize(places - centre, dim=-1)[:, None],
            torch.ones(FRAMES, 1, dtype=torch.bool), torch.zeros(1, 3), times, focal,
        )  # fmt: skip
    found = triangulated_tracks(balls, tracks, standing(torch.zeros(6, dtype=torch.float64)), times[2:5])
    assert found.seen[:, 0].tolist() == known if known else len(found) == 0
    if known == [True, True, True]:  # the place that is nearest to both
        rays = torch.stack([tracks[index].rays[3, 0] for index in (0, 1)])
        across = torch.eye(3) - rays[:, :, None] * rays[:, None]
        centres = torch.stack([tracks[index].centres[3] for index in (0, 1)])
        nearest = torch.linalg.solve(across.sum(dim=0), (across @ centres[..., None]).sum(dim=0))[:, 0]
        torch.testing.assert_close(found.places[1, 0], nearest.float(), atol=1e-5, rtol=0)


def test_cameras_are_paired_with_those_beside_them(balls):
    pairs = camera_pairs(balls, (0, 2, 3, 5))
    assert pairs == [(0, 2), (0, 3), (0, 5), (2, 3), (2, 5), (3, 5)]


def test_tracks_that_are_known_once_alone_tell_no_motion():
    seen = torch.tensor([[True, True, False], [False, True, False]])
    kept = SpaceTracks(torch.zeros(2, dtype=torch.float64), torch.rand(2, 3, 3), seen).lasting()
    assert len(kept) == 1
    assert kept.seen.all()


# -- both as one --------------------------------------------------------------------------------------------------


CLOCK = clock_between(0.2, 0.8, 7, lambda times: times / 0.3 - 5 / 3)
CORNER = STILL + STILL_RADIUS * normalize(torch.tensor([1.0, 1.0, 1.0]), dim=0)
"""A point of the still ball that the first camera sees."""


def still_points(*places: torch.Tensor) -> ScenePoints:
    numbers, lengths = torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.float64)
    known = torch.stack(places).double() if places else torch.empty(0, 3, dtype=torch.float64)
    return ScenePoints(known, numbers, numbers, torch.empty(0, 2, dtype=torch.float64), lengths)


@pytest.fixture
def known(monkeypatch):
    """Called with still points and tracks: what is found in a scene's videos."""

    def found(still: ScenePoints, tracks: dict[int, RayTracks]) -> None:
        monkeypatch.setattr("syncnerf.starting.start.scene_points", lambda scene: still)
        monkeypatch.setattr("syncnerf.starting.start.moving_tracks", lambda scene: tracks)

    return found


def no_tracks(balls: Scene) -> dict[int, RayTracks]:
    tracks, _, _ = planted(balls, count=1)
    return {index: one.chosen(torch.empty(0, dtype=torch.int64)) for index, one in tracks.items()}


def test_points_have_the_colours_that_a_camera_sees_at_their_moment(balls):
    still = torch.stack([CORNER, torch.tensor([0.0, 0.0, 50.0])]).double()
    times = torch.tensor([0.3, 0.5, 0.7], dtype=torch.float64)
    tracks = SpaceTracks(times, ball_place(times).float()[:, None], torch.tensor([[True], [False], [True]]))
    points = seen_points(balls, tracks, standing(OFFSETS), still)
    # No camera sees the second of those that stand still.
    torch.testing.assert_close(points.places, torch.stack([CORNER, *ball_place(times[[0, 2]]).float()]))
    assert points.times[0].isnan()
    assert points.times[1:].tolist() == [0.3, 0.7]
    true = torch.tensor([[200.0, 200.0, 0.0], [200.0, 30.0, 30.0], [200.0, 30.0, 30.0]]) / 255
    torch.testing.assert_close(points.colours, true)
    # Seen across its way, the ball is there by the right clock alone.
    across = replace(balls, test=(0,))
    across._frames.update(balls._frames)
    red = [seen_points(across, tracks, standing(offsets)).colours - true[1:] for offsets in (OFFSETS, OFFSETS + 0.3)]
    assert float(red[0].abs().max()) < 1e-6
    assert float(red[1].abs().amax(dim=1).min()) > 0.3


def test_a_camera_that_moves_sees_colours_from_where_it_is_then(balls):
    """The first camera stands still for half of its frames, and looks away then."""
    view = balls.cameras[0]
    poses = view.camera_to_world.repeat(FRAMES, 1, 1)
    poses[FRAMES // 2 :, :3, [0, 2]] *= -1
    moving = replace(balls, cameras=(replace(view, camera_to_world=poses), *balls.cameras[1:]), test=(1, 2, 3, 4, 5))
    moving._frames.update(balls._frames)
    times = view.frame_times[[1, FRAMES - 2]] + OFFSETS[0]
    tracks = SpaceTracks(times, ball_place(times).float()[:, None], torch.ones(2, 1, dtype=torch.bool))
    points = seen_points(moving, tracks, standing(OFFSETS))
    assert points.times.tolist() == times[:1].tolist()
    torch.testing.assert_close(points.colours, torch.tensor([[200.0, 30.0, 30.0]]) / 255)


@pytest.mark.parametrize("carved", [True, False])
def test_a_start_has_surfaces_or_points_and_the_tracks_in_the_fields_time(balls, known, carved, caplog):
    tracks, middle, phase = planted(balls)
    known(still_points(CORNER), tracks)
    hull = visual_hull(balls, 32) if carved else None
    with caplog.at_level(logging.WARNING, logger="syncnerf"):
        points = starting_points(balls, CLOCK, hull, StartConfig())
    assert not caplog.records
    torch.testing.assert_close(points.paths.times, torch.linspace(-1, 1, 7, dtype=torch.float64))
    true = circling(middle, phase, torch.linspace(0.2, 0.8, 7, dtype=torch.float64)).float()
    errors = (points.paths.places[:, :, None] - true[:, None]).norm(dim=-1)[points.paths.seen].amin(dim=-1)
    assert float(errors.quantile(0.95)) < 0.01
    moving = ~points.times.isnan()
    assert 0 < int(moving.sum()) < len(moving)
    assert set(points.times[moving].mul(3).round().tolist()) == {-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0}
    if carved:  # the ball's surface, not the tracks'
        seconds = 0.3 * (points.times[moving] + 5 / 3)
        apart = (points.places[moving] - ball_place(seconds)).norm(dim=-1)
        assert 0.8 * RADIUS < float(apart.median()) < 1.5 * RADIUS


def test_without_any_points_one_line_says_so(balls, known, caplog):
    known(still_points(), no_tracks(balls))
    with caplog.at_level(logging.WARNING, logger="syncnerf"):
        assert starting_points(balls, CLOCK, None, StartConfig()) is None
    (record,) = caplog.records
    assert record.getMessage() == f"{balls.root}: no points to start from; the field starts anywhere in its box"


def test_points_in_the_scenes_own_files_take_the_place_of_found_ones(balls, known, tmp_path):
    known(still_points(CORNER), no_tracks(balls))
    there = [[0.1, 0.2, 0.3], [-0.4, 0.0, 0.5]]
    header = ["ply", "format ascii 1.0", "element vertex 2", *(f"property float {axis}" for axis in "xyz")]
    rows = [" ".join(map(str, place)) for place in there]
    (tmp_path / "sparse_pc.ply").write_text("\n".join([*header, "end_header", *rows, ""]))
    (tmp_path / "transforms.json").write_text('{"ply_file_path": "sparse_pc.ply"}')
    points = starting_points(replace(balls, root=tmp_path), CLOCK, None, StartConfig())
    assert sorted(points.places.float().tolist()) == sorted(torch.tensor(there).tolist())
    assert points.times.isnan().all()


def test_of_a_scene_without_motion_one_line_says_so(balls, known, caplog):
    known(still_points(CORNER), no_tracks(balls))
    with caplog.at_level(logging.WARNING, logger="syncnerf"):
        points = starting_points(balls, CLOCK, None, StartConfig())
    assert points.times.isnan().all()
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{balls.root}: nothing is found to move in it")
