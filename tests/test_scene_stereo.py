"""Stereo of median pictures: a planted room's distances come back, whatever the cameras' colours and what moves."""

import itertools
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from evaluation_fixtures import look_from

from syncnerf.assembly import make_batches
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.ray_batches import RayBatches
from syncnerf.scene import Camera, Scene
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.frame_cache import FrameCache
from syncnerf.scene.plane_sweep import (
    LARGE_JUMP,
    SMALL_JUMP,
    best_distances,
    matching_costs,
    smoothed_costs,
)
from syncnerf.scene.stereo import can_be_compared, still_distances
from syncnerf.scene.still_views import StillDistances, StillView, still_views
from syncnerf.scene.video import VideoSource

WIDTH, HEIGHT, FRAMES = 80, 60, 9
WAVES = 14.0 * torch.randn(24, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
GAINS = (1.0, 0.8, 0.9, 0.7, 0.95, 1.0)


def camera(index: int) -> Camera:
    """One of five in a row before the wall; the last one looks away from it."""
    place = [0.35 * index - 0.7, -2.0, 1.0 + 0.1 * (index % 2)]
    pose = look_from(place) if index < 5 else look_from([0.0, 2.0, 1.0])
    return Camera(f"cam{index}", Intrinsics(WIDTH, HEIGHT, 70.0, 70.0, WIDTH / 2, HEIGHT / 2), pose, 10.0, FRAMES)


def room(view: Camera) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey [H, W] and distances [H, W] of a wall at y = 1 above a floor at z = -0.3, and of another at y = -4."""
    rays = view.all_rays(0.1, 10.0)
    start, along = rays.origins, rays.directions.double()
    found = torch.stack([(end - start[:, axis]) / along[:, axis] for axis, end in ((1, 1.0), (2, -0.3), (1, -4.0))])
    distances = torch.where(found > 0, found, torch.inf).amin(dim=0)
    places = start + distances[:, None] * along
    grey = 0.5 + 0.4 * torch.sin(places @ WAVES.T).mean(dim=-1) * len(WAVES) ** 0.5 / 1.5
    return grey.clamp(0, 1).reshape(HEIGHT, WIDTH).float(), distances.reshape(HEIGHT, WIDTH).float()


CAMERAS = tuple(camera(index) for index in range(6))
TRIED = torch.linspace(1 / 1.0, 1 / 6.0, 60, dtype=torch.float64).reciprocal()


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    folder = tmp_path_factory.mktemp("room")
    bounds = torch.tensor([[-3.0, -5.0, -1.0], [3.0, 2.0, 3.0]])
    sources = {view.name: Mock(spec=VideoSource, fingerprint=lambda: "one", path=folder) for view in CAMERAS}
    made = Scene(folder, "room", CAMERAS, FrameCache(folder / "cache", sources), (), bounds, 0.3, 8.0)
    for index, view in enumerate(CAMERAS):
        frames = (room(view)[0] * 200 * GAINS[index]).clamp(0, 255).byte()[None, ..., None].repeat(FRAMES, 1, 1, 3)
        for frame in range(FRAMES):
            frames[frame, 20:40, 8 * frame : 8 * frame + 16] = 255
        made._frames[index] = frames.numpy()
    return made


@pytest.fixture(scope="module")
def views(scene) -> dict[int, StillView]:
    return still_views(scene)


def test_distances_of_a_planted_room_come_back(views):
    for index in range(5):
        truth, found = room(CAMERAS[index])[1], views[index].distances
        known = found.isfinite()
        assert known.float().mean() > 0.5
        wrong = (found / truth - 1.0).abs()[known]
        assert wrong.median() < 0.01
        assert wrong.quantile(0.95) < 0.05


def test_what_moves_is_not_in_the_still_scene(views):
    expected = (room(CAMERAS[0])[0] * 200).byte()
    assert torch.equal(views[0].colours, expected[..., None].expand(-1, -1, 3))


def test_a_camera_that_shares_its_view_with_none_knows_no_distance(views):
    assert views[5].distances.isnan().all()


def test_cameras_at_one_place_tell_no_distance(scene):
    places = torch.stack([view.camera_to_world for view in CAMERAS[:5]])
    places[:, :3, 3] = places[0, :3, 3]
    turning = tuple(replace(view, camera_to_world=pose) for view, pose in zip(CAMERAS, places, strict=False))
    found = still_distances(replace(scene, cameras=turning), {index: room(CAMERAS[index])[0] for index in range(5)})
    assert all(distances.isnan().all() for distances in found.values())


def test_gain_and_bias_of_a_camera_change_no_distance():
    grey, truth = room(CAMERAS[2])
    others = [(CAMERAS[index], room(CAMERAS[index])[0]) for index in (1, 3)]
    changed = [(other, 0.7 * picture + 0.2) for other, picture in others]
    found = [best_distances(matching_costs(CAMERAS[2], grey, some, TRIED), TRIED) for some in (others, changed)]
    inside = truth[10:-10, 10:-10]
    for distances in found:
        assert (distances[10:-10, 10:-10] / inside - 1).abs().median() < 0.01
    assert ((found[0] / found[1] - 1).abs() < 0.01).float().mean() > 0.95


def test_paths_cost_what_the_cheapest_of_all_sequences_of_distances_does():
    costs = torch.rand(3, 1, 5, generator=torch.Generator().manual_seed(0))
    flat = torch.zeros(1, 5)

    def along(order: list[int]) -> torch.Tensor:
        cheapest = torch.full((3,), torch.inf)
        for sequence in itertools.product(range(3), repeat=len(order)):
            jumps = [abs(a - b) for a, b in itertools.pairwise(sequence)]
            price = sum(float(costs[level, 0, place]) for level, place in zip(sequence, order, strict=True))
            price += sum((0.0, SMALL_JUMP, LARGE_JUMP)[jump] for jump in jumps)
            cheapest[sequence[-1]] = min(cheapest[sequence[-1]], price)
        return cheapest

    found = smoothed_costs(costs, flat)
    for place in range(5):
        ways = [along(list(range(place + 1))), along(list(range(4, place - 1, -1)))]
        # Columns of one pixel are paths of one pixel.
        expected = ways[0] + ways[1] + 2 * costs[:, 0, place]
        difference = found[:, 0, place] - expected
        assert torch.allclose(difference, difference[:1].expand(3), atol=1e-5)


def test_between_two_tried_distances_the_inverse_is_refined():
    tried = torch.tensor([0.5, 0.4, 0.3, 0.2], dtype=torch.float64).reciprocal()
    bend = (torch.tensor([0.5, 0.4, 0.3, 0.2]) - 0.33).square()
    found = best_distances(bend[:, None, None].expand(4, 2, 3), tried)
    torch.testing.assert_close(found, torch.full((2, 3), 1 / 0.33))


def test_batches_tell_distances_where_a_frame_shows_the_still_scene(scene, views):
    batches = RayBatches(scene, SamplingConfig(batch_size=4000), still=views)
    batch = batches.draw(torch.Generator().manual_seed(0), 0)
    told, white = batch.statistics["distance"], batch.rgb.amin(dim=-1) > 0.99
    assert told[white].isnan().all()
    assert told[~white].isfinite().float().mean() > 0.3
    known = told.isfinite()
    ends = (batch.rays.origins + told[:, None] * batch.rays.directions)[known]
    beside = torch.stack([(ends[:, 1] - 1.0).abs(), (ends[:, 2] + 0.3).abs()]).amin(dim=0)
    assert beside.median() < 0.03


def test_still_distances_are_those_of_the_asked_cameras():
    picture = torch.zeros(4, 6, 3, dtype=torch.uint8)
    table = StillDistances([StillView(picture, torch.arange(6.0).reshape(2, 3) + 10 * index) for index in range(2)])
    # Of 6 x 4 pixels, each of 3 x 2 is four.
    cameras, pixels = torch.tensor([1, 0, 1]), torch.tensor([7, 23, 15])
    assert table.of(cameras, pixels).tolist() == [10.0, 5.0, 14.0]
    shown = table.where_shown(cameras, pixels, torch.tensor([[0.0] * 3, [0.5] * 3, [0.01] * 3]))
    assert shown.isnan().tolist() == [False, True, False]
    assert shown[[0, 2]].tolist() == [10.0, 14.0]


def test_distances_are_computed_once(scene, views, monkeypatch):
    calls = []

    def computed(_, pictures):
        calls.append(len(pictures))
        return {index: torch.ones_like(picture) for index, picture in pictures.items()}

    monkeypatch.setattr("syncnerf.scene.still_views.still_distances", computed)
    again = still_views(scene)
    assert not calls
    assert all(torch.equal(again[index].distances.nan_to_num(), views[index].distances.nan_to_num()) for index in views)
    pose = CAMERAS[0].camera_to_world.clone()
    pose[0, 3] += 0.01
    still_views(replace(scene, cameras=(replace(CAMERAS[0], camera_to_world=pose), *CAMERAS[1:])))
    assert calls == [6], "another calibration has distances of its own"
    for cached in scene.frame_cache.directory.glob("stereo-*.npz"):
        cached.write_bytes(b"damaged")
    still_views(scene)
    assert calls == [6, 6]


def test_stereo_is_for_cameras_that_stand_before_an_unknown_background(scene):
    assert can_be_compared(scene)
    scene.background = (1.0, 1.0, 1.0)
    assert not can_be_compared(scene)
    scene.background = None


@pytest.mark.parametrize(("option", "compared"), [("distance_weight=0.01", True), ("distance_weight=0", False)])
def test_distances_that_do_not_count_are_not_computed(scene, monkeypatch, option, compared):
    calls = []
    monkeypatch.setattr("syncnerf.assembly.still_views", lambda scene: calls.append(scene))
    make_batches(Job.of(parse(["--backend=kplanes", f"--{option.replace('_', '-')}"]), scene))
    assert len(calls) == compared
