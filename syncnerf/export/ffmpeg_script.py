"""``align.sh``: the aligned copies as commands of ffmpeg."""

import os
import shlex
from pathlib import Path

import av

from syncnerf.export.alignment import Alignment
from syncnerf.scene.video import probe_video

HEAD = """#!/bin/sh
# Writes a copy of each video, trimmed to what all cameras filmed (to the frame; encoded again: a copy can only begin at
# a key frame). Run it in this folder. FFMPEG names the program.
set -eu
: "${FFMPEG:=ffmpeg}"
mkdir -p aligned
"""
EARLY = 0.25
"""Frames by which a cut lies before the first frame that is wanted, so that rounding does not lose it."""


def write_script(alignment: Alignment, path: Path) -> None:
    """Write the script; raises UserError where nothing is common to all, or a camera's frames are no video.

    Where a clock has a rate, ``-itsscale`` brings it to the reference's.
    """
    lines = [HEAD.rstrip()]
    for part in alignment.cuts():
        camera, video = alignment.scene.cameras[part.camera], alignment.video(part.camera)
        with av.open(str(video)) as container:
            earlier = probe_video(video).start_time - (container.start_time or 0) / av.time_base
        pace = 1 + float(alignment.rates[part.camera])
        first, last = (
            float(camera.frame_times[index] - camera.frame_times[0]) for index in (part.frames[0], part.frames[-1])
        )
        begin = max(0.0, first + earlier - EARLY / camera.fps) * pace
        length = (last - first + 1 / camera.fps) * pace
        source = shlex.quote(os.path.relpath(video.resolve(), path.parent.resolve()))
        scale = f"-itsscale {pace:.9f} " if pace != 1 else ""
        lines.append(
            f"# {camera.name}: frames {part.frames[0]} to {part.frames[-1]}; its first lies {part.remainder:+.6f} s off"
        )
        lines.append(
            f'"$FFMPEG" -y {scale}-ss {begin:.6f} -i {source} -t {length:.6f} -frames:v {len(part.frames)} '
            f"-c:v libx264 -crf 16 -c:a aac {shlex.quote(f'aligned/{camera.name}.mp4')}"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o755)
