"""Tracks of any tracker as a start: in space, in pictures with ids and without, with features, and unfit ones."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filmed_balls import standing
from moving_spheres import sphere_scene
from torch.nn.functional import normalize

from syncnerf.cli import main
from syncnerf.errors import UserError
from syncnerf.scene import Scene
from syncnerf.starting.given_tracks import given_tracks
from syncnerf.starting.matching import epipolar_matches, spread, transport_matches
from syncnerf.starting.own_times import OwnTimes
from syncnerf.sync.sampson import RayTracks, ray_tracks
from syncnerf.sync.track_files import read_tracks
from syncnerf.sync.track_pairs import prepare_tracks
from syncnerf.sync.tracks import Tracks, first_colours

OFFSETS = torch.tensor([0.0, 0.12, -0.09, 0.21], dtype=torch.float64)
COUNT, MOVING, FRAMES = 40, 30, 40
TIMES = torch.linspace(0.25, 1.0, 16, dtype=torch.float64)
rng = np.random.default_rng(0)
CENTRE = rng.uniform(-0.6, 0.6, (COUNT, 3))
REACH, PHASE = rng.uniform(0.1, 0.3, (COUNT, 3)) * (np.arange(COUNT) < MOVING)[:, None], rng.uniform(0, 6, (COUNT, 3))
ORDERS = [rng.permutation(COUNT) for _ in OFFSETS]


def places(times: torch.Tensor) -> np.ndarray:
    """Where the points are, shape [T, N, 3]; the last ten stand still."""
    return CENTRE + REACH * np.sin(4.0 * times.numpy()[:, None, None] + PHASE)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    made = sphere_scene(tmp_path_factory.mktemp("cache"), OFFSETS.tolist(), frames=FRAMES, size=(320, 240))
    for index in range(len(OFFSETS)):
        made._frames[index] = np.broadcast_to(np.uint8(128), (FRAMES, 240, 320, 3))
    return made


def in_pictures(scene: Scene, index: int, rate: float = 0.0) -> np.ndarray:
    """What a camera sees of the points, in an order of its own, shape [T, N, 2]."""
    camera = scene.cameras[index]
    known = places((1.0 + rate) * camera.frame_times + OFFSETS[index])[:, ORDERS[index]]
    seen = np.concatenate([known, np.ones((*known.shape[:2], 1))], axis=-1) @ camera.projection().numpy().T
    return seen[..., :2] / seen[..., 2:]


def arrays(scene: Scene, cameras: tuple[int, ...], space: bool = False, **more) -> dict[str, np.ndarray]:
    """The arrays of a file of all cameras; ``more`` maps names to functions of a camera's number."""
    found = {}
    for index in cameras:
        name = scene.names[index]
        own = places(scene.cameras[index].frame_times + OFFSETS[index])[:, ORDERS[index]]
        found[f"{name}/points"] = own if space else in_pictures(scene, index)
        found[f"{name}/visibility"] = np.ones((FRAMES, COUNT))
        found |= {f"{name}/{key}": value(index) for key, value in more.items()}
    return found


def written(path: Path, contents: dict[str, np.ndarray]) -> Path:
    np.savez(path, **contents)
    return path


def errors_of(tracks) -> torch.Tensor:
    """Distance from each known place to the nearest true point."""
    apart = (tracks.places[:, :, None] - torch.from_numpy(places(tracks.times)).float()[:, None]).norm(dim=-1)
    return apart[tracks.seen].amin(dim=-1)


def test_tracks_in_space_are_put_on_the_scenes_clock(scene, tmp_path):
    path = written(tmp_path / "tracks.npz", arrays(scene, (0, 1, 3), space=True))
    found = given_tracks(scene, path, standing(OFFSETS), TIMES, epipolar_matches)
    # Those that move, of the two training cameras: the first camera is the test view.
    assert len(found) == 2 * MOVING
    moving = torch.from_numpy(places(TIMES)).float()[:, np.concatenate([o[o < MOVING] for o in (ORDERS[1], ORDERS[3])])]
    # A moment between two frames lies on a chord: a few thousandths of a swing.
    torch.testing.assert_close(found.places[found.seen], moving[found.seen], atol=2e-3, rtol=0)
    assert found.seen.float().mean() > 0.9
    late = given_tracks(scene, path, standing(OFFSETS + 0.2), TIMES, epipolar_matches)
    assert (late.places - moving)[late.seen].norm(dim=-1).median() > 0.1


@pytest.mark.parametrize("ids", [True, False])
def test_tracks_in_pictures_are_triangulated(scene, tmp_path, ids):
    more = {"ids": lambda index: ORDERS[index] + 100} if ids else {}
    path = written(tmp_path / "tracks.npz", arrays(scene, (1, 2, 3), **more))
    found = given_tracks(scene, path, standing(OFFSETS), TIMES, epipolar_matches)
    assert len(found) >= (3 if ids else 2.4) * MOVING
    assert float(errors_of(found).quantile(0.95)) < 0.01


