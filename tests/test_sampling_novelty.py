"""How much is new from frame to frame, against closed forms; and the cells along time that follow from it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from syncnerf.assembly import assemble
from syncnerf.job import Job
from syncnerf.option import configured
from syncnerf.options import parse
from syncnerf.sampling.novelty import scene_novelty
from syncnerf.sampling.statistics import pixel_statistics
from syncnerf.scene import Scene
from syncnerf.testing.samples import scene_geometry
from syncnerf.train import plan_of
from syncnerf.training.checkpoints import Checkpoint
from syncnerf_kplanes.spec import SPEC, KPlanesConfig

FRAMES = 240


class Videos(Scene):
    """A scene of videos, uint8 [T, H, W, 3] each, with what statistics ask of one and no more."""

    def __init__(self, videos: list[np.ndarray], rates: list[float], folder: Path):
        self.cameras = tuple(SimpleNamespace(name=f"cam{i}", fps=rate) for i, rate in enumerate(rates))
        self.test, self.videos = (), videos
        self.frame_cache = SimpleNamespace(path_of=lambda camera: folder / f"{camera.name}.raw")

    def frames(self, camera: int) -> np.ndarray:
        return self.videos[camera]


def waves(period: float, size: int = 6, seed: int = 0) -> np.ndarray:
    """Every channel a sine of one period, each with its own phase; half of the pixels stand still."""
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, (size, size, 3))
    angles = 2 * np.pi * np.arange(FRAMES)[:, None, None, None] / period + phases
    video = 127.5 + 100.0 * np.sin(angles)
    video[:, : size // 2] = video[:1, : size // 2]
    return np.round(video).astype(np.uint8)


@pytest.fixture(autouse=True)
def keeps_files(monkeypatch):
    monkeypatch.setattr("syncnerf.sampling.statistics.release_pages", lambda frames: None)


@pytest.mark.parametrize("period", [4, 8, 24, 60])
def test_novelty_of_waves_is_one_minus_the_cosine_of_a_frames_phase(period, tmp_path):
    novelty = scene_novelty(Videos([waves(period)], [30.0], tmp_path))
    assert novelty == pytest.approx(1.0 - np.cos(2 * np.pi / period), rel=0.01)


def test_frames_without_anything_in_common_are_new_throughout_and_still_ones_tell_nothing(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (FRAMES, 8, 8, 3)).astype(np.uint8)
    assert scene_novelty(Videos([noise], [30.0], tmp_path / "noise")) == pytest.approx(1.0, abs=0.02)
    still = np.full((FRAMES, 8, 8, 3), 90, dtype=np.uint8) + (noise[:, :8, :8] % 3)
    assert scene_novelty(Videos([still], [30.0], tmp_path / "still")) is None


def test_a_frame_of_twice_the_rate_counts_twice(tmp_path):
    """The same waves at 60 frames/s have half as much new in a frame, and two frames in an interval of 30."""
    slow, fast = waves(30), waves(60, seed=1)
    both = scene_novelty(Videos([slow, slow, fast], [30.0, 30.0, 60.0], tmp_path))
    one, two = 1.0 - np.cos(2 * np.pi / 30), 2.0 * (1.0 - np.cos(2 * np.pi / 60))
    assert both == pytest.approx((2 * one + two) / 3, rel=0.01)


def test_statistics_in_chunks_are_those_of_the_whole_video_and_come_back_from_the_cache(tmp_path):
    video = np.random.default_rng(2).integers(0, 256, (23, 5, 4, 3)).astype(np.uint8)
    scene = Videos([video], [30.0], tmp_path)
    values = video / 255.0
    for _ in range(2):
        found = pixel_statistics(scene, 0, chunk=7)
        np.testing.assert_allclose(found.mean, values.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(found.deviation, values.std(axis=0).max(axis=-1), atol=1e-6)
        step = np.sqrt(np.square(np.diff(values, axis=0)).mean(axis=0)).max(axis=-1)
        np.testing.assert_allclose(found.step, step, atol=1e-6)
        video[:] = 0  # the second time the frames are not asked


@pytest.mark.parametrize(("novelty", "cells"), [(None, 40), (0.1, 40), (0.8, 80), (0.0125, 20)])
def test_faster_scenes_have_more_cells_along_time(novelty, cells):
    sizes = {"plane_resolution": 8, "plane_scales": "1", "plane_channels": 8, "proposal_resolutions": "8"}
    sizes |= {"proposal_samples": "8", "cells_per_frame": 1.0}
    geometry = scene_geometry(frame_count=40, novelty=novelty)
    backend = SPEC.build(configured(KPlanesConfig, sizes), geometry)
    assert backend.field.features.time_resolution == cells
    assert backend.proposal_fields[0].features.time_resolution == cells
    given = SPEC.build(configured(KPlanesConfig, {**sizes, "time_resolution": 11}), geometry)
    assert given.field.features.time_resolution == 11
    assert torch.isfinite(backend.field.features.planes[0]).all()


def test_a_checkpoints_field_has_the_cells_that_it_was_trained_with(tiny_arguments):
    """Whatever its pictures say now: they may be asked for at another size."""
    job = Job.of(parse([*tiny_arguments, "--time-resolution=0", "--cells-per-frame=2"]))
    fresh = assemble(job)
    assert plan_of(job).about["scene"]["novelty"] == job.novelty == scene_novelty(job.scene)
    model = {"clock.range": fresh.clock.range}
    for noted, per_frame in (({"novelty": 0.8}, 4.0), ({}, 2.0)):
        again = replace(job, checkpoint=Checkpoint(Path("step.pt"), {"model": model, "scene": noted}))
        cells = round(per_frame * fresh.backend.geometry.frame_count)
        assert assemble(again).backend.field.features.time_resolution == cells
        assert plan_of(again).about["scene"]["novelty"] == noted.get("novelty")
