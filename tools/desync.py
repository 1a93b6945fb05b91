#!/usr/bin/env python3
"""Makes an unsynchronised copy of a scene folder, with the true time offsets beside it.

Reads every format of several cameras; the copy is ``transforms.json`` with one entry, and one mp4 video, per camera.
Pictures of a source of that kind are copied as they are stored, others undistorted, in the size that is usual for their
format. Two ways to spoil the synchronisation, which combine:

* ``--crop 30`` drops a random number of frames, 0 to 30, from each camera's start (``--crops 0,12,7`` says which);
* ``--every 3`` keeps every third frame, starting from a random one of the first three, so that offsets become
  fractions of the new, three times longer frame interval.

A camera whose first frame was taken ``s`` seconds later on its own clock has an offset larger by ``s``. What the
source's own ``offsets.json`` holds is added, so a scene can be spoilt twice. Frames that come at uneven times
keep them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from argument_types import several, whole_number
from scene_output import SceneVideo, new_scene, refuse_existing, write_json
from scene_source import SourceCamera, read_source
from tqdm import tqdm

from syncnerf.errors import UserError


def draw_first_frames(cameras: int, options: argparse.Namespace) -> np.ndarray:
    """The source frame that each camera's copy starts with, [C]: its crop plus its phase within ``--every``."""
    generator = np.random.default_rng(options.seed)
    crops = generator.integers(0, options.crop + 1, cameras)
    phases = generator.integers(0, options.every, cameras)
    if options.crops is not None:
        if len(options.crops) != cameras:
            raise UserError(f"--crops lists {len(options.crops)} numbers for {cameras} cameras")
        crops = np.array(options.crops)
    return crops + phases


def kept_frames(camera: SourceCamera, first: int, every: int, count: int) -> Iterator[av.VideoFrame | np.ndarray]:
    """Decodes a camera's frames and yields ``count`` of them: number ``first`` and every ``every``-th after it."""
    last = first + every * (count - 1)
    for number, frame in enumerate(camera.frames()):
        if number >= first and (number - first) % every == 0:
            yield frame
        if number == last:
            return
    raise UserError(f"{camera.frames_of.path}: ends before frame {last}; the file is damaged or truncated")


def rate_of(camera: SourceCamera, every: int) -> Fraction:
    """Frames per second of a camera's copy; the usual ones where they come at uneven times."""
    return Fraction(camera.camera.fps).limit_denominator(1_000_000) / every


def write_camera(camera: SourceCamera, output: Path, first: int, count: int, options: argparse.Namespace) -> None:
    """Re-encodes ``count`` frames of ``camera`` into ``output``, one frame in memory at a time."""
    writer, fps = None, rate_of(camera, options.every)
    uneven = camera.camera.given_times is not None
    times = kept_times(camera, first, count, options.every) if uneven else [None] * count
    try:
        for frame, time in zip(kept_frames(camera, first, options.every, count), times, strict=True):
            stored = isinstance(frame, av.VideoFrame)
            if writer is None:
                height, width = (frame.height, frame.width) if stored else frame.shape[:2]
                like = frame if stored else None
                writer = SceneVideo(output, width, height, fps, options.crf, like=like, timed=uneven)
            (writer.write_frame if stored else writer.write_rgb)(frame, time)
    finally:
        if writer is not None:
            writer.close()


def kept_times(camera: SourceCamera, first: int, count: int, every: int) -> list[float]:
    """Seconds from the copy's first frame to each of its frames."""
    return (camera.begun[first::every][:count] - camera.begun[first]).tolist()


def copied_entry(camera: SourceCamera, first: int, count: int, every: int, state_fps: bool) -> dict:
    """The camera's ``frames`` entry for its copy; times and the poses of a moving camera follow its frames."""
    entry = camera.entry | {"file_path": f"{camera.camera.name}.mp4"}
    entry.pop("fps", None)
    if "transform_matrices" in entry:
        entry["transform_matrices"] = entry["transform_matrices"][first::every][:count]
        entry["transform_matrix"] = entry["transform_matrices"][0]
    if "frame_times" in entry:
        entry["frame_times"] = kept_times(camera, first, count, every)
    if state_fps:
        entry["fps"] = float(rate_of(camera, every))
    return entry


def run(options: argparse.Namespace) -> None:
    """Writes the copy that ``options`` ask for."""
    output = options.output.resolve()
    refuse_existing(output, options.force)
    if output == options.source.resolve():
        raise UserError(f"{output}: is the source itself")
    shared, cameras = read_source(options.source)
    first = draw_first_frames(len(cameras), options).tolist()
    available = [(camera.camera.frame_count - start + options.every - 1) // options.every
                 for camera, start in zip(cameras, first, strict=True)]  # fmt: skip
    for camera, count in zip(cameras, available, strict=True):
        if count < 1:
            frames = camera.camera.frame_count
            raise UserError(f"{camera.frames_of.path}: nothing is left of its {frames} frames; crop less")
    counts = available if options.keep_length else [min(available)] * len(cameras)
    offsets = [camera.offset + float(camera.begun[start]) for camera, start in zip(cameras, first, strict=True)]

    rates = {rate_of(camera, options.every) for camera in cameras if camera.camera.given_times is None}
    entries = []
    with new_scene(output, options.force) as folder:
        for camera, start, count in tqdm(list(zip(cameras, first, counts, strict=True)), unit="video"):
            write_camera(camera, folder / f"{camera.camera.name}.mp4", start, count, options)
            state_fps = len(rates) > 1 and camera.camera.given_times is None
            entries.append(copied_entry(camera, start, count, options.every, state_fps))
        shared.pop("fps", None)
        if len(rates) == 1:
            shared["fps"] = float(rates.pop())
        write_json(folder / "transforms.json", shared | {"frames": entries})
        record = {"first_frames": first, "every": options.every, "seed": options.seed}
        write_json(folder / "offsets.json", {"unit": "seconds", "seconds": offsets, "desync": record})


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example:\n  python tools/desync.py scenes/walk scenes/walk_spoilt --crop 30 --seed 1\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="scene folder, in any format of several cameras")
    parser.add_argument("output", type=Path, help="folder to create")
    crop = parser.add_mutually_exclusive_group()
    crop.add_argument("--crop", type=whole_number(0), default=0, metavar="N",
                      help="drop a random 0..N frames from each camera's start (default: 0)")  # fmt: skip
    crop.add_argument("--crops", type=several(whole_number(0)), metavar="A,B,...",
                      help="drop exactly these, one number per camera")  # fmt: skip
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
    except UserError as error:
        print(f"desync: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
