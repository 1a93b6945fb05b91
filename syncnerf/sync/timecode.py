"""Lags between cameras from the start timecodes of their videos."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import av

from syncnerf.scene import Scene
from syncnerf.scene.video import VideoSource
from syncnerf.sync.prior import PriorLag

TIMECODE = re.compile(r"(\d{1,2}):(\d\d):(\d\d)([:;.])(\d\d?)")
"""Hours, minutes, seconds, frames; a semicolon or a point before the frames means that numbers are dropped."""
DAY = 86_400.0


@dataclass(frozen=True)
class StartTimecode:
    """A timecode as seconds since midnight, and whether its frames' numbers are dropped to keep the clock."""

    seconds: float
    drops: bool = False


def timecode_lags(scene: Scene) -> list[PriorLag]:
    """Lags of all pairs of cameras whose videos begin with a timecode, within a frame.

    Nothing where all begin with 0, as editors' copies and cameras that count their own recordings do. Timecodes that
    were never set alike say anything; so they only choose between peaks of the motion (see
    :func:`~syncnerf.sync.landscape.find_peak`), and place no camera.
    """
    starts = {}
    # Frames that were never in a file have no source.
    sources = getattr(scene.frame_cache, "sources", {})
    for index, camera in enumerate(scene.cameras):
        source = sources.get(camera.name)
        found = start_of(source.path) if isinstance(source, VideoSource) else None
        if found is not None:
            # The timecode is that of the first frame, wherever the camera's own clock begins.
            starts[index] = (found.seconds - float(camera.frame_times[0]), 1 / camera.fps)
    if all(seconds == 0 for seconds, _ in starts.values()):
        return []
    lags = []
    for (first, (one, frame)), (second, (two, other)) in itertools.combinations(starts.items(), 2):
        # Over midnight the later recording has the smaller number.
        lag = (one - two + DAY / 2) % DAY - DAY / 2
        lags.append(PriorLag(first, second, lag, max(frame, other)))
    return lags


def start_of(video: Path) -> StartTimecode | None:
    """A video's start timecode; None where it has none."""
    try:
        with av.open(str(video)) as container:
            held = [container.metadata, *(stream.metadata for stream in container.streams)]
            text = next((metadata["timecode"] for metadata in held if "timecode" in metadata), "")
            rate = container.streams.video[0].average_rate if container.streams.video else None
    except (av.error.FFmpegError, ValueError):
        return None
    seconds = seconds_of(text, float(rate)) if rate else None
    return None if seconds is None else StartTimecode(seconds, bool(re.search(r"[;.]", text)))


def seconds_of(timecode: str, fps: float) -> float | None:
    """Seconds since midnight of a timecode at a frame rate; None where it is none.

    Timecodes count frames at the next whole rate. Dropped numbers (SMPTE 12M: the first two of every minute but every
    tenth at 29.97, four at 59.94) keep them by the clock.
    """
    found = TIMECODE.fullmatch(timecode.strip())
    if found is None:
        return None
    hours, minutes, seconds, mark, frames = found.groups()
    base, whole = round(fps), 60 * int(hours) + int(minutes)
    count = (60 * whole + int(seconds)) * base + int(frames)
    if mark != ":":
        count -= round(base / 15) * (whole - whole // 10)
    return count / fps


def timecode_of(start: StartTimecode, fps: float) -> str:
    """The text ``HH:MM:SS:FF`` of the frame nearest to a timecode; the inverse of :func:`seconds_of`.

    Numbers are dropped (``HH:MM:SS;FF``) where the timecode does so and the rate is one of those that can.
    """
    base, count = round(fps), round(start.seconds * fps)
    drop = start.drops and base in (30, 60) and abs(fps * 1.001 / base - 1) < 1e-4
    if drop:
        dropped = round(base / 15)
        tens, left = divmod(count, 600 * base - 9 * dropped)
        # The first minute of ten drops nothing.
        minutes = max(0, (left - dropped) // (60 * base - dropped))
        count += dropped * (9 * tens + minutes)
    whole, frame = divmod(count, base)
    hours, whole = divmod(whole, 3600)
    minutes, second = divmod(whole, 60)
    return f"{hours % 24:02d}:{minutes:02d}:{second:02d}{';' if drop else ':'}{frame:02d}"
