"""The tool that holds test-time fits against the truth: what it trains, what it counts."""

import sys
from pathlib import Path

import measure_fits
from small_fields import KPLANES_OPTIONS

TOOLS = Path(__file__).parent.parent / "tools"


def test_a_row_counts_what_was_told_and_what_was_kept_back():
    fits = [
        measure_fits.Judged("a", 0.1, 0.05, 0.2, ""),
        measure_fits.Judged("b", -0.4, 0.1, 0.2, ""),
        measure_fits.Judged("c", 0.5, float("inf"), 0.9, "a rival"),
        measure_fits.Judged("d", 9.0, float("inf"), 0.9, "a rival"),
    ]
    cells = [cell.strip() for cell in measure_fits.row("all", fits).strip("|").split("|")]
    assert cells == ["all", "2 of 4", "50%", "0.250", "0.400", "4.0", "1"]


def test_cameras_are_left_out_and_fitted_after_each_number_of_steps(tiny_scene, tmp_path, monkeypatch, capsys):
    (tmp_path / "small.txt").write_text("steps = 9\nlr = 0.02\nwarmup_steps = 0\n")
    few = ["--test-pixels=64", "--test-steps=1", *KPLANES_OPTIONS]
    command = ["measure_fits.py", str(tiny_scene), f"--configs={tmp_path / 'small.txt'}", "--steps", "3", "1"]
    monkeypatch.setattr(sys, "argv", [*command, "--cameras=2", "--every", "--", *few])
    assert measure_fits.main() == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith("| kplanes")]
    assert [row.split("|")[1].split(",")[-1].strip() for row in rows] == ["1", "3"]
    assert [line.split(":")[0].strip() for line in lines if line.startswith("    ")] == ["cam00", "cam02"] * 2
    assert lines[-1].startswith("| all | ")
    assert " of 4 |" in lines[-1]
