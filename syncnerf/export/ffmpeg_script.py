"""``align.sh``: the aligned copies as commands of ffmpeg."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import av

from syncnerf.export.alignment import Alignment
from syncnerf.scene.video import file_begins, probe_video

HEAD = """#!/bin/sh
# Writes a copy of each video, trimmed to what all cameras filmed (to the frame; encoded again: a copy can only begin at
# a key frame). Run it in this folder. FFMPEG names the program.
set -eu
: "${FFMPEG:=ffmpeg}"
mkdir -p aligned
"""
EARLY = 0.25
"""Frames by which a cut lies before the first frame that is wanted, so that rounding does not lose it."""
LIST = "aligned/files.txt"
"""What the script writes the files of one recording into, for ffmpeg to join them."""


def write_script(alignment: Alignment, path: Path) -> None:
    """Write the script; raises UserError where nothing is common to all, or a camera's frames are no video.

    Where a clock has a rate, ``-itsscale`` brings it to the reference's.
    """
    lines = [HEAD.rstrip()]
    for part in alignment.cuts():
        camera, paths = alignment.scene.cameras[part.camera], alignment.video(part.camera).paths
        earlier = _before_first_frame(paths[0])
        pace = 1 + float(alignment.rates[part.camera])
        first, last = (
            float(camera.frame_times[index] - camera.frame_times[0]) for index in (part.frames[0], part.frames[-1])
        )
        begin = max(0.0, first + earlier - EARLY / camera.fps) * pace
        length = (last - first + 1 / camera.fps) * pace
        scale, enter = f"-itsscale {pace:.9f} " if pace != 1 else "", f"-ss {begin:.6f}"
        lines.append(
            f"# {camera.name}: frames {part.frames[0]} to {part.frames[-1]}; its first lies {part.remainder:+.6f} s off"
        )
        if len(paths) == 1:
            source = f"{enter} -i {shlex.quote(os.path.relpath(paths[0].resolve(), path.parent.resolve()))}"
        else:
            lines += _list_of(paths, path.parent)
            # Entered by decoding from the beginning: by an index, a list is entered only where a key frame follows.
            source = f"-f concat -safe 0 -i {LIST} {enter}"
        lines.append(
            f'"$FFMPEG" -y {scale}{source} -t {length:.6f} -frames:v {len(part.frames)} '
            f"-c:v libx264 -crf 16 -c:a aac {shlex.quote(f'aligned/{camera.name}.mp4')}"
        )
    if any(LIST in line for line in lines):
        lines.append(f"rm {LIST}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o755)


def _before_first_frame(video: Path) -> float:
    """Seconds from a file's beginning (of its sound, usually) to its first frame."""
    with av.open(str(video)) as container:
        return probe_video(video).start_time - (container.start_time or 0) / av.time_base


def _list_of(paths: Sequence[Path], folder: Path) -> list[str]:
    """Lines that write the list of a recording's files, each with its length as ffmpeg's concat demuxer wants them."""
    starts = [clock - _before_first_frame(path) for path, clock in zip(paths, file_begins(paths), strict=True)]
    lines = [f"cat > {LIST} <<'END'"]
    for index, path in enumerate(paths):
        shown = os.path.relpath(path.resolve(), (folder / LIST).parent.resolve())
        lines.append("file '" + shown.replace("'", "'\\''") + "'")
        if index + 1 < len(paths):
            lines.append(f"duration {starts[index + 1] - starts[index]:.6f}")
    return [*lines, "END"]
