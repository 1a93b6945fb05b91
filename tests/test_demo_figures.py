"""The demo in full, against the figures that the project stands for. Minutes, so only with ``-m slow``."""

import json
import time
from pathlib import Path

import pytest

import syncnerf.data
from syncnerf.cli import main

DEMO = Path(syncnerf.data.__file__).parent / "demo"
CONFIG = Path(__file__).parent.parent / "configs" / "kplanes" / "demo.txt"


@pytest.mark.slow
def test_offsets_learned_from_zero_reach_the_figures(tmp_path, capsys):
    """At least 28 dB on the test view, offsets to 0.05 frame on the average and 0.15 at most, in the same command."""
    started = time.monotonic()
    arguments = [f"--config={CONFIG}", f"--datadir={DEMO}", f"--logdir={tmp_path}", f"--cache-dir={tmp_path / 'cache'}"]
    assert main(["train", *arguments, "--offset-init=zero", "--test-frames=10"]) == 0
    minutes = (time.monotonic() - started) / 60
    metrics = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    offsets = metrics["offsets"]
    with capsys.disabled():
        print(f"\ndemo: {minutes:.1f} min, {metrics['mean']['psnr']:.2f} dB, MAE {offsets['mae_frames']:.4f} frame")
    assert offsets["mae_frames"] <= 0.05
    assert offsets["max_frames"] <= 0.15
    assert metrics["mean"]["psnr"] >= 28.0
    assert metrics["none"]["mean"]["psnr"] < metrics["mean"]["psnr"]
