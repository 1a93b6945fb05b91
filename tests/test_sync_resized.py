"""Small frames derived from cached ones: the average of the large ones, and nothing is decoded twice."""


import numpy as np
import pytest
import torch
from moving_spheres import SphereVideo, sphere_scene

from syncnerf.sync import synchronize


def test_frames_are_averaged_and_decoded_once(tmp_path, monkeypatch):
    scene = sphere_scene(tmp_path, [0.0, 0.1], frames=4, size=(96, 64))
    large = scene.frames(1)
    monkeypatch.setattr(SphereVideo, "decode", lambda self, intrinsics: pytest.fail("decoded twice"))
    small = scene.resized(48)
    frames = small.frames(1)
    assert frames.shape == (4, 32, 48, 3)
    expected = large.reshape(4, 32, 2, 48, 2, 3).astype(float).mean((2, 4))
    np.testing.assert_allclose(frames, expected, atol=0.51)
    assert small.cameras[1].intrinsics == scene.cameras[1].intrinsics.resized(48, 32)
    assert small.reference == scene.reference


def test_small_frames_stay_as_they_are(tmp_path):
    scene = sphere_scene(tmp_path, [0.0, 0.1], frames=4)
    assert scene.resized(320) is scene


def test_offsets_of_a_large_scene_come_from_small_frames(tmp_path):
    offsets = [0.0, 0.11, -0.06]
    scene = sphere_scene(tmp_path, offsets, frames=40, size=(328, 220))
    result = synchronize(scene)
    assert torch.equal(result.offsets, synchronize(scene.resized(320)).offsets)
    error = result.offsets - torch.tensor(offsets, dtype=torch.float64) + offsets[scene.reference]
    assert float(error.abs().max()) * 30 < 0.2