def test_clocks_of_unequal_rates_are_read_at_theirs(scene, tmp_path):
    """Planted: two clocks that are 1% fast and 1% slow; taken for even ones, a second makes 0.02 seconds of that."""
    rates = torch.tensor([0.0, 0.0, 0.01, -0.01], dtype=torch.float64)
    contents = arrays(scene, (1, 2, 3), ids=lambda index: ORDERS[index])
    for index in (1, 2, 3):
        contents[f"{scene.names[index]}/points"] = in_pictures(scene, index, float(rates[index]))
    path = written(tmp_path / "tracks.npz", contents)
    found = given_tracks(scene, path, OwnTimes(OFFSETS, rates), TIMES, epipolar_matches)
    wrong = given_tracks(scene, path, standing(OFFSETS), TIMES, epipolar_matches)
    assert float(errors_of(found).quantile(0.95)) < 0.01
    assert float(errors_of(wrong).quantile(0.95)) > 2 * float(errors_of(found).quantile(0.95))


def test_ids_decide_which_tracks_belong_together(scene, tmp_path):
    """With ids of points that are confused in pairs, rays still meet by chance at most."""
    confused = {"ids": lambda index: np.roll(ORDERS[index], index)}
    path = written(tmp_path / "tracks.npz", arrays(scene, (1, 2, 3), **confused))
    with pytest.raises(UserError, match=r"tracks do not fit the cameras: [0-9]+% of the rays with common ids meet"):
        given_tracks(scene, path, standing(OFFSETS), TIMES, epipolar_matches)


def test_tracks_of_other_colours_are_of_other_points(scene, tmp_path, monkeypatch):
    path = written(tmp_path / "tracks.npz", arrays(scene, (1, 2)))
    assert len(given_tracks(scene, path, standing(OFFSETS), TIMES, epipolar_matches)) > 0.8 * MOVING
    monkeypatch.setitem(scene._frames, 2, np.broadcast_to(np.uint8(200), (FRAMES, 240, 320, 3)))
    with pytest.raises(UserError, match="none that moves"):
        given_tracks(scene, path, standing(OFFSETS), TIMES, epipolar_matches)


def test_colours_are_those_around_a_point_where_it_is_first_seen():
    frames = np.zeros((3, 40, 60, 3), dtype=np.uint8)
    frames[0, 5:14, 10:19], frames[1, 20:29, 30:39], frames[2] = (10, 20, 30), (40, 50, 60), 255
    points = torch.tensor([[14.5, 9.5], [34.5, 24.5], [14.5, 9.5], [14.5, 9.5]]).expand(3, 4, 2)
    visible = torch.tensor([[True, False, False, False], [True, True, False, False], [True, True, True, False]])
    found = first_colours(frames, Tracks(points, visible, None))
    torch.testing.assert_close(found, torch.tensor([[10.0, 20, 30], [40, 50, 60], [255, 255, 255], [0, 0, 0]]))


def test_a_folder_of_files_holds_the_same(scene, tmp_path):
    contents = arrays(scene, (1, 2, 3))
    whole = given_tracks(scene, written(tmp_path / "all.npz", contents), standing(OFFSETS), TIMES, epipolar_matches)
    for index in (1, 2, 3):
        prefix = f"{scene.names[index]}/"
        own = {key.removeprefix(prefix): value for key, value in contents.items() if key.startswith(prefix)}
        written(tmp_path / f"{scene.names[index]}.npz", own)
    (tmp_path / "all.npz").unlink()
    parts = given_tracks(scene, tmp_path, standing(OFFSETS), TIMES, epipolar_matches)
    torch.testing.assert_close(parts.places, whole.places)
    assert (parts.seen == whole.seen).all()


def test_synchronisation_reads_the_same_files(scene, tmp_path):
    path = written(tmp_path / "all.npz", arrays(scene, (0, 1, 2, 3)))
    assert [len(tracks) for tracks in prepare_tracks(scene, path)] == [MOVING] * 4
    with pytest.raises(UserError, match=r"should be \[T, N, 2\] and"):
        prepare_tracks(scene, written(tmp_path / "space.npz", arrays(scene, (0, 1, 2, 3), space=True)))


# -- matching -----------------------------------------------------------------------------------------------------


