"""Writing H.264 videos frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace
from jaxtyping import Float, UInt8
from torch import Tensor

from syncnerf.atomic import atomic_file

BT709 = 1
"""Code of ITU-R BT.709 for primaries, transfer and matrix in an H.264 stream (H.273)."""


def to_uint8(image: Float[Tensor, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Colours in [0, 1] as uint8, same shape."""
    return (image.detach().cpu().clamp(0.0, 1.0) * 255.0).round().byte().numpy()


@contextmanager
def video_writer(path: Path, fps: float, quality: int = 18) -> Iterator[VideoWriter]:
    """Opens an ``.mp4``, which bears its name only once the block has ended without an error; its folder is made.

    Args:
        path: the file.
        fps: frames per second.
        quality: constant rate factor of x264; smaller is better and larger on disk.

    Raises:
        UserError: the file cannot be written.
    """
    with (
        atomic_file(path) as partial,
        av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        writer = VideoWriter(container, fps, quality)
        yield writer
        writer.flush()


class VideoWriter:
    """A stream of H.264 frames; memory does not grow with their number. Made by :func:`video_writer`.

    H.264 with yuv420p wants even sides: an odd image repeats its last row or column and is never resampled.
    """

    def __init__(self, container: av.container.OutputContainer, fps: float, quality: int):
        self.fps = Fraction(fps).limit_denominator(1001)
        self.quality = quality
        self._container = container
        self._stream: av.VideoStream | None = None

    def write(self, image: Float[Tensor, "H W 3"] | UInt8[np.ndarray, "H W 3"]) -> None:
        """Append a frame: colours in [0, 1], or uint8, shape [height, width, 3]; all frames of one size."""
        pixels = to_uint8(image) if isinstance(image, Tensor) else image
        padding = ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0))
        pixels = np.ascontiguousarray(np.pad(pixels, padding, mode="edge"))
        if self._stream is None:
            self._stream = self._open_stream(pixels.shape[1], pixels.shape[0])
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        self._container.mux(self._stream.encode(frame))

    def flush(self) -> None:
        """Encode what is left; raises ValueError where no frame was written."""
        if self._stream is None:
            raise ValueError("a video without frames")
        self._container.mux(self._stream.encode())

    def _open_stream(self, width: int, height: int) -> av.VideoStream:
        stream = self._container.add_stream("libx264", rate=self.fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(self.quality), "preset": "medium"}
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = BT709
        return stream
