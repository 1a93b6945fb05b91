"""Train configurations on one scene, each in a process of its own, and print them side by side as a Markdown table.

    python tools/compare_backends.py --datadir syncnerf/data/demo configs/kplanes/demo.txt configs/mixvoxels/demo.txt

Minutes cover everything from decoding to the report, memory is the process's largest, rendering is that of a test frame
as evaluation does it. A run of the same name in ``--logdir`` is replaced.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from finished_run import load_run

from syncnerf.cli import report_user_errors
from syncnerf.errors import UserError
from syncnerf.options import parse

COLUMNS = (
    "configuration",
    "PSNR",
    "SSIM",
    "offset error (frames)",
    "test offset error",
    "minutes",
    "memory (MB)",
    "render (s/frame)",
)


def main() -> int:
    """Train, measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", help="configurations to compare")
    parser.add_argument("--datadir", required=True, help="folder of the scene")
    parser.add_argument("--logdir", default="runs/compare", help="folder of the runs")
    parser.add_argument(
        "--option", action="append", default=[], help="an option for all of them, as --option=--steps=9"
    )
    arguments = parser.parse_args()
    rows = [
        measure(Path(name), arguments.datadir, Path(arguments.logdir), arguments.option) for name in arguments.configs
    ]
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    return 0


def measure(config: Path, datadir: str, logdir: Path, more: list[str]) -> tuple[str, ...]:
    """Run one configuration; its figures in the order of the columns."""
    name = f"{config.parent.name}-{config.stem}"
    shutil.rmtree(logdir / name, ignore_errors=True)
    options = ["--config", str(config), "--datadir", datadir, "--logdir", str(logdir), "--expname", name, *more]
    parse(options)  # a wrong option is told before anything runs
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "syncnerf", "train", *options])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        raise UserError(f"{config}: training failed")
    metrics = json.loads((logdir / name / "metrics.json").read_text())
    offsets = metrics.get("offsets", {})
    test = [camera["error_frames"] for camera in offsets.get("test", {}).values()]
    run = load_run(logdir / name)
    scene = run.assembly.scene
    frames = list(range(scene.cameras[scene.test[0]].frame_count))
    # A few are enough where each is rendered alone.
    render = run.seconds_per_frame(
        frames if run.assembly.times_at_once > 1 else frames[::8], run.assembly.times_at_once
    )
    return (
        name.replace("-", " / "),
        f"{metrics['mean']['psnr']:.2f}",
        f"{metrics['mean']['ssim']:.3f}",
        f"{offsets['mae_frames']:.3f}" if offsets else "-",
        f"{abs(test[0]):.3f}" if test else "-",
        f"{seconds / 60:.1f}",
        f"{usage.ru_maxrss / 1024:.0f}",
        f"{render:.3f}",
    )


if __name__ == "__main__":
    sys.exit(report_user_errors(main))
