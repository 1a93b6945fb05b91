"""From frames to offsets: ray-cast scenes with planted offsets, and what can go wrong with a scene."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from changed_scenes import perturbed, random_crops
from moving_spheres import Spheres, sphere_scene
from odd_recordings import damaged

from syncnerf.errors import UserError
from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Scene, load_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.sync import only_sure, synchronize
from syncnerf.sync.command import table

OFFSETS = [0.0, 0.11, -0.153, 0.07, 0.02, -0.21]
"""Planted, seconds."""
WALK = Path(__file__).parents[2] / "shared" / "data" / "walk_4cam"


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    made = sphere_scene(tmp_path_factory.mktemp("spheres"), OFFSETS, frames=60, spheres=Spheres(6, 3))
    made.frame_cache.prepare(made.cameras)
    return made


class Edited:
    """A frame cache that changes the frames of another."""

    def __init__(self, scene: Scene, edit):
        self.scene, self.edit = scene, edit

    def prepare(self, cameras):
        pass

    def open(self, camera):
        index = self.scene.index_of(camera.name)
        return self.edit(index, self.scene.frames(index))


def edited(scene: Scene, edit) -> Scene:
    """The scene with each camera's frames (index, uint8 [T, H, W, 3]) changed."""
    return replace(scene, frame_cache=Edited(scene, edit), _frames={})


def flicker(frames: np.ndarray, seed: int) -> np.ndarray:
    """Random global gain of up to 12% either way in each frame."""
    gain = np.random.default_rng(seed).uniform(0.88, 1.12, len(frames))
    return np.clip(frames * gain[:, None, None, None], 0, 255).round().astype(np.uint8)


def error_in_frames(result, scene: Scene) -> torch.Tensor:
    return align_gauge(result.offsets, scene.true_offsets) / scene.frame_interval


def test_planted_offsets_are_found(scene):
    result = synchronize(scene)
    error = error_in_frames(result, scene)
    assert float(error.abs().mean()) < 0.05
    assert float(error.abs().max()) < 0.2
    assert result.offsets[scene.reference] == 0.0
    assert (result.stderr > 0).all()
    assert float((error / (result.stderr / scene.frame_interval)).abs().max()) < 6
    torch.testing.assert_close(result.covariance.diagonal(), result.stderr.square())
    assert (torch.linalg.eigvalsh(result.covariance) > 0).all()
    assert result.method == "epipolar"
    assert result.reasons == {}
    assert len(result.pairs) == len(result.landscapes) == 15
    for pair, landscape in zip(result.pairs, result.landscapes, strict=True):
        assert (pair.first, pair.second) == (landscape.first, landscape.second)
        if pair.used:
            peak = float(landscape.lags[landscape.values.argmax()])
            assert peak == pytest.approx(pair.lag, abs=1.5 * scene.frame_interval)


@pytest.mark.parametrize("common", [True, False])
def test_flicker_does_not_move_the_answer(scene, common):
    plain = synchronize(scene)
    flickering = edited(scene, lambda index, frames: flicker(frames, 0 if common else index + 1))
    result = synchronize(flickering)
    assert result.reasons == {}
    difference = align_gauge(result.offsets, plain.offsets) / scene.frame_interval
    assert float(difference.abs().max()) < 0.2


def test_wrong_poses_hardly_move_the_answer(scene):
    for seed in (0, 1):
        error = error_in_frames(synchronize(perturbed(scene, seed)), scene)
        assert float(error.abs().mean()) < 0.1


def test_a_camera_without_motion_is_undetermined(scene):
    frozen = edited(scene, lambda index, frames: frames if index != 3 else frames[:1].repeat(len(frames), 0))
    result = synchronize(frozen)
    assert list(result.reasons) == ["cam03"]
    assert "nothing moves" in result.reasons["cam03"]
    assert result.offsets[3].isnan()
    assert result.stderr[3].isnan()
    others = [0, 1, 2, 4, 5]
    error = align_gauge(result.offsets[others], scene.true_offsets[others]) / scene.frame_interval
    assert float(error.abs().max()) < 0.25
    sure = only_sure(result)
    assert "cam03" in sure.reasons
    assert sure.offsets[3].isnan()


def test_a_reference_without_motion_is_replaced(scene, caplog):
    """What the others share is not lost with it: their offsets are against the next training camera."""
    frozen = edited(
        scene, lambda index, frames: frames if index != scene.reference else frames[:1].repeat(len(frames), 0)
    )
    result = synchronize(frozen)
    assert list(result.reasons) == [scene.names[scene.reference]]
    assert result.reference == scene.train[1]
    assert float(result.offsets[result.reference]) == 0.0
    others = [index for index in range(6) if index != scene.reference]
    error = align_gauge(result.offsets[others], scene.true_offsets[others]) / scene.frame_interval
    assert float(error.abs().max()) < 0.25
    assert f"against {scene.names[scene.train[1]]}" in caplog.text
    verdicts = [line.split()[-1] for line in table(frozen, result).splitlines()]
    assert verdicts.count("(reference)") == 1


