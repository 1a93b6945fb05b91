#!/usr/bin/env python3
"""Makes an unsynchronised copy of a scene folder, with the true time offsets beside it.

Reads the layout with one video per camera: ``transforms.json`` with one entry per camera in ``frames``, and mp4 videos
named by ``file_path`` or else sorted by name. Two ways to spoil the synchronisation, which combine:

* ``--crop 30`` drops a random number of frames, 0 to 30, from each camera's start (``--crops 0,12,7`` says which);
* ``--every 3`` keeps every third frame, starting from a random one of the first three, so that offsets become
  fractions of the new, three times longer frame interval.

A camera that starts ``n`` frames later has an offset larger by ``n / fps`` seconds. What the source's own
``offsets.json`` holds is added, so a scene can be spoilt twice. Videos are taken to have a constant frame rate.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from scene_output import ToolError, VideoWriter, atomic_folder, refuse_existing, write_json
from scene_source import SourceCamera, read_source
from tqdm import tqdm


def draw_first_frames(cameras: int, options: argparse.Namespace) -> np.ndarray:
    """The source frame that each camera's copy starts with, [C]: its crop plus its phase within ``--every``."""
    generator = np.random.default_rng(options.seed)
    crops = generator.integers(0, options.crop + 1, cameras)
    phases = generator.integers(0, options.every, cameras)
    if options.crops is not None:
        if len(options.crops) != cameras:
            raise ToolError(f"--crops lists {len(options.crops)} numbers for {cameras} cameras")
        crops = np.array(options.crops)
    return crops + phases


def kept_frames(video: Path, first: int, every: int, count: int) -> Iterator[av.VideoFrame]:
    """Decodes ``video`` and yields ``count`` frames: number ``first`` and every ``every``-th after it."""
    last = first + every * (count - 1)
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if frame.rotation:
                raise ToolError(f"{video}: is marked as rotated; re-encode it upright first")
            if number >= first and (number - first) % every == 0:
                yield frame
            if number == last:
                return
    raise ToolError(f"{video}: ends before frame {last}; the file is damaged or truncated")


def write_camera(camera: SourceCamera, output: Path, first: int, count: int, options: argparse.Namespace) -> None:
    """Re-encodes ``count`` frames of ``camera`` into ``output``, one frame in memory at a time."""
    writer = None
    try:
        for frame in kept_frames(camera.video, first, options.every, count):
            if writer is None:
                fps = camera.fps / options.every
                writer = VideoWriter(output, frame.width, frame.height, fps, options.crf, like=frame)
            writer.write_frame(frame)
    finally:
        if writer is not None:
            writer.close()


def copied_entry(camera: SourceCamera, first: int, count: int, every: int, state_fps: bool) -> dict:
    """The camera's ``frames`` entry for its copy; the poses of a moving camera follow its frames."""
    entry = camera.entry | {"file_path": camera.video.name}
    if "transform_matrices" in entry:
        entry["transform_matrices"] = entry["transform_matrices"][first::every][:count]
        entry["transform_matrix"] = entry["transform_matrices"][0]
    if state_fps:
        entry["fps"] = float(camera.fps / every)
    return entry


def run(options: argparse.Namespace) -> None:
    """Writes the copy that ``options`` ask for."""
    output = options.output.resolve()
    refuse_existing(output, options.force)
    if output == options.source.resolve():
        raise ToolError(f"{output}: is the source itself")
    transforms, cameras = read_source(options.source)
    first = draw_first_frames(len(cameras), options)
    available = [(camera.frames - start + options.every - 1) // options.every
                 for camera, start in zip(cameras, first.tolist(), strict=True)]  # fmt: skip
    for camera, count in zip(cameras, available, strict=True):
        if count < 1:
            raise ToolError(f"{camera.video}: nothing is left of its {camera.frames} frames; crop less")
    counts = available if options.keep_length else [min(available)] * len(cameras)
    offsets = [camera.offset + float(start / camera.fps) for camera, start in zip(cameras, first.tolist(), strict=True)]

    common_fps = cameras[0].fps if len({camera.fps for camera in cameras}) == 1 else None
    entries = []
    with atomic_folder(output, options.force) as folder:
        for camera, start, count in tqdm(list(zip(cameras, first.tolist(), counts, strict=True)), unit="video"):
            write_camera(camera, folder / camera.video.name, start, count, options)
            entries.append(copied_entry(camera, start, count, options.every, state_fps=common_fps is None))
        copied = {key: value for key, value in transforms.items() if key not in ("frames", "fps")}
        if common_fps is not None:
            copied["fps"] = float(common_fps / options.every)
            for entry in entries:
                entry.pop("fps", None)
        write_json(folder / "transforms.json", copied | {"frames": entries})
        record = {"first_frames": first.tolist(), "every": options.every, "seed": options.seed}
        write_json(folder / "offsets.json", {"unit": "seconds", "seconds": offsets, "desync": record})


def whole_number(minimum: int):
    """An argument parser for whole numbers of at least ``minimum``."""

    def parse(text: str) -> int:
        if not text.isdigit() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {minimum}")
        return int(text)

    return parse


def frame_list(text: str) -> list[int]:
    """Parses ``0,12,7``."""
    return [whole_number(0)(item.strip()) for item in text.split(",")]


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example:\n  python tools/desync.py scenes/walk scenes/walk_spoilt --crop 30 --seed 1\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="scene folder with transforms.json and one mp4 per camera")
    parser.add_argument("output", type=Path, help="folder to create")
    crop = parser.add_mutually_exclusive_group()
    crop.add_argument("--crop", type=whole_number(0), default=0, metavar="N",
                      help="drop a random 0..N frames from each camera's start (default: 0)")  # fmt: skip
    crop.add_argument("--crops", type=frame_list, metavar="A,B,...", help="drop exactly these, one number per camera")
    parser.add_argument("--every", type=whole_number(1), default=1, metavar="n",
                        help="keep every n-th frame from a random phase; frame rate / n (default: 1)")  # fmt: skip
    parser.add_argument("--keep-length", action="store_true", help="do not trim all cameras to the shortest")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="seed of crops and phases (default: 0)")
    parser.add_argument("--crf", type=int, choices=range(52), metavar="0..51", default=8,
                        help="x264 quality, lower is better and larger, 0 keeps every value (default: 8)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = build_parser().parse_args(arguments)
    try:
        run(options)
    except ToolError as error:
        print(f"desync: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
