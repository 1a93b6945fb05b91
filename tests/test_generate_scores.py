"""Scores of views: what is rendered scores at the ceiling, noise and strangers at the floor, a delay is found."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation_fixtures import ArraySource
from moving_spheres import Arc, Spheres, sphere_scene

from syncnerf.cli import main
from syncnerf.errors import UserError
from syncnerf.generate import geometry
from syncnerf.generate.consistency import not_fitted
from syncnerf.generate.geometry import score_geometry
from syncnerf.generate.scores import WEIGHTS_NEEDED, score_views
from syncnerf.generate.synchrony import score_synchrony, slips
from syncnerf.scene import Scene
from syncnerf.scene.frame_cache import FrameCache

FRAMES, VIEWS, SIZE = 72, 3, (64, 64)


class FineSpheres(Spheres):
    """Spheres whose textures have corners even in small pictures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.waves *= 2.0


@pytest.fixture(scope="module")
def worlds(tmp_path_factory) -> list[Scene]:
    """Synchronous views of two worlds that have nothing to do with each other, a few frames longer than is used."""
    return [
        sphere_scene(
            tmp_path_factory.mktemp("world"),
            [0.0] * VIEWS,
            frames=FRAMES + 6,
            size=SIZE,
            spheres=Spheres(5, seed),
            arc=Arc(50),
        )
        for seed in (3, 4)
    ]


@pytest.fixture(scope="module")
def sharp(tmp_path_factory) -> Scene:
    """Views of one world in which there are corners to match."""
    spheres = FineSpheres(8, 3, checked=True)
    folder = tmp_path_factory.mktemp("sharp")
    return sphere_scene(folder, [0.0] * 4, frames=4, size=(160, 128), spheres=spheres, arc=Arc(30))


def scene_of(scene: Scene, folder: Path, videos: list[np.ndarray]) -> Scene:
    """The same cameras with other videos, uint8 [T, height, width, 3] each."""
    cameras = tuple(
        replace(camera, frame_count=len(video)) for camera, video in zip(scene.cameras, videos, strict=True)
    )
    sources = {name: ArraySource(Path(name), video) for name, video in zip(scene.names, videos, strict=True)}
    return replace(
        scene, root=folder, cameras=cameras, frame_cache=FrameCache(folder, sources), true_offsets=None, _frames={}
    )


def videos_of(scene: Scene) -> list[np.ndarray]:
    return [np.asarray(scene.frames(view)[:FRAMES]) for view in range(VIEWS)]


def noise(seed: int) -> np.ndarray:
    """A video without any scene, unlike all others."""
    return np.random.default_rng(seed).integers(0, 256, (FRAMES, *SIZE, 3), dtype=np.uint8)


def test_rendered_views_are_in_step(worlds, tmp_path):
    score = score_synchrony(scene_of(worlds[0], tmp_path, videos_of(worlds[0])))
    assert score.value == score.ceiling == 1.0
    assert score.floor == 0.0
    assert score.details["largest_frames"] < 0.2
    assert score.details["significance"] > 3 * score.details["floor_significance"]
    assert score.details["slips"] == {}
    assert len(score.details["windows"]) == 3
    errors = [entry["stderr"] for entry in score.details["offsets"].values()]
    assert all(0 < error < 0.2 for error in errors)


@pytest.mark.parametrize("delay", [2, 5])
def test_a_delayed_view_is_found_with_its_delay(worlds, tmp_path, delay):
    videos = videos_of(worlds[0])
    videos[2] = np.asarray(worlds[0].frames(2)[delay : delay + FRAMES])
    score = score_synchrony(scene_of(worlds[0], tmp_path, videos))
    offsets = {name: entry["frames"] for name, entry in score.details["offsets"].items()}
    assert offsets["cam02"] - offsets["cam00"] == pytest.approx(delay, abs=0.2)
    assert score.details["largest_frames"] == pytest.approx(delay, abs=0.2)
    assert score.value == pytest.approx(1 / 3)
    assert score.ceiling == 1.0
    for window in score.details["windows"]:
        entry = window["offsets"]["cam02"]
        assert entry["frames"] is None or entry["frames"] == pytest.approx(delay, abs=0.5)


