"""Writing H.264 videos frame by frame."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.reformatter import Colorspace
from torch import Tensor

BT709 = 1
"""Code of ITU-R BT.709 for primaries, transfer and matrix in an H.264 stream (H.273)."""


def to_uint8(image: Tensor) -> np.ndarray:
    """Colours in [0, 1] as uint8, same shape."""
    return (image.detach().cpu().clamp(0.0, 1.0) * 255.0).round().byte().numpy()


class VideoWriter:
    """A streaming H.264 writer; memory does not grow with the number of frames.

    The video is written under another name and renamed on a clean exit, so a file under ``path`` is always whole.
    H.264 with yuv420p wants even sides: an odd image repeats its last row or column and is never resampled.

    Args:
        path: the ``.mp4`` to write; its folder is made.
        fps: frames per second.
        quality: constant rate factor of x264; smaller is better and larger on disk.
    """

    def __init__(self, path: Path, fps: float, quality: int = 18):
        self.path = path
        self.fps = Fraction(fps).limit_denominator(1001)
        self.quality = quality
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._stream: av.VideoStream | None = None

    def __enter__(self) -> VideoWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "+faststart"})
        return self

    def write(self, image: Tensor | np.ndarray) -> None:
        """Append a frame: colours in [0, 1], or uint8, shape [height, width, 3]; all frames of one size."""
        pixels = to_uint8(image) if isinstance(image, Tensor) else image
        padding = ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0))
        pixels = np.ascontiguousarray(np.pad(pixels, padding, mode="edge"))
        if self._stream is None:
            self._stream = self._open_stream(pixels.shape[1], pixels.shape[0])
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        self._container.mux(self._stream.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        whole = kind is None and self._stream is not None
        try:
            try:
                if whole:
                    self._container.mux(self._stream.encode())
            finally:
                self._container.close()
            if whole:
                os.replace(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _open_stream(self, width: int, height: int) -> av.VideoStream:
        stream = self._container.add_stream("libx264", rate=self.fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(self.quality), "preset": "medium"}
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = BT709
        return stream