def test_cameras_that_see_something_else_are_undetermined(scene, tmp_path):
    """Two groups of cameras that film different things: the graph falls into two pieces."""
    other = sphere_scene(tmp_path, OFFSETS, frames=60, spheres=Spheres(6, 11))
    other.frame_cache.prepare(other.cameras)
    split = edited(scene, lambda index, frames: frames if index < 3 else other.frames(index))
    result = synchronize(split)
    assert set(result.reasons) == {"cam03", "cam04", "cam05"}
    assert all("nothing connects" in reason for reason in result.reasons.values())
    assert result.offsets[:3].isfinite().all()


def test_different_rates_and_lengths(tmp_path):
    mixed = sphere_scene(
        tmp_path, OFFSETS[:4], frames=[60, 100, 110, 50], fps=[30.0, 50.0, 60.0, 25.0], spheres=Spheres(6, 3)
    )
    result = synchronize(mixed)
    assert result.reasons == {}
    assert float(align_gauge(result.offsets, mixed.true_offsets).abs().max()) < 0.3 / 30


def test_a_limit_on_the_offset_is_kept(scene):
    result = synchronize(scene, max_offset=0.05)
    assert all(float(landscape.lags.abs().max()) < 0.1 for landscape in result.landscapes)


def test_a_camera_beyond_the_limit_is_said_to_be(tmp_path):
    late = sphere_scene(tmp_path, [*OFFSETS[:4], 0.9], frames=60, spheres=Spheres(6, 3))
    result = synchronize(late, max_offset=0.5)
    assert list(result.reasons) == ["cam04"]
    pattern = r"with (cam0\d) it agrees better at ([+-]\d\.\d\d) s, beyond --max-offset"
    said = re.fullmatch(pattern, result.reasons["cam04"])
    assert float(said[2]) == pytest.approx(OFFSETS[late.index_of(said[1])] - 0.9, abs=0.02)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda scene: edited(scene, lambda index, frames: frames[:1].repeat(len(frames), 0)), "nothing moves"),
        (lambda scene: replace(scene, cameras=scene.cameras[:1], test=()), "one camera"),
        (
            lambda scene: replace(
                scene,
                cameras=tuple(replace(c, camera_to_world=scene.cameras[0].camera_to_world) for c in scene.cameras),
            ),
            "same place",
        ),
        (
            lambda scene: replace(
                scene,
                cameras=(
                    replace(scene.cameras[0], camera_to_world=scene.cameras[0].pose(0).expand(60, 4, 4)),
                    *scene.cameras[1:],
                ),
            ),
            "--method tracks",
        ),
    ],
)
def test_hopeless_scenes_are_refused(scene, spoil, message):
    with pytest.raises(UserError, match=message):
        synchronize(spoil(scene), method="epipolar")


def test_senseless_requests_are_refused(scene):
    with pytest.raises(UserError, match="known: auto"):
        synchronize(scene, method="guess")
    with pytest.raises(UserError, match="positive"):
        synchronize(scene, max_offset=-1.0)
    with pytest.raises(UserError, match="--drift"):
        synchronize(scene, method="tracks", drift=True)


@pytest.fixture(scope="module")
def walk() -> Scene:
    if not WALK.is_dir():
        pytest.skip("the recordings of other projects are not here")
    made = load_scene(WALK, ReadOptions(max_side=320))
    made.frame_cache.prepare(made.cameras)
    return made


def test_real_footage_cropped_at_random(walk):
    errors = [error_in_frames(synchronize(crop), crop).abs() for crop in random_crops(walk, keep=70, repeats=10)]
    assert float(torch.stack(errors).mean()) < 0.25
    assert float(torch.stack(errors).max()) < 0.8


def test_a_camera_that_hangs_in_real_footage_moves_none(walk):
    """Its true offsets are whole frames, as people counted them; without the hanging they are met as far as with it."""
    crop = next(random_crops(walk, keep=90, repeats=1))
    whole, odd = synchronize(crop, audio="off"), damaged(crop, "one hangs", seed=0)
    result = synchronize(odd, audio="off")
    assert set(result.verdicts.values()) == set(whole.verdicts.values()) == {"sure"}
    moved = error_in_frames(result, odd) - error_in_frames(whole, crop)
    assert float(moved.abs().max()) < 0.1
    assert (error_in_frames(result, odd).abs() < 3 * result.stderr / odd.frame_interval).all()


@pytest.mark.parametrize("common", [True, False])
def test_flicker_on_real_footage_does_not_move_the_answer(walk, common):
    crop = next(random_crops(walk, keep=70, repeats=1))
    plain = synchronize(crop)

    class Flickering:
        def prepare(self, cameras):
            pass

        def open(self, camera):
            index = crop.index_of(camera.name)
            return flicker(crop.frame_cache.open(camera), 0 if common else index + 1)

    result = synchronize(replace(crop, frame_cache=Flickering(), _frames={}))
    assert result.reasons == {}
    difference = align_gauge(result.offsets, plain.offsets) / crop.frame_interval
    assert float(difference.abs().max()) < 0.35  # of a frame of 1/60 s; the footage itself holds to about half a frame