def pair(scene: Scene, tmp_path: Path, features: bool = False) -> tuple[RayTracks, RayTracks]:
    """Moving tracks of two cameras that stand beside each other, with ids; their features are under noise."""
    generator = np.random.default_rng(3)
    looks = np.random.default_rng(5).normal(size=(COUNT, 8))
    more = {"features": lambda index: looks[ORDERS[index]] + 0.5 * generator.normal(size=(COUNT, 8))}
    contents = arrays(scene, (1, 2), ids=lambda index: ORDERS[index], **(more if features else {}))
    path = written(tmp_path / "pair.npz", contents)
    return tuple(ray_tracks(read_tracks(path, scene.cameras[index]), scene.cameras[index]) for index in (1, 2))


def right(found, one: RayTracks, two: RayTracks) -> int:
    """Number of right matches."""
    return int((one.ids[found[0]] == two.ids[found[1]]).sum())


@pytest.mark.parametrize("matching", [epipolar_matches, transport_matches])
def test_tracks_are_matched_by_where_they_are_and_when(scene, tmp_path, matching):
    if matching is transport_matches:
        pytest.importorskip("ot", reason="the extra tracks is not installed")
    one, two = pair(scene, tmp_path)
    shift = float(OFFSETS[1] - OFFSETS[2])
    found = matching(one, two, shift)
    assert right(found, one, two) > 0.9 * MOVING
    assert right(found, one, two) > 0.95 * len(found[0])
    assert right(matching(one, two, shift + 0.3), one, two) < 0.5 * MOVING


def test_features_help_where_places_do_not_tell(scene, tmp_path):
    shift = float(OFFSETS[1] - OFFSETS[2])
    counts = []
    for features in (False, True):
        one, two = pair(scene, tmp_path, features)
        # Beside each true track one that another point in the same epipolar planes would leave.
        along = normalize(two.centres[0] - one.centres[0], dim=0)
        sides = torch.tensor([1.0, -1.0]).repeat(MOVING // 2)[:, None]
        noise = 5e-4 * torch.randn(two.rays.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        two = replace(two, rays=normalize(two.rays + noise, dim=-1))
        decoys = replace(two, rays=normalize(two.rays + 0.05 * sides * along, dim=-1), ids=two.ids + 1000)
        if features:
            decoys = replace(decoys, features=two.features.roll(1, dims=0))
        counts.append(right(epipolar_matches(one, both(decoys, two), shift), one, both(decoys, two)))
    assert counts[0] < 0.8 * MOVING
    assert counts[1] > 0.95 * MOVING


def both(one: RayTracks, two: RayTracks) -> RayTracks:
    """Tracks of one camera, together."""
    features = None if one.features is None else torch.cat([one.features, two.features])
    rays, visible = torch.cat([one.rays, two.rays], dim=1), torch.cat([one.visible, two.visible], dim=1)
    return replace(one, rays=rays, visible=visible, ids=torch.cat([one.ids, two.ids]), features=features)


def test_many_tracks_are_compared_part_by_part_and_some_are_taken(scene, tmp_path, monkeypatch):
    one, two = pair(scene, tmp_path)
    shift = float(OFFSETS[1] - OFFSETS[2])
    whole = epipolar_matches(one, two, shift)
    monkeypatch.setattr("syncnerf.starting.matching.AT_ONCE", 7 * FRAMES * len(two))
    assert all(torch.equal(*columns) for columns in zip(epipolar_matches(one, two, shift), whole, strict=True))
    monkeypatch.setattr("syncnerf.starting.given_tracks.MOST_TRACKS", 20)
    path = written(tmp_path / "tracks.npz", arrays(scene, (1, 2, 3)))
    assert len(given_tracks(scene, path, standing(OFFSETS), TIMES, epipolar_matches)) <= 3 * 20
    monkeypatch.setattr("syncnerf.starting.given_tracks.MOST_PATHS", 25)
    path = written(tmp_path / "tracks.npz", arrays(scene, (1, 2), space=True))
    assert len(given_tracks(scene, path, standing(OFFSETS), TIMES, epipolar_matches)) == 25


def test_how_far_apart_tracks_are_is_the_largest_angle_in_common_moments(scene, tmp_path):
    one, _ = pair(scene, tmp_path)
    hidden = one.visible.clone()
    hidden[: FRAMES // 2, 0], hidden[FRAMES // 2 :, 1] = False, False
    apart = spread(replace(one, visible=hidden))
    assert float(apart[0, 1]) == 1.0  # never seen together
    assert float(apart[0, 0]) == 0.0
    moments = torch.linspace(0, FRAMES - 1, 24).round().long()
    chords = (one.rays[moments, 2] - one.rays[moments, 3]).norm(dim=-1).max()
    others = (one.rays[moments, 2] - one.rays[moments, 4]).norm(dim=-1).max()
    torch.testing.assert_close(float(apart[2, 3] / apart[2, 4]), float(chords / others), rtol=1e-5, atol=0)


# -- what does not fit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cam09/points": np.zeros((FRAMES, 1, 2))}, "'cam09' is no camera of the scene"),
        ({"cam01/points": np.zeros((FRAMES, COUNT, 4))}, r"\(cam01\): points .* should be \[T, N, 2\] or \[T, N, 3\]"),
        ({"cam01/ids": np.zeros(COUNT, dtype=int)}, "two of its tracks have one id"),
        ({"cam01/ids": np.arange(3)}, r"ids \(3,\) should be whole numbers \[N\], N = 40"),
        ({"cam01/features": np.zeros(COUNT)}, r"features \(40,\) should be numbers \[N, D\], N = 40"),
        ({"cam01/features": np.full((COUNT, 2), np.nan)}, "features should be finite"),
        ({"cam01/size": np.array([3200, 2400])}, r"[0-9]+% of its points lie in the picture; 'size' should be"),
    ],
)  # fmt: skip
def test_unfit_files_are_named_in_one_line(scene, tmp_path, changed, message):
    contents = arrays(scene, (1, 2, 3)) | changed
    if "cam01/size" in changed:
        contents["cam01/points"] = 20.0 * contents["cam01/points"]
    path = written(tmp_path / "tracks.npz", contents)
    with pytest.raises(UserError, match=message) as caught:
        given_tracks(scene, path, standing(OFFSETS), TIMES, epipolar_matches)
    assert "tracks.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [lambda p: p + 5.0, lambda p: 1000.0 * p + 400.0, lambda p: p - [0, 0, 9.0]])
def test_tracks_in_another_world_do_not_fit(scene, tmp_path, change):
    contents = arrays(scene, (1, 2), space=True)
    contents["cam02/points"] = change(contents["cam02/points"])
    path = written(tmp_path / "tracks.npz", contents)
    with pytest.raises(UserError, match=r"\(cam02\): does not fit the camera: .* in the scene's world"):
        given_tracks(scene, path, standing(OFFSETS), TIMES, epipolar_matches)


def test_tracks_that_meet_nowhere_do_not_fit(scene, tmp_path):
    contents = arrays(scene, (1, 2))
    contents["cam02/points"] = contents["cam02/points"][::-1, :, ::-1] * [1.3, 0.7]
    path = written(tmp_path / "tracks.npz", contents)
    with pytest.raises(UserError, match="tracks do not fit the cameras: none that moves"):
        given_tracks(scene, path, standing(OFFSETS + torch.tensor([0, 0, 0.1, 0])), TIMES[:2], epipolar_matches)


def test_a_file_without_tracks_of_any_camera_says_what_it_should_hold(scene, tmp_path):
    for contents in ({}, {"points": np.zeros((FRAMES, 2, 2))}):
        path = written(tmp_path / "tracks.npz", contents)
        with pytest.raises(UserError, match="holds no tracks of the scene's cameras; give arrays 'cam00/points'"):
            given_tracks(scene, path, standing(OFFSETS), TIMES, epipolar_matches)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="or a folder with cam00"):
        given_tracks(scene, tmp_path / "empty", standing(OFFSETS), TIMES, epipolar_matches)
    np.save(tmp_path / "plain.npy", np.zeros(3))
    with pytest.raises(UserError, match="cannot be read as npz"):
        given_tracks(scene, tmp_path / "plain.npy", standing(OFFSETS), TIMES, epipolar_matches)


