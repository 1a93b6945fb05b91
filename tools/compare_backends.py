"""Train configurations on scenes, each run in a process of its own, and print them side by side as a Markdown table.

    python tools/compare_backends.py --datadir scenes/toys --datadir scenes/flight --seeds 2 configs/*/demo.txt
    python tools/compare_backends.py --quick --datadir syncnerf/data/demo --rig scenes/hall configs/*/demo.txt

Scenes given by ``--rig`` are trained with the configuration for rigs beside each (``rig.txt`` for ``demo.txt``).
``--quick`` takes a tenth of the steps, one seed and few test frames: whether everything runs, no figures to quote.

A row is a scene and a configuration: the mean over the seeds, and where there are several the worst of them in
brackets. With several scenes each configuration has a last row: mean and worst of all. PSNR is given as rendered, and
with the test camera's fitted colours where its own are unknown. Offset errors are those of the
training cameras (their mean, and the largest of any camera) and of the first test camera, in frames. Minutes cover
everything from decoding to the report, memory is the process's largest, rendering is that of a test frame as evaluation
does it. A run of the same name in ``--logdir`` is replaced.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from finished_run import load_run

from syncnerf.cli import report_user_errors
from syncnerf.errors import UserError
from syncnerf.options import parse


@dataclass(frozen=True)
class Column:
    """A figure: its heading, its key in what :func:`measure` returns, digits, and which of several is the worst."""

    heading: str
    key: str
    digits: int
    worst: Callable = max


COLUMNS = (
    Column("PSNR", "psnr", 2, min),
    Column("with fitted colours", "psnr_colours", 2, min),
    Column("SSIM", "ssim", 3, min),
    Column("offset error (frames)", "offset", 3),
    Column("largest", "largest_offset", 3),
    Column("test offset error", "test_offset", 3),
    Column("minutes", "minutes", 1),
    Column("memory (MB)", "memory", 0),
    Column("render (s/frame)", "render", 3),
)


def main() -> int:
    """Train, measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", type=Path, help="configurations to compare")
    parser.add_argument("--datadir", default=[], action="append", type=Path, help="folder of a scene; repeat it")
    parser.add_argument("--rig", default=[], action="append", type=Path, help="folder of a rig's scene; repeat it")
    parser.add_argument("--seeds", type=int, default=1, help="train with seeds 0 to this less 1 (default: 1)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps, one seed, few test frames")
    parser.add_argument("--logdir", type=Path, default=Path("runs/compare"), help="folder of the runs")
    parser.add_argument(
        "--option", action="append", default=[], help="an option for all of them, as --option=--steps=9"
    )
    arguments = parser.parse_args()
    if not arguments.datadir and not arguments.rig:
        parser.error("give a scene: --datadir or --rig")
    seeds = range(1 if arguments.quick else arguments.seeds)
    if not seeds:
        parser.error("--seeds must be at least 1")
    rows = [(scene, config) for scene in arguments.datadir for config in arguments.configs]
    rows += [(scene, for_rigs(config)) for scene in arguments.rig for config in arguments.configs]
    runs = {}
    for scene, config in rows:
        for seed in seeds:
            options = run_options(config, scene, arguments.logdir, seed, arguments.option)
            # A wrong option is told before anything runs.
            steps = parse(options).training.steps
            runs[scene, config, seed] = [*options, *shortened(steps)] if arguments.quick else options
    print(markdown("scene", "configuration", *(column.heading for column in COLUMNS)))
    print("|---" * (len(COLUMNS) + 2) + "|")
    measured: dict[Path, list[list[dict]]] = {config: [] for _, config in rows}
    for scene, config in rows:
        figures = [measure(runs[scene, config, seed]) for seed in seeds]
        measured[config].append(figures)
        print(markdown(scene.name, label(config), *summary(figures)), flush=True)
    for config, scenes in measured.items():
        if len(scenes) > 1:
            print(markdown("all", label(config), *summary([record for figures in scenes for record in figures])))
    return 0


def for_rigs(config: Path) -> Path:
    """The configuration for rigs beside another; raises UserError where there is none."""
    found = config.with_name(config.name.replace("demo", "rig"))
    if not found.is_file():
        raise UserError(f"{found}: no such file; --rig takes the configuration for rigs beside {config}")
    return found


def shortened(steps: int) -> list[str]:
    """Options that make a quick run of one of so many steps."""
    return [f"--steps={max(1, steps // 10)}", "--test-frames=4", "--render-frames=2", "--image-every=0"]


def markdown(*cells: str) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def label(config: Path) -> str:
    """How a configuration is called: its folder and its name."""
    return f"{config.parent.name} / {config.stem}"


def run_options(config: Path, scene: Path, logdir: Path, seed: int, more: list[str]) -> list[str]:
    """The options of one run, ``more`` among them."""
    name = f"{scene.resolve().name}-{config.parent.name}-{config.stem}-{seed}"
    own = ["--config", str(config), "--datadir", str(scene), "--logdir", str(logdir), "--expname", name]
    return [*own, "--seed", str(seed), *more]


def summary(figures: list[dict[str, float]]) -> list[str]:
    """The mean of several runs' figures in the order of the columns, with the worst in brackets; - for none."""
    cells = []
    for column in COLUMNS:
        values = [record[column.key] for record in figures if column.key in record]
        if not values:
            cells.append("-")
            continue
        mean = f"{sum(values) / len(values):.{column.digits}f}"
        cells.append(f"{mean} ({column.worst(values):.{column.digits}f})" if len(values) > 1 else mean)
    return cells


def measure(options: list[str]) -> dict[str, float]:
    """Run with the options; the columns' figures by their keys, as far as there are any. Raises UserError."""
    folder = Path(options[options.index("--logdir") + 1]) / options[options.index("--expname") + 1]
    shutil.rmtree(folder, ignore_errors=True)
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "syncnerf", "train", *options])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        raise UserError(f"{folder.name}: training failed")
    metrics = json.loads((folder / "metrics.json").read_text())
    known = {name: metrics["mean"].get(name) for name in ("psnr", "psnr_colours", "ssim")}
    figures = {name: value for name, value in known.items() if value is not None}
    figures |= {"minutes": seconds / 60, "memory": usage.ru_maxrss / 1024}
    if "offsets" in metrics:
        figures |= {"offset": metrics["offsets"]["mae_frames"], "largest_offset": metrics["offsets"]["max_frames"]}
        for camera in list(metrics["offsets"].get("test", {}).values())[:1]:
            figures["test_offset"] = abs(camera["error_frames"])
    run = load_run(folder)
    scene, alone = run.job.scene, run.synced.backend.times_at_once == 1
    frames = list(range(scene.cameras[scene.test[0]].frame_count))
    # A few are enough where each is rendered alone.
    return figures | {"render": run.seconds_per_frame(frames[::8] if alone else frames)}


if __name__ == "__main__":
    sys.exit(report_user_errors(main))
