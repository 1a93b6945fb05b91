"""What a run's ``offsets.json`` says of test cameras, and what is said where it says nothing."""

import json

import pytest
import torch
from wave_backend import WaveBackend, clock_of, wave_scene

from syncnerf.config import OffsetsConfig
from syncnerf.estimates import recall_estimates, write_estimates
from syncnerf.evaluation.evaluate import Scoring, evaluate
from syncnerf.evaluation.metrics import psnr
from syncnerf.evaluation.protocols import PROTOCOLS
from syncnerf.offset_fit import OffsetFit
from syncnerf.synced import SyncedBackend
from syncnerf.train import preview

PLANTED = [0.31, 0.0, -0.17]
"""Seconds; camera 0 is the test view, camera 1 the reference."""


def test_a_test_camera_that_was_not_fitted_stands_at_zero_and_its_motion_is_told(tmp_path, caplog):
    caplog.set_level("INFO")
    scene = wave_scene(tmp_path, PLANTED, frame_count=6, side=8)
    clock = clock_of(scene, OffsetsConfig(), 100, PLANTED, 0.04)
    assert clock.offsets()[0].item() == pytest.approx(PLANTED[0])
    assert recall_estimates(tmp_path / "missing.json", clock, scene) == []
    assert clock.offsets()[0] == 0.0
    # Both its own error and the reference's count.
    assert f"shown at 0, as it is scored; its motion says {PLANTED[0]:+.4f} s +- {0.04 * 2**0.5:.4f}" in caplog.text
    unknown = clock_of(scene, OffsetsConfig(), 100, PLANTED)
    recall_estimates(tmp_path / "missing.json", unknown, scene)
    assert "no offset is known of this test camera" in caplog.text


def test_a_fitted_rate_is_written_with_its_error_and_read_again(tmp_path):
    scene = wave_scene(tmp_path, PLANTED, frame_count=6, side=8)
    clock = clock_of(scene, OffsetsConfig(offset_rates="learn"), 100, PLANTED, 0.04)
    nothing = torch.empty(0, dtype=torch.float64)
    fit = OffsetFit(0, 0.3, 0.01, 150e-6, 20e-6, nothing, nothing, 3)
    clock.set_camera(0, fit.seconds, fit.rate)
    path = tmp_path / "offsets.json"
    write_estimates(path, clock, scene, [fit])
    entry = json.loads(path.read_text())["cameras"][scene.names[0]]
    assert entry["rate_ppm"] == pytest.approx(150.0)
    assert entry["rate_ppm_stderr"] == pytest.approx(20.0)
    (again,) = recall_estimates(path, clock, scene)
    assert (again.rate, again.rate_stderr) == (pytest.approx(150e-6), pytest.approx(20e-6))


@pytest.mark.parametrize("fitted", [False, True])
def test_the_preview_shows_the_moment_that_is_scored(tmp_path, fitted):
    scene = wave_scene(tmp_path, PLANTED, frame_count=7, side=8)
    clock = clock_of(scene, OffsetsConfig(), 100, PLANTED, 0.04)
    synced = SyncedBackend(clock, WaveBackend(clock.range)).eval()
    protocol = PROTOCOLS["full"] if fitted else PROTOCOLS["full"].without_fit()
    scored = evaluate(synced, scene, Scoring(protocol)).frames[3].psnr
    shown = preview(synced, scene, fitted)
    assert psnr(shown["test_view/rendering"], shown["test_view/truth"]) == pytest.approx(scored, abs=1e-4)
    assert (scored > 35.0) == fitted
