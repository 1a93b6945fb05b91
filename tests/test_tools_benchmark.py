"""The benchmark runs where there is no GPU, and says what it could not measure."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parent.parent / "tools" / "benchmark.py"
FEW = ["--measure-warmup=1", "--measure-steps=2", "--measure-frames=1"]


def measure(*arguments: str) -> str:
    done = subprocess.run([sys.executable, str(TOOL), *FEW, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_engines_side_by_side(tiny_scene, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    out = measure("--compare", "--small", f"--datadir={tiny_scene}", "--device=cpu", "--offset-init=zero")
    lines = out.splitlines()
    assert "GB/s" in lines[0]
    assert "grid_sample" in lines[3]
    tables = [index for index, line in enumerate(lines) if line.startswith("| engine")]
    assert len(tables) == 3
    for start in tables:
        header = cells(lines[start])
        phases = ["batch", "sampling", "field", "losses", "backward", "optimizer"]
        assert header[1:9] == ["step", "one by one", *phases]
        rows = {cells(line)[0]: cells(line) for line in lines[start + 2 : start + 5]}
        assert list(rows) == ["torch", "triton", "tcnn"]
        times = [float(cell.removesuffix(" ms")) for cell in rows["torch"][1:9]]
        assert all(time > 0 for time in times)
        shares = dict(zip(header, rows["torch"], strict=True))
        assert 0 < float(shares["of matrix rate"].removesuffix(" %")) < 100
        for engine in ("triton", "tcnn"):
            assert "cannot run" in rows[engine][1]
            assert "CUDA" in rows[engine][1]


def test_one_configuration_as_json(tiny_arguments):
    result = json.loads(measure(*tiny_arguments))
    assert result["rays_per_step"] == 64
    assert result["seconds_per_step"]["min"] <= result["seconds_per_step"]["median"]
    assert result["rays_per_second"] == pytest.approx(64 / result["seconds_per_step"]["median"])
    assert result["peak_device_memory_bytes"] is None
