"""Videos as people have them: any timestamps, any container."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MILLISECONDS = Fraction(1, 1000)


def grey(level: int, width: int = 32, height: int = 24) -> np.ndarray:
    """A picture of one brightness, uint8 RGB."""
    return np.full((height, width, 3), level, dtype=np.uint8)


def write_timed(
    path: Path,
    images: Sequence[np.ndarray],
    seconds: Sequence[float],
    time_base: Fraction = Fraction(1, 90000),
    rate: Fraction = Fraction(30),
    **options: str,
) -> Path:
    """Encode RGB images [height, width, 3], each to be shown at its moment in seconds; returns ``path``.

    ``rate`` is what the header states. ``options`` go to the encoder, x264.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "4", "preset": "ultrafast"} | options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.codec_context.thread_count = "yuv444p", 1
        stream.codec_context.time_base = stream.time_base = time_base
        for image, moment in zip(images, seconds, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base, frame.pts = time_base, round(Fraction(moment) / time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
