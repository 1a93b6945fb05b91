#!/usr/bin/env python3
"""Compares decoding a scene's videos into the frame cache with the bundled ffmpeg decoding and scaling the same files.

Both use all cores and take turns; ffmpeg's frames are thrown away, ours are written to the disk. The last line is the
ratio of the frame rates (ours over ffmpeg's, best of the rounds each). Needs imageio-ffmpeg: pip install
"syncnerf[test]". Ends with code 1 where the ratio is below --at-least.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from syncnerf.errors import UserError
from syncnerf.scene import Scene, load_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.video import VideoSource


def ffmpeg_rate(executable: str, scene: Scene, flags: str) -> float:
    """Frames per second of ffmpeg: one single-threaded process per core, each with the next video.

    ``flags``: of its scaler; ``area`` is what the frame cache uses, ``bicubic`` ffmpeg's own default.
    """

    def decode(camera) -> None:
        source, size = scene.frame_cache.sources[camera.name], camera.intrinsics
        scale = f"scale={size.width}:{size.height}:flags={flags}"
        command = [executable, "-v", "error", "-nostdin", "-threads", "1", "-filter_threads", "1", "-i", source.path]
        subprocess.run([*command, "-vf", scale, "-pix_fmt", "rgb24", "-f", "rawvideo", "-y", os.devnull], check=True)

    start = time.perf_counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(decode, scene.cameras))
    return sum(camera.frame_count for camera in scene.cameras) / (time.perf_counter() - start)


def cache_rate(folder: Path, options: ReadOptions, dataset: str, scratch: Path) -> float:
    """Frames per second of the frame cache, into an empty folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        scene = load_scene(folder, ReadOptions(**vars(options) | {"cache_dir": Path(place)}), dataset)
        start = time.perf_counter()
        scene.frame_cache.prepare(scene.cameras)
        return sum(camera.frame_count for camera in scene.cameras) / (time.perf_counter() - start)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; returns the exit code."""
    import imageio_ffmpeg

    options = ReadOptions(downsample=arguments.downsample)
    scene = load_scene(arguments.datadir, options, arguments.dataset)
    if not all(isinstance(source, VideoSource) for source in scene.frame_cache.sources.values()):
        raise UserError(f"{arguments.datadir}: holds images; give a scene of videos")
    executable = imageio_ffmpeg.get_ffmpeg_exe()
    print(scene.summary())
    best = {"ffmpeg area": 0.0, "ffmpeg bicubic": 0.0, "frame cache": 0.0}
    for number in range(arguments.rounds):
        for flags in ("area", "bicubic"):
            name = f"ffmpeg {flags}"
            best[name] = max(best[name], ffmpeg_rate(executable, scene, flags))
        rate = cache_rate(arguments.datadir, options, arguments.dataset, arguments.scratch)
        best["frame cache"] = max(best["frame cache"], rate)
        print(f"round {number + 1}: " + ", ".join(f"{name} {value:.1f} frames/s" for name, value in best.items()))
    ratio = best["frame cache"] / max(best["ffmpeg area"], best["ffmpeg bicubic"])
    print(f"ratio to the faster ffmpeg: {ratio:.2f}")
    return 0 if ratio >= arguments.at_least else 1


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datadir", type=Path, help="scene folder with videos")
    parser.add_argument("--dataset", default="auto", help="format of the scene (default: auto)")
    parser.add_argument("--downsample", type=float, default=0.0, help="per side (default: the format's own)")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each (default: 2)")
    parser.add_argument("--scratch", type=Path, help="folder for the decoded frames (default: the system's)")
    parser.add_argument("--at-least", type=float, default=0.8, help="smallest ratio that passes (default: 0.8)")
    try:
        return run(parser.parse_args(arguments))
    except (UserError, ImportError) as error:
        print(f"benchmark_decoding: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