def test_a_slip_shows_in_the_windows(worlds, tmp_path):
    """A view that loses four frames in the middle has no one offset."""
    videos = videos_of(worlds[0])
    whole = np.asarray(worlds[0].frames(2)[: FRAMES + 4])
    videos[2] = np.concatenate([whole[: FRAMES // 2], whole[FRAMES // 2 + 4 :]])
    details = score_synchrony(scene_of(worlds[0], tmp_path, videos)).details
    assert list(details["slips"]) == ["cam02"]
    assert details["slips"]["cam02"] == pytest.approx(4, abs=0.3)


def test_slips_need_more_than_their_errors():
    def window(frames: float | None, stderr: float | None) -> dict:
        return {"offsets": {"a": {"frames": frames, "stderr": stderr}}}

    assert slips([]) == {}
    assert slips([window(0.0, 0.1), window(0.9, 0.1)]) == {"a": 0.9}
    assert slips([window(0.0, 0.3), window(0.9, 0.3)]) == {}
    assert slips([window(0.0, 0.1), window(None, None)]) == {}
    assert slips([window(0.0, 0.01), window(0.2, 0.01)]) == {}


def test_noise_scores_at_the_floor(worlds, tmp_path):
    scene = scene_of(worlds[0], tmp_path, [noise(seed) for seed in range(VIEWS)])
    synchrony = score_synchrony(scene)
    assert synchrony.value == synchrony.floor == synchrony.ceiling == 0.0
    assert all(synchrony.details["offsets"][name]["frames"] is None for name in ("cam00", "cam02"))
    assert synchrony.details["largest_frames"] is None


def test_videos_of_other_worlds_score_at_the_floor(worlds, tmp_path):
    videos = [videos_of(worlds[0])[0], np.asarray(worlds[1].frames(1)[:FRAMES]), noise(1)]
    score = score_synchrony(scene_of(worlds[0], tmp_path, videos))
    assert score.value == score.floor == 0.0


def test_still_pictures_say_nothing(worlds, tmp_path):
    still = [np.repeat(video[:1], FRAMES, axis=0) for video in videos_of(worlds[0])]
    score = score_synchrony(scene_of(worlds[0], tmp_path, still))
    assert score.value is None
    assert "nothing moves" in score.reason


@pytest.fixture
def one_moment(monkeypatch):
    """Matching takes most of the time."""
    monkeypatch.setattr(geometry, "MOMENTS", 1)


def test_matches_lie_on_the_commanded_lines_and_not_on_others(sharp, one_moment):
    score, matches = score_geometry(sharp)
    assert score.value > score.ceiling - 0.1
    assert score.value > score.floor + 0.4
    assert score.details["matches"] == sum(len(pair.distances) for pair in matches)
    poses = [camera.camera_to_world for camera in sharp.cameras]
    turned = [replace(c, camera_to_world=p) for c, p in zip(sharp.cameras, poses[1:] + poses[:1], strict=True)]
    wrong, _ = score_geometry(replace(sharp, cameras=tuple(turned)))
    assert wrong.value < score.value - 0.4
    assert wrong.ceiling == pytest.approx(score.ceiling, abs=0.1)


def test_noise_matches_nothing(sharp, one_moment, tmp_path):
    generator = np.random.default_rng(0)
    videos = [generator.integers(0, 256, (4, 128, 160, 3), dtype=np.uint8) for _ in sharp.cameras]
    score, _ = score_geometry(scene_of(sharp, tmp_path, videos))
    assert score.value is None or score.value < score.floor + 0.1


def test_frames_too_small_to_be_described_match_nothing(sharp, tmp_path):
    videos = [np.zeros((4, 2, 2, 3), dtype=np.uint8) for _ in sharp.cameras]
    small = replace(sharp, cameras=tuple(camera.resized(2, 2) for camera in sharp.cameras))
    score, _ = score_geometry(scene_of(small, tmp_path, videos))
    assert score.value is None
    assert "only 0 matches" in score.reason


def test_cameras_in_one_place_have_no_lines(worlds):
    same = tuple(replace(c, camera_to_world=worlds[0].cameras[0].camera_to_world) for c in worlds[0].cameras)
    score, matches = score_geometry(replace(worlds[0], cameras=same))
    assert score.value is None
    assert matches == []


def test_one_view_cannot_be_scored(worlds):
    with pytest.raises(UserError, match="one view"):
        score_views(replace(worlds[0], cameras=worlds[0].cameras[:1]), not_fitted())


def test_command_writes_scores_and_a_page(tiny_scene, tmp_path, capsys):
    out = tmp_path / "scores"
    assert main(["score-views", f"--datadir={tiny_scene}", f"--out={out}", f"--cache-dir={tmp_path / 'cache'}"]) == 0
    assert "synchrony" in capsys.readouterr().out
    record = json.loads((out / "scores.json").read_text())
    assert record["views"] == ["cam00", "cam01", "cam02", "cam03"]
    for name in WEIGHTS_NEEDED:
        assert record["scores"][name]["value"] is None
        assert "weights" in record["scores"][name]["reason"]
    assert record["scores"]["consistency_4d"]["value"] is None
    page = (out / "scores.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 1
    assert "http" not in page
    assert sorted(path.name for path in out.iterdir()) == ["scores.html", "scores.json"]


def test_command_names_what_is_wrong(tmp_path, capsys):
    assert main(["score-views", f"--datadir={tmp_path / 'none'}", f"--out={tmp_path / 'out'}"]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
