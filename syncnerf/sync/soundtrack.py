"""The sound of a recording, on the clock of its frames."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float, Float32

from syncnerf.scene.video import file_begins, probe_video

RATE = 16_000
"""Samples per second that sound is compared at."""
ENVELOPE_RATE = 100
"""Samples per second of the loudness of long recordings."""


@dataclass(frozen=True)
class Soundtrack:
    """A recording's first sound stream.

    Attributes:
        files: the recording's files in order, each with the time of its first frame on the camera's clock, in seconds.
        begin: the first sample's time in seconds on the camera's own clock, on which its first frame is at 0. Starts of
            both streams count (a phone's sound begins early or late, AAC by its priming).
        duration: seconds of sound.
    """

    files: tuple[tuple[Path, float], ...]
    begin: float
    duration: float

    def samples(self, begin: float, seconds: float) -> Float32[np.ndarray, " N"]:
        """Mono samples from ``begin`` (on the camera's clock) on, float32 [seconds * RATE]; silence outside."""
        out = np.zeros(math.ceil(seconds * RATE), dtype=np.float32)
        for time, block in self._blocks(begin - 0.1):
            place = round((time - begin) * RATE)
            if place >= len(out):
                break
            first, last = max(place, 0), min(place + len(block), len(out))
            if first < last:
                out[first:last] = block[first - place : last - place]
        return out

    def envelope(self) -> tuple[float, Float[np.ndarray, " N"]]:
        """Rises of loudness over the whole recording: the time of the first value, and values at ``ENVELOPE_RATE``.

        Decoded in passing: an hour takes a megabyte. A rise is what the logarithm of the energy in 10 ms gains.
        """
        step = RATE // ENVELOPE_RATE
        energies = np.zeros(math.ceil(self.duration * ENVELOPE_RATE) + 2)
        for time, block in self._blocks(self.begin):
            place = round((time - self.begin) * RATE)
            indices = (place + np.arange(len(block))) // step
            inside = (indices >= 0) & (indices < len(energies))
            energies += np.bincount(indices[inside], block[inside] ** 2, len(energies))
        loudness = np.log(energies + 1e-6 * energies.max() + 1e-20)
        return self.begin, np.maximum(np.diff(loudness, prepend=loudness[0]), 0)

    def _blocks(self, begin: float) -> Iterator[tuple[float, np.ndarray]]:
        """Blocks of mono samples at ``RATE`` with their times on the camera's clock, from shortly before ``begin``."""
        ends = [clock for _, clock in self.files[1:]] + [math.inf]
        for (path, clock), end in zip(self.files, ends, strict=True):
            if end > begin:
                for time, block in _blocks_of(path, begin - clock):
                    yield clock + time, block


def _blocks_of(path: Path, begin: float) -> Iterator[tuple[float, np.ndarray]]:
    """Blocks of mono samples of one file with their times from its first frame's, from shortly before ``begin``."""
    first_frame = probe_video(path).start_time
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        target = begin + first_frame
        if target > float((stream.start_time or 0) * stream.time_base) + 1.0:
            container.seek(int((target - 0.5) / stream.time_base), stream=stream)
        # None at the end asks for what the resampler still holds.
        for frame in itertools.chain(container.decode(stream), [None]):
            if frame is not None and not _reaches(frame, target):
                continue
            for piece in resampler.resample(frame):
                yield float(piece.pts * piece.time_base) - first_frame, piece.to_ndarray()[0]


def _reaches(frame: av.AudioFrame, time: float) -> bool:
    """Whether a frame ends at a time of the file's clock, in seconds, or after it."""
    if frame.pts is None:
        return False
    return bool(float(frame.pts * frame.time_base) + frame.samples / frame.sample_rate >= time)


def soundtrack(video: Path, chapters: Sequence[Path] = ()) -> Soundtrack | None:
    """The sound of a video, and of further files in which the camera went on; None where one has none to be read."""
    paths = (video, *chapters)
    try:
        spans = [_span(path) for path in paths]
    except (av.error.FFmpegError, ValueError):
        return None
    if None in spans:
        return None
    files = tuple(zip(paths, file_begins(paths), strict=True))
    begin, (last, length) = spans[0][0], spans[-1]
    return Soundtrack(files, begin, files[-1][1] + last + length - begin)


def _span(path: Path) -> tuple[float, float] | None:
    """When a file's sound begins, in seconds from its first frame, and how long it lasts; None where it has none."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        first = next((frame for frame in container.decode(stream) if frame.pts is not None), None)
        if first is None:
            return None
        length = stream.duration * stream.time_base if stream.duration else (container.duration or 0) / av.time_base
        return float(first.pts * first.time_base) - probe_video(path).start_time, float(length)
