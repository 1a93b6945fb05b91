"""Cameras whose pictures are mixed with those before, as temporal noise reduction does, are told from the others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from moving_spheres import Spheres, sphere_scene
from odd_files import mixed
from odd_frames import Odd, OddFrames
from odd_recordings import damaged

from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Scene
from syncnerf.sync import synchronize
from syncnerf.sync.trails import kept_share

OFFSETS = [0.0, 0.11, -0.153, 0.07, 0.02]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    made = sphere_scene(tmp_path_factory.mktemp("spheres"), OFFSETS, frames=60, spheres=Spheres(6, 3), size=(84, 72))
    made.frame_cache.prepare(made.cameras)
    return made


@pytest.mark.parametrize("kept", [0.5, 0.65, 0.8])
def test_what_is_kept_of_the_picture_before_is_known(scene, kept):
    for camera in range(len(scene.cameras)):
        frames = mixed(scene.frames(camera), kept)
        assert kept_share(frames) == pytest.approx(kept, abs=0.02)
        assert kept_share(frames[::-1]) == 0.0
        assert kept_share(scene.frames(camera)) == 0.0


def test_frames_that_are_shown_twice_hide_no_mixing_and_feign_none(scene):
    shown = np.repeat(np.arange(60), 2)
    for camera in range(len(scene.cameras)):
        assert kept_share(mixed(scene.frames(camera), 0.65)[shown]) == pytest.approx(0.65, abs=0.02)
        assert kept_share(scene.frames(camera)[shown]) == 0.0


def test_mixing_by_hand():
    """A pixel that turns from 0 to 160 at frame 1, half of it kept: 80, 120, 140, 150, 155, rounded from there on."""
    frames = np.full((7, 2, 2, 3), 160, dtype=np.uint8)
    frames[0] = 0
    assert mixed(frames, 0.5)[:, 1, 0, 2].tolist() == [0, 80, 120, 140, 150, 155, 158]
    assert kept_share(frames[:3]) == 0.0


OTHERS = ["cadence", "telecine", "blended to 25", "fade in", "flash", "one hangs", "still ends"]


@pytest.mark.parametrize("kind", OTHERS)
def test_other_damages_leave_no_trails(scene, kind):
    odd = damaged(scene, kind, 1)
    assert all(kept_share(odd.frame_cache.open(camera)) == 0.0 for camera in odd.cameras)


def test_a_camera_that_keeps_more_than_the_others_is_doubted(scene):
    odd = damaged(scene, "smeared", 1)
    wrong = [name for name, shown in odd.frame_cache.odd.items() if shown.pixels]
    result = synchronize(odd, audio="off")
    assert [name for name, verdict in result.verdicts.items() if verdict != "sure"] == wrong
    check = result.checks[wrong[0]]
    assert "of the one before, most cameras' 0% (temporal noise reduction?)" in check.reason
    assert "switch it off" in check.advice
    error = align_gauge(result.offsets, odd.true_offsets).abs()
    assert (error < 3 * result.stderr).all()


def test_where_all_keep_the_same_nobody_is_late(scene):
    frames = torch.arange(60).numpy()
    odds = {c.name: Odd(frames, pixels=lambda shown: mixed(shown, 0.6)) for c in scene.cameras}
    odd = replace(scene, frame_cache=OddFrames(scene, odds), _frames={})
    assert all(kept_share(odd.frame_cache.open(camera)) > 0.5 for camera in odd.cameras)
    result = synchronize(odd, audio="off")
    assert not any("keeps" in check.reason for check in result.checks.values())
