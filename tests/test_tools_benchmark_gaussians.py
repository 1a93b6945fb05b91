"""The benchmark of the rasteriser runs and prints what it measured."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parent.parent / "tools" / "benchmark_gaussians.py"


@pytest.mark.parametrize("engine", ["torch", "triton"])
def test_it_prints_a_row_of_milliseconds_for_each_size(engine):
    if engine == "triton":
        pytest.importorskip("triton")
    few = ["--gaussians=40", "--sizes", "16", "24", "--repetitions=2", "--degree=0", f"--engine={engine}"]
    done = subprocess.run([sys.executable, str(TOOL), *few], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("40 Gaussians")
    rows = [line.replace("(", " ").replace(")", " ").split() for line in lines[2:]]
    assert [row[0] for row in rows] == ["16", "24"]
    assert all(len(row) == 9 and min(map(float, row[1:])) > 0 for row in rows)
