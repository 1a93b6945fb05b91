"""tools/compare_backends.py: scenes, configurations and seeds in one table, of planted figures in place of training."""

import sys
from pathlib import Path

import compare_backends as compare
import pytest

from syncnerf.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
DEMOS = ROOT / "configs"


def table(monkeypatch, capsys, measured, *arguments: str) -> list[list[str]]:
    """The printed rows, with ``measured(scene, config, seed)`` in place of training."""

    def measure(options):
        config = compare.parse(options)
        chosen = Path(options[options.index("--config") + 1]).stem
        return measured(Path(config.scene.datadir).name, chosen, config.training.seed)

    monkeypatch.setattr(compare, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["compare_backends.py", *arguments])
    assert compare.main() == 0
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]


def test_means_and_worst_of_scenes_and_seeds(monkeypatch, capsys, tmp_path):
    for name in ("still", "fast"):
        (tmp_path / name).mkdir()
    psnr = {"still": 30.0, "fast": 26.0}

    def measured(scene, config, seed):
        figures = {"psnr": psnr[scene] + seed, "ssim": 0.9, "minutes": 3.0, "memory": 900.0, "render": 0.5}
        if config == "demo":
            figures |= {"offset": 0.01 * (1 + seed), "largest_offset": 0.05, "test_offset": 0.002}
        return figures

    configs = [str(ROOT / "configs" / "kplanes" / f"{name}.txt") for name in ("demo", "demo_hash")]
    scenes = [f"--datadir={tmp_path / name}" for name in ("still", "fast")]
    head, rule, *rows = table(monkeypatch, capsys, measured, *scenes, "--seeds=2", *configs)
    assert head[:5] == ["scene", "configuration", "PSNR", "with fitted colours", "SSIM"]
    assert len(rule) == len(head)
    assert [row[:3] for row in rows] == [
        ["still", "kplanes / demo", "30.50 (30.00)"],
        ["still", "kplanes / demo_hash", "30.50 (30.00)"],
        ["fast", "kplanes / demo", "26.50 (26.00)"],
        ["fast", "kplanes / demo_hash", "26.50 (26.00)"],
        ["all", "kplanes / demo", "28.50 (26.00)"],
        ["all", "kplanes / demo_hash", "28.50 (26.00)"],
    ]
    offset = head.index("offset error (frames)")
    assert rows[4][offset : offset + 3] == ["0.015 (0.020)", "0.050 (0.050)", "0.002 (0.002)"]
    assert rows[5][offset : offset + 3] == ["-", "-", "-"]


def test_one_run_has_neither_brackets_nor_a_last_row(monkeypatch, capsys, tmp_path):
    config = str(ROOT / "configs" / "mixvoxels" / "demo.txt")
    rows = table(monkeypatch, capsys, lambda *run: {"psnr": 29.0}, f"--datadir={tmp_path}", config)
    assert rows[2:] == [[tmp_path.name, "mixvoxels / demo", "29.00", *["-"] * 8]]


def test_rigs_take_the_configuration_beside_and_quick_runs_are_short(monkeypatch, capsys, tmp_path):
    asked = {}

    def measure(options):
        config = compare.parse(options)
        asked[options[options.index("--config") + 1]] = config
        return {"psnr": 25.0, "psnr_colours": 26.5}

    monkeypatch.setattr(compare, "measure", measure)
    scenes = [f"--datadir={tmp_path / 'toys'}", f"--rig={tmp_path / 'hall'}", f"--rig={tmp_path / 'garden'}"]
    demos = [str(DEMOS / name / "demo.txt") for name in ("gaussians", "kplanes")]
    monkeypatch.setattr(sys, "argv", ["compare_backends.py", "--quick", "--seeds=2", *scenes, *demos])
    assert compare.main() == 0
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()[2:]]
    labels = ["gaussians / demo", "kplanes / demo", *["gaussians / rig", "kplanes / rig"] * 3]
    assert [row[1] for row in rows] == labels
    assert [row[0] for row in rows] == ["toys"] * 2 + ["hall"] * 2 + ["garden"] * 2 + ["all"] * 2
    assert {tuple(row[2:4]) for row in rows[:6]} == {("25.00", "26.50")}
    whole = compare.parse(["--config", str(DEMOS / "gaussians" / "rig.txt")]).training.steps
    quick = asked[str(DEMOS / "gaussians" / "rig.txt")]
    assert (quick.training.steps, quick.training.seed, quick.evaluation.test_frames) == (whole // 10, 0, 4)
    with pytest.raises(UserError, match=r"rig_llff[.]txt: no such file"):
        table(monkeypatch, capsys, pytest.fail, f"--rig={tmp_path}", str(DEMOS / "kplanes" / "demo_llff.txt"))


def test_a_wrong_option_is_told_before_anything_runs(monkeypatch, capsys, tmp_path):
    config = str(ROOT / "configs" / "kplanes" / "demo.txt")
    with pytest.raises(UserError, match="stepps"):
        table(monkeypatch, capsys, pytest.fail, f"--datadir={tmp_path}", "--option=--stepps=9", config)