def test_a_file_that_is_not_there_is_refused_first(tiny_scene, tmp_path, capsys):
    arguments = ["train", "--backend=gaussians", f"--datadir={tiny_scene}", f"--logdir={tmp_path}"]
    assert main([*arguments, f"--tracks={tmp_path / 'none.npz'}"]) == 2
    assert capsys.readouterr().err.strip().endswith("none.npz: no such file or folder")


def test_tracks_that_do_not_fit_end_a_training_in_one_line(tiny_scene, tmp_path, capsys):
    own = {"cam02/points": np.full((12, 4, 3), 50.0), "cam02/visibility": np.ones((12, 4))}
    path = written(tmp_path / "tracks.npz", own)
    options = [f"--logdir={tmp_path / 'runs'}", "--offset-init=zero", f"--tracks={path}"]
    assert main(["train", "--backend=gaussians", f"--datadir={tiny_scene}", *options]) == 2
    said = capsys.readouterr().err.strip().replace("\r", "\n").splitlines()[-1]
    assert f"{path} (cam02): does not fit the camera: 0% of its points lie in the picture" in said
    assert not list((tmp_path / "runs").rglob("*.pt"))


def test_without_pot_one_line_names_the_extra(scene, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ot.gromov", None)
    with pytest.raises(UserError, match=r"needs POT: pip install 'syncnerf\[tracks\]'"):
        transport_matches(*pair(scene, tmp_path), 0.0)
