"""Clocks that are not constant: planted rates with honest errors, lost frames, aligned copies of both."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from changed_scenes import Damaged
from moving_spheres import Clocks, Spheres, sphere_scene

from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Scene
from syncnerf.sync import SyncResult, synchronize
from syncnerf.sync.common_interval import cuts

SEEDS = range(5)


def planted(folder: Path, seed: int) -> tuple[Scene, torch.Tensor]:
    """Seven cameras whose clocks run 200 to 2000 parts per million fast or slow; the scene and the rates, [7]."""
    generator = np.random.default_rng(seed)
    rates = generator.choice([-1, 1], 7) * generator.uniform(200e-6, 2000e-6, 7)
    offsets = generator.normal(0, 0.2, 7).tolist()
    made = sphere_scene(
        folder, offsets, frames=150, size=(72, 72), spheres=Spheres(6, seed), clocks=Clocks(rates.tolist())
    )
    made.frame_cache.prepare(made.cameras)
    return made, torch.from_numpy(rates)


@pytest.fixture(scope="module")
def drifting(tmp_path_factory) -> list[tuple[Scene, torch.Tensor, SyncResult]]:
    made = [planted(tmp_path_factory.mktemp("spheres"), seed) for seed in SEEDS]
    return [(scene, rates, synchronize(scene, drift=True)) for scene, rates in made]


def rate_errors(result: SyncResult, rates: torch.Tensor) -> torch.Tensor:
    """Relative errors after a common rate is taken out: the scene's own time is nobody's."""
    error = (1 + result.rates) / (1 + rates) - 1
    return error - error.quantile(0.5)


def test_planted_rates_are_found_with_honest_errors(drifting):
    errors = torch.cat([rate_errors(result, rates) for _, rates, result in drifting])
    ratios = (errors / torch.cat([result.rates_stderr for *_, result in drifting])).abs()
    assert float(errors.abs().mean()) < 0.5 * float(torch.cat([rates for _, rates, _ in drifting]).abs().mean())
    assert 0.6 < float((ratios < 1).double().mean()) < 0.9
    assert float((ratios < 3).double().mean()) >= 0.95


def test_offsets_of_drifting_clocks_are_honest(drifting):
    """The offset is that of frame 0: where the drawn clocks begin."""
    errors = torch.cat([align_gauge(result.offsets, scene.true_offsets) for scene, _, result in drifting])
    ratios = (errors / torch.cat([result.stderr for *_, result in drifting])).abs()
    assert float(errors.abs().mean()) < 0.1 / 30
    assert 0.55 < float((ratios < 1).double().mean()) < 0.9
    assert float((ratios < 3).double().mean()) >= 0.95
    for _, _, result in drifting:
        assert result.rates[result.reference] == result.offsets[result.reference] == 0.0


class OneLoses(Damaged):
    """Only the third camera loses frames."""

    def open(self, camera):
        index = self.scene.index_of(camera.name)
        return super().open(camera) if index == 2 else self.scene.frames(index)


@pytest.fixture(scope="module")
def steady(tmp_path_factory) -> Scene:
    offsets = [0.0, 0.11, -0.153, 0.07, 0.02, -0.21]
    made = sphere_scene(tmp_path_factory.mktemp("steady"), offsets, frames=90, spheres=Spheres(6, 3))
    made.frame_cache.prepare(made.cameras)
    return made


def test_lost_frames_widen_the_error_of_their_camera(steady):
    plain = synchronize(steady)
    assert plain.warnings == {}
    result = synchronize(replace(steady, frame_cache=OneLoses(steady, "lose"), _frames={}))
    error = align_gauge(result.offsets, steady.true_offsets).abs()
    assert float(error[2]) > 1 / 30
    assert float(error[2]) < 3 * float(result.stderr[2])
    assert list(result.warnings) == ["cam02"]
    assert "frames lost" in result.warnings["cam02"]
    others = [0, 1, 3, 4, 5]
    assert float(error[others].max()) < 0.3 / 30
    assert float(result.stderr[others].max()) < 0.2 / 30


def test_lost_frames_everywhere_leave_no_sure_offset(steady):
    result = synchronize(replace(steady, frame_cache=Damaged(steady, "lose"), _frames={}))
    error = align_gauge(result.offsets, steady.true_offsets).abs()
    assert float(error.max()) > 0.5 / 30
    assert (error < 3 * result.stderr).all()
    assert len(result.warnings) == len(steady.cameras)


def test_copies_follow_a_drifting_clock(steady):
    """Each frame of a copy is the one nearest to its moment; the rest is at most half a frame."""
    rates = torch.tensor([0.0, 0.04, -0.04, 0.0, 0.0, 0.0], dtype=torch.float64)
    result = SyncResult([c.name for c in steady.cameras], 0, "epipolar", steady.true_offsets, rates, [], [], rates)
    parts = cuts(steady, result)
    assert len({len(part.frames) for part in parts}) == 1
    begin = float(steady.true_offsets.max())
    for part in parts:
        shown = torch.tensor(part.frames).double() / 30 * (1 + rates[part.camera]) + steady.true_offsets[part.camera]
        wanted = begin + torch.arange(len(part.frames)).double() / 30
        assert float((shown - wanted).abs().max()) <= 0.5 / 30 * 1.05
        assert part.remainder == pytest.approx(float(shown[0]) - begin)
    assert len(parts[1].repeated) >= 1
    assert parts[1].left_out == []
    assert len(parts[2].left_out) >= 1
    assert parts[2].repeated == []
    assert parts[3].frames == tuple(range(parts[3].frames[0], parts[3].frames[-1] + 1))
