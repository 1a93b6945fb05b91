"""Measure the main job on a scene with ground truth, as JSON: offsets from zero, sharpness, the test-time fit.

    python tools/measure_demo.py --datadir syncnerf/data/demo --logdir runs [--twin DIR]

Trains with offsets learned from zero and fits the test camera; then starts the test camera 10 frames away from its
true offset and fits it again, on the clock; with ``--twin``, trains on the synchronised twin of the scene (see
make_blender_scene.py) with offsets off, for the sharpness that wired cameras would have given. The twin's lead is given
over the whole test video and over the common moments, which all training cameras of the unsynchronised scene saw: the
first and last moments of that scene were seen by few. An existing run of the same name is continued or, where it is
finished, only evaluated.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from finished_run import load_run

from syncnerf.cli import main as syncnerf
from syncnerf.cli import report_user_errors
from syncnerf.evaluation.offset_errors import aligned_errors
from syncnerf.evaluation.protocols import FULL
from syncnerf.held_out import HeldOutOptimizer
from syncnerf.job import open_scene
from syncnerf.options import parse

START_FRAMES_AWAY = 10


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/kplanes/demo.txt", help="configuration of the trainings")
    parser.add_argument("--datadir", required=True, help="folder of the unsynchronised scene")
    parser.add_argument("--twin", help="folder of its synchronised twin")
    parser.add_argument("--logdir", default="runs", help="folder of the runs")
    parser.add_argument("--init", default="zero", help="start of the offsets (option offset_init)")
    arguments = parser.parse_args()
    common = ["--config", arguments.config, "--logdir", arguments.logdir]
    unsynchronised = [*common, "--datadir", arguments.datadir, "--expname", f"measure_{arguments.init}"]
    unsynchronised += ["--offset-init", arguments.init]
    result = {"unsynchronised": train(unsynchronised, "--test-optim"), "fit": fit_from_afar(unsynchronised)}
    if arguments.twin:
        twin = [*common, "--datadir", arguments.twin, "--expname", "measure_twin", "--offset-mode", "off"]
        result["twin"] = train(twin, "--test-optim=false")
        result["twin_psnr_lead"] = result["twin"]["psnr"] - result["unsynchronised"]["psnr"]
        first, last = common_time(unsynchronised)
        sharpness = [psnr_between(options, first, last) for options in (unsynchronised, twin)]
        result["twin_psnr_lead_at_common_moments"] = sharpness[1] - sharpness[0]
    print(json.dumps(result, indent=1))
    return 0


def train(options: list[str], *last: str) -> dict:
    """Run ``syncnerf train`` and read its metrics; seconds cover everything from decoding to the report."""
    start = time.perf_counter()
    code = syncnerf(["train", *options, "--resume", *last])
    if code != 0:
        sys.exit(code)
    config = parse(options)
    metrics = json.loads((Path(config.run.logdir) / config.run.expname / "metrics.json").read_text())
    offsets = metrics.get("offsets", {})
    return {
        "seconds": time.perf_counter() - start,
        "psnr": metrics["mean"]["psnr"],
        "ssim": metrics["mean"]["ssim"],
        "psnr_before_fit": metrics.get("none", metrics)["mean"]["psnr"],
        "offset_mae_frames": offsets.get("mae_frames"),
        "offset_max_frames": offsets.get("max_frames"),
        "test_camera": offsets.get("test"),
    }


def common_time(options: list[str]) -> tuple[float, float]:
    """First and last true scene time in seconds that every training camera saw."""
    scene = open_scene(parse(options).scene)
    starts = {i: scene.true_offsets[i].item() for i in scene.train}
    return max(starts.values()), min(start + scene.cameras[i].duration for i, start in starts.items())


def psnr_between(options: list[str], first: float, last: float) -> float:
    """Mean PSNR of a finished run over the test frames whose true scene time lies in [first, last] seconds."""
    config = parse(options)
    scene = open_scene(config.scene)
    metrics = json.loads((Path(config.run.logdir) / config.run.expname / "metrics.json").read_text())
    scores = []
    for score in metrics["frames"]:
        index = scene.index_of(score["camera"])
        moment = (scene.cameras[index].frame_times[score["frame"]] + scene.true_offsets[index]).item()
        if first <= moment <= last:
            scores.append(score["psnr"])
    return sum(scores) / len(scores)


def fit_from_afar(options: list[str]) -> dict:
    """Fit the first test camera's offset from a start far from the truth, on the clock."""
    config = parse(options)
    run = load_run(Path(config.run.logdir) / config.run.expname)
    scene, synced = run.job.scene, run.synced
    camera, clock = scene.test[0], synced.clock
    error = aligned_errors(clock.offsets(), scene)[0][camera].item()
    true_offset = clock.offsets()[camera].item() - error
    clock.set_camera(camera, true_offset + START_FRAMES_AWAY * scene.frame_interval)
    size = scene.cameras[camera].intrinsics
    start = time.perf_counter()
    mask = FULL.fit_mask(size.height, size.width)
    fit = HeldOutOptimizer(synced, scene, config.held_out).fit(camera, mask)
    return {
        "seconds": time.perf_counter() - start,
        "start_frames_away": START_FRAMES_AWAY,
        "error_frames": (fit.seconds - true_offset) / scene.frame_interval,
        "standard_error_frames": fit.stderr / scene.frame_interval,
        "steps": fit.steps,
    }


if __name__ == "__main__":
    sys.exit(report_user_errors(main))
