"""The sound of a video, on the clock of its frames."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from syncnerf.scene.video import probe_video

RATE = 16_000
"""Samples per second that sound is compared at."""
ENVELOPE_RATE = 100
"""Samples per second of the loudness of long recordings."""


@dataclass(frozen=True)
class Soundtrack:
    """A video's first sound stream.

    Attributes:
        path: the video.
        begin: the first sample's time in seconds on the camera's own clock, on which its first frame is at 0. Starts of
            both streams count (a phone's sound begins early or late, AAC by its priming).
        duration: seconds of sound.
    """

    path: Path
    begin: float
    duration: float

    def samples(self, begin: float, seconds: float) -> np.ndarray:
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

    def envelope(self) -> tuple[float, np.ndarray]:
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
        first_frame = probe_video(self.path).start_time
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        with av.open(str(self.path)) as container:
            stream = container.streams.audio[0]
            stream.codec_context.thread_count = 1
            target = begin + first_frame
            if target > self.begin + first_frame + 1.0:
                container.seek(int((target - 0.5) / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                if frame.pts is None or float(frame.pts * frame.time_base) + frame.samples / frame.sample_rate < target:
                    continue
                for piece in resampler.resample(frame):
                    yield float(piece.pts * piece.time_base) - first_frame, piece.to_ndarray()[0]


def soundtrack(video: Path) -> Soundtrack | None:
    """The sound of a video; None where it has none, or none that can be read."""
    first_frame = probe_video(video).start_time
    try:
        with av.open(str(video)) as container:
            if not container.streams.audio:
                return None
            stream = container.streams.audio[0]
            first = next((frame for frame in container.decode(stream) if frame.pts is not None), None)
            if first is None:
                return None
            length = stream.duration * stream.time_base if stream.duration else (container.duration or 0) / av.time_base
            begin = float(first.pts * first.time_base) - first_frame
            return Soundtrack(video, begin, float(length))
    except (av.error.FFmpegError, ValueError):
        return None
