#!/usr/bin/env python3
"""Compares decoding a scene's videos into the frame cache with the bundled ffmpeg decoding and scaling the same files.

Both use all cores and take turns; the best of the rounds counts. ffmpeg's frames are thrown away, ours are written to
the disk. Lens distortion is left alone at first, as ffmpeg does; where the scene has any, the frame cache that undoes
it is compared with ffmpeg's lenscorrection filter as well. For comparison ffmpeg also writes its frames to the disk: on
a machine whose memory comes from elsewhere only when it is touched, that is what the files themselves cost. Needs
imageio-ffmpeg: pip install "syncnerf[test]". Ends with code 1 where the first ratio, or that with the lens, is below
--at-least.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from syncnerf.errors import UserError
from syncnerf.scene import Scene, load_scene
from syncnerf.scene.frame_cache import FrameCache
from syncnerf.scene.lens import Lens
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.video import VideoSource


def ffmpeg_rate(executable: str, scene: Scene, flags: str, lens: bool = False, folder: Path | None = None) -> float:
    """Frames per second of ffmpeg: one single-threaded process per core, each with the next video.

    Args:
        executable: ffmpeg.
        scene: whose videos are decoded.
        flags: of its scaler; ``area`` is what the frame cache uses, ``bicubic`` ffmpeg's own default.
        lens: undo distortion; ffmpeg's model is another, so this only takes its time.
        folder: where frames are written; None to throw them away.
    """

    def decode(camera) -> None:
        source, size = scene.frame_cache.sources[camera.name], camera.intrinsics
        filters = f"scale={size.width}:{size.height}:flags={flags}"
        if lens:
            filters = f"lenscorrection=k1=-0.05:k2=0.01:i=bilinear,{filters}"
        target = os.devnull if folder is None else folder / f"{camera.name}.raw"
        command = [executable, "-v", "error", "-nostdin", "-threads", "1", "-filter_threads", "1", "-i", source.path]
        subprocess.run([*command, "-vf", filters, "-pix_fmt", "rgb24", "-f", "rawvideo", "-y", target], check=True)

    start = time.perf_counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(decode, scene.cameras))
    return sum(camera.frame_count for camera in scene.cameras) / (time.perf_counter() - start)


def cache_rate(scene: Scene, folder: Path) -> float:
    """Frames per second of the frame cache, into an empty folder."""
    start = time.perf_counter()
    FrameCache(folder, scene.frame_cache.sources).prepare(scene.cameras)
    return sum(camera.frame_count for camera in scene.cameras) / (time.perf_counter() - start)


def without_lens(scene: Scene) -> Scene:
    """The scene with its frames as the videos hold them."""
    sources = {name: replace(source, lens=Lens()) for name, source in scene.frame_cache.sources.items()}
    return replace(scene, frame_cache=FrameCache(scene.frame_cache.directory, sources))


def rates(scene: Scene, executable: str, rounds: int, scratch: Path | None) -> dict[str, float]:
    """Best frame rate of every contender by its name."""
    plain = without_lens(scene)
    contenders = {
        "ffmpeg area": lambda folder: ffmpeg_rate(executable, scene, "area"),
        "ffmpeg bicubic": lambda folder: ffmpeg_rate(executable, scene, "bicubic"),
        "frame cache": lambda folder: cache_rate(plain, folder),
        "ffmpeg to disk": lambda folder: ffmpeg_rate(executable, scene, "area", folder=folder),
    }
    if any(not source.lens.is_ideal for source in scene.frame_cache.sources.values()):
        contenders["ffmpeg with lens"] = lambda folder: ffmpeg_rate(executable, scene, "area", lens=True)
        contenders["frame cache with lens"] = lambda folder: cache_rate(scene, folder)
    best = dict.fromkeys(contenders, 0.0)
    for number in range(rounds):
        for name, contender in contenders.items():
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                best[name] = max(best[name], contender(Path(folder)))
        print(f"round {number + 1}: " + ", ".join(f"{name} {value:.1f} frames/s" for name, value in best.items()))
    return best


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; returns the exit code."""
    import imageio_ffmpeg

    scene = load_scene(arguments.datadir, ReadOptions(downsample=arguments.downsample), arguments.dataset)
    if not all(isinstance(source, VideoSource) for source in scene.frame_cache.sources.values()):
        raise UserError(f"{arguments.datadir}: holds images; give a scene of videos")
    print(scene.summary())
    best = rates(scene, imageio_ffmpeg.get_ffmpeg_exe(), arguments.rounds, arguments.scratch)
    ratios = {
        "ratio to the faster ffmpeg": best["frame cache"] / max(best["ffmpeg area"], best["ffmpeg bicubic"]),
        "ratio to ffmpeg that writes its frames, too": best["frame cache"] / best["ffmpeg to disk"],
    }
    if "frame cache with lens" in best:
        ratio = best["frame cache with lens"] / best["ffmpeg with lens"]
        ratios["ratio with distortion undone by both"] = ratio
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f}")
    needed = [ratio for name, ratio in ratios.items() if "writes" not in name]
    return 0 if min(needed) >= arguments.at_least else 1


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
