"""What the scene tools share: a folder that appears only when complete, H.264 writing one frame at a time, JSON."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from syncnerf.atomic import atomic_folder
from syncnerf.errors import UserError

TICK = Fraction(1, 90_000)
"""Seconds to which the times of frames that come at an uneven rate are written."""


@contextlib.contextmanager
def new_scene(output: Path, force: bool = False) -> Iterator[Path]:
    """Yields a temporary folder beside ``output`` that takes its name when the block ends without an error.

    Nothing named ``output`` exists before it is complete. An existing ``output`` is refused, or with ``force``
    replaced, and then only once the new one is complete.
    """
    refuse_existing(output, force)
    with atomic_folder(output, replace=True) as folder:
        yield folder


def refuse_existing(output: Path, force: bool) -> None:
    """Raises :class:`UserError` when ``output`` exists and ``force`` is off, or when no tool here wrote it."""
    if not output.exists():
        return
    if not force:
        raise UserError(f"{output}: already exists; choose another folder or add --force to replace it")
    if not output.is_dir() or (any(output.iterdir()) and not (output / "offsets.json").exists()):
        raise UserError(f"{output}: holds no offsets.json, so --force will not delete it; remove it yourself")


class SceneVideo:
    """Streams frames into an H.264 mp4 (8-bit yuv420p; yuv444p where a side is odd, since 4:2:0 would need a resize).

    ``fps``: frames per second; ``crf``: x264's constant rate factor (lower is better, 0..51); ``like``: a decoded
    frame whose colour tags the video takes over, so that its YUV values keep their meaning; ``timed``: each frame is
    given its own time, and ``fps`` is only stated. One encoder thread, so that the same frames give the same file.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        fps: float | Fraction,
        crf: int,
        like: av.VideoFrame | None = None,
        timed: bool = False,
    ) -> None:
        self.path, self.width, self.height, self.frames = Path(path), width, height, 0
        self._container = av.open(str(path), "w")
        rate = Fraction(fps).limit_denominator(1_000_000)
        stream = self._container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "slow"})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        stream.codec_context.thread_count = 1
        if like is not None:
            for tag in ("color_range", "colorspace", "color_primaries", "color_trc"):
                setattr(stream.codec_context, tag, getattr(like, tag))
        self._stream = stream
        self._time_base = TICK if timed else 1 / rate
        if timed:
            stream.time_base = stream.codec_context.time_base = TICK

    def add_sound(self, rate: int) -> None:
        """Before the first frame: the video has a sound track, mono, of ``rate`` samples per second."""
        self._sound = self._container.add_stream("aac", rate=rate, layout="mono")

    def write_sound(self, samples: np.ndarray) -> None:
        """The whole sound, float32 [N] in -1..1, from the first frame's time on."""
        for first in range(0, len(samples), 1024):
            block = np.ascontiguousarray(samples[None, first : first + 1024])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = self._sound.rate, first
            frame.time_base = Fraction(1, self._sound.rate)
            self._container.mux(self._sound.encode(frame))
        self._container.mux(self._sound.encode(None))

    def write_rgb(self, picture: np.ndarray, seconds: float | None = None) -> None:
        """Appends ``picture``, uint8 RGB [height, width, 3], to be shown at ``seconds`` or in its place."""
        self.write_frame(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"), seconds)

    def write_frame(self, frame: av.VideoFrame, seconds: float | None = None) -> None:
        """Appends a decoded frame; its own time stamp is replaced by its place in this video, or ``seconds``."""
        if (frame.width, frame.height) != (self.width, self.height):
            found, expected = f"{frame.width}x{frame.height}", f"{self.width}x{self.height}"
            raise UserError(f"{self.path.name}: frame {self.frames} is {found}, the video {expected}")
        frame = frame.reformat(format=self._stream.pix_fmt)
        frame.pict_type = av.video.frame.PictureType.NONE
        place = self.frames if seconds is None else round(seconds / self._time_base)
        frame.time_base, frame.pts = self._time_base, place
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Flushes the encoder and closes the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def __enter__(self) -> SceneVideo:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._container.close()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes ``content`` as indented JSON; numbers keep full precision."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
