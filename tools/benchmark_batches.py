#!/usr/bin/env python3
"""Measures the supply of random ray batches: from the frame cache on disk, and from the same frames in memory.

Made frames go straight into a frame cache (no videos are decoded), so that scenes of any size cost only their bytes on
the disk: the default is N3V's standard size, 19 cameras of 300 frames at 1352x1014, 23.5 GB. Prints one JSON object:
milliseconds per batch as they come and warm (each drawn again at once), the peak of the resident memory with and
without pages of files, and the same batches from memory for a scene that fits. With --importance the same for batches
drawn by ISG and IST, whose weights take two thirds of the frames' space, and the time that computing them takes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from syncnerf.errors import UserError
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.ray_batches import RayBatches
from syncnerf.scene.camera import Camera, Intrinsics
from syncnerf.scene.frame_cache import FrameCache
from syncnerf.scene.scene import Scene

N3V = (19, 300, 1352, 1014)


@dataclass(frozen=True)
class MadeSource:
    """A noise picture that wanders: cheap to make, and every frame differs."""

    path: Path
    frame_count: int
    seed: int

    def fingerprint(self) -> str:
        """Changes with the content."""
        return f"made|{self.frame_count}|{self.seed}"

    def decode(self, intrinsics: Intrinsics) -> Iterator[np.ndarray]:
        """Yield the frames, uint8, shape [height, width, 3]."""
        generator = np.random.default_rng(self.seed)
        picture = generator.integers(0, 256, (intrinsics.height, intrinsics.width, 3), dtype=np.uint8)
        for frame in range(self.frame_count):
            yield np.roll(picture, frame, axis=0)


def made_scene(folder: Path, size: tuple[int, int, int, int]) -> Scene:
    """A scene of ``size`` (cameras, frames, width, height) in ``folder``."""
    count, frames, width, height = size
    intrinsics = Intrinsics(width, height, float(width), float(width), width / 2, height / 2)
    pose = torch.eye(4, dtype=torch.float64)
    cameras = tuple(Camera(f"cam{k:02d}", intrinsics, pose, 30.0, frames) for k in range(count))
    sources = {camera.name: MadeSource(folder, frames, k) for k, camera in enumerate(cameras)}
    bounds = torch.tensor([[-1.0] * 3, [1.0] * 3])
    return Scene(folder, "made", cameras, FrameCache(folder, sources), (0,), bounds, 1.0, 10.0)


def milliseconds(batches: RayBatches, count: int) -> tuple[list[float], list[float]]:
    """Time of each batch as it comes, and once more right after, when its pages are in the system's cache for sure."""
    generator, first, again = torch.Generator().manual_seed(0), [], []
    for step in range(count):
        state = generator.get_state()
        for times in (first, again):
            generator.set_state(state)
            start = time.perf_counter()
            batches.draw(generator, step)
            times.append(1000.0 * (time.perf_counter() - start))
    return first, again


def summary(times: list[float]) -> dict[str, float]:
    """Median, and the value that 95 % stay below."""
    return {"median_ms": statistics.median(times), "p95_ms": float(np.quantile(times, 0.95))}


def memory() -> dict[str, float]:
    """Resident memory of this process in MiB, all of it and without pages of files; Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmHWM", "RssAnon", "RssFile"))}
    names = {"VmHWM": "peak_resident_mib", "RssAnon": "anonymous_mib", "RssFile": "file_pages_mib"}
    return {names[key]: int(value) / 1024 for key, value in values.items()}


def run(arguments: argparse.Namespace) -> dict:
    """Make the scene, measure, remove it."""
    config = SamplingConfig(batch_size=arguments.rays)
    folder = Path(tempfile.mkdtemp(dir=arguments.scratch))
    try:
        scene = made_scene(folder, tuple(arguments.size))
        start = time.perf_counter()
        scene.frame_cache.prepare(scene.cameras)
        result = {"gigabytes": float(np.prod(arguments.size) * 3 / 1e9), "written_s": time.perf_counter() - start}
        batches = RayBatches(scene, config)
        first, again = milliseconds(batches, arguments.batches)
        result["as_they_come"], result["warm"] = summary(first), summary(again)
        if arguments.importance:
            start = time.perf_counter()
            weighted = RayBatches(scene, replace(config, dynamic_share=1.0, importance="isg-ist"), arguments.batches)
            result["importance_computed_s"] = time.perf_counter() - start
            first, again = milliseconds(weighted, arguments.batches)
            result["importance_as_they_come"], result["importance_warm"] = summary(first), summary(again)
        result["memory"] = memory()
        if result["gigabytes"] < arguments.in_memory:
            for camera in scene.train:
                scene._frames[camera] = np.array(scene.frames(camera))
            result["from_memory"] = summary(milliseconds(RayBatches(scene, config), arguments.batches)[1])
        return result
    finally:
        shutil.rmtree(folder)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=4, default=N3V, metavar=("CAMERAS", "FRAMES", "WIDTH", "HEIGHT"),
                        help="of the made scene (default: 19 300 1352 1014)")  # fmt: skip
    parser.add_argument("--rays", type=int, default=4096, help="rays per batch (default: 4096)")
    parser.add_argument("--batches", type=int, default=200, help="batches measured (default: 200)")
    parser.add_argument("--in-memory", type=float, default=2.0, metavar="GB",
                        help="also measure from memory below this size (default: 2)")  # fmt: skip
    parser.add_argument("--importance", action="store_true", help="also draw by ISG and IST")
    parser.add_argument("--scratch", type=Path, help="folder for the made frames (default: the system's)")
    try:
        print(json.dumps(run(parser.parse_args(arguments)), indent=1))
    except UserError as error:
        print(f"benchmark_batches: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
