"""Time training steps and rendering of a configuration: seconds per step, rays/s, seconds per frame, peak memory.

    python tools/benchmark.py --config configs/kplanes/demo.txt --datadir syncnerf/data/demo

Every option of `syncnerf train` can be given as well. Prints one JSON object.

    python tools/benchmark.py --compare --datadir syncnerf/data/demo

prints the engines side by side instead: steps of the published sizes (or of a --config) split into their phases,
memory, shares of the measured copy and matrix rates, and the fused plane lookup against separate samples. With --small
as well, it only shows that everything runs.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from compare_engines import compare
from device_rates import peak_memory, waiting

from syncnerf.assembly import assemble, make_batches
from syncnerf.cli import report_user_errors
from syncnerf.evaluation.shots import Shot, render_shot
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.processor import settle_processor
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend
from syncnerf.train import plan_of
from syncnerf.training.trainer import Trainer


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure-warmup", type=int, default=10, help="steps before the clock starts (default 10)")
    parser.add_argument("--measure-steps", type=int, default=50, help="timed steps (default 50)")
    parser.add_argument("--measure-frames", type=int, default=5, help="timed frames of the test view (default 5)")
    parser.add_argument("--compare", action="store_true", help="the engines side by side, as tables")
    parser.add_argument("--small", action="store_true", help="with --compare: tiny sizes, to see that all of it runs")
    own, rest = parser.parse_known_args(arguments)
    settle_processor()
    if own.compare:
        print("\n".join(compare(rest, own.measure_warmup, own.measure_steps, own.small)))
        return 0
    config = parse(rest)
    job = Job.of(config)
    scene, device = job.scene, job.device
    scene.frame_cache.prepare(scene.cameras)
    synced = assemble(job)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(synced, make_batches(job), replace(plan_of(job), folder=Path(folder)))
        steps, rays = time_steps(trainer, own.measure_warmup, own.measure_steps)
    frames = time_frames(synced, scene, own.measure_frames)
    median = statistics.median(steps)
    cuda = device.type == "cuda"
    result = {
        "backend": job.spec.name,
        "device": torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "steps": len(steps),
        "seconds_per_step": {"median": median, "min": min(steps), "max": max(steps)},
        "rays_per_step": rays,
        "rays_per_second": rays / median,
        "render_seconds_per_frame": {"median": statistics.median(frames), "min": min(frames), "max": max(frames)},
        "frame_size": [scene.cameras[scene.test[0]].intrinsics.width, scene.cameras[scene.test[0]].intrinsics.height],
        "peak_memory_bytes": peak_memory(torch.device("cpu")),
        "peak_device_memory_bytes": peak_memory(device) if cuda else None,
    }
    print(json.dumps(result, indent=1))
    return 0


def time_steps(trainer: Trainer, warmup: int, count: int) -> tuple[list[float], int]:
    """Seconds of each of ``count`` steps after ``warmup`` ones, and rays per step."""
    rays, seconds, wait = 0, [], waiting(trainer.synced.device)
    for index in range(warmup + count):
        start = time.perf_counter()
        rays = trainer.train_step()[1]
        wait()
        if index >= warmup:
            seconds.append(time.perf_counter() - start)
    return seconds, rays


def time_frames(synced: SyncedBackend, scene: Scene, count: int) -> list[float]:
    """Seconds of each of ``count`` evenly spaced frames of the first test camera, after one that is not counted."""
    index = scene.test[0]
    camera = scene.cameras[index]
    frames = torch.linspace(0, camera.frame_count - 1, count + 1).long().tolist()
    seconds = []
    for frame in frames:
        start = time.perf_counter()
        next(render_shot(synced, Shot.of_camera(scene, index, [frame], "timing")))
        waiting(synced.device)()
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


if __name__ == "__main__":
    sys.exit(report_user_errors(lambda: main()))
