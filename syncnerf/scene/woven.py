"""Detects interlaced videos, whose odd and even rows show different moments, whatever their headers say."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

from syncnerf.errors import UserError, one_line

FRAMES = 12
"""Frames that are examined at the beginning, and again at the middle."""
WOVEN = 0.12
"""Least delay between odd and even rows, in frames. Interlaced fields are half a frame apart, which is measured as 0.2
to 0.6; in progressive videos at most 0.05 is measured."""
SURE = 5.0
"""The delay must be at least so many of its standard errors."""


def is_woven(path: Path, stream: int) -> bool:
    """Whether a video's odd rows show another moment than its even ones, as those of woven fields do.

    Args:
        path: the file.
        stream: index of the video's stream.

    Raises:
        UserError: it cannot be decoded.
    """
    try:
        later, moved, variance = np.sum([(0.0, 0.0, 0.0), *map(row_delay, _luma(path, stream))], axis=0)
    except (av.error.FFmpegError, ValueError) as error:
        raise UserError(f"{path}: decoding failed ({one_line(error)}); copy or encode it again") from error
    return bool(abs(later) > max(WOVEN * moved, SURE * variance**0.5))


def row_delay(frames: UInt8[np.ndarray, "T height width"]) -> tuple[float, float, float]:
    """By how much the odd rows of grey frames are later than the even ones, as a numerator and a denominator.

    If odd rows are later, each differs from the mean of the even rows around it by what changes in that time.
    Regressing these differences, over all pixels, on how fast the even rows change gives the delay. Differences that
    come from what things look like average out, because an edge that enters a pixel also leaves it.

    Args:
        frames: in order.

    Returns:
        Two sums over pixels whose ratio is the delay in frames, and the first one's variance if rows of frames were
        independent; zeros for fewer than three frames or rows.
    """
    if min(frames.shape[:2]) < 3:
        return 0.0, 0.0, 0.0
    levels = frames[:, : (frames.shape[1] - 1) // 2 * 2 + 1].astype(np.float32)
    even = (levels[:, :-2:2] + levels[:, 2::2]) / 2
    ahead, speed = levels[1:-1, 1::2] - even[1:-1], (even[2:] - even[:-2]) / 2
    later = (ahead * speed).sum(-1, dtype=np.float64)
    return float(later.sum()), float((speed * speed).sum(dtype=np.float64)), float((later * later).sum())


def _luma(path: Path, stream: int) -> Iterator[UInt8[np.ndarray, "T height width"]]:
    """Frames from the beginning, and from the last key frame before the middle if that is another one.

    In files without an index, bare streams of pictures, the middle is not found.
    """
    with av.open(str(path)) as container:
        source = container.streams[stream]
        source.codec_context.thread_count = 1
        frames = _next_frames(container, source)
        if not frames:
            return
        yield from _grey(frames)
        try:
            container.seek((source.start_time or 0) + (source.duration or 0) // 2, stream=source)
        except (av.error.FFmpegError, OSError):
            return
        later = _next_frames(container, source)
        if later and later[0].pts != frames[0].pts:
            yield from _grey(later)


def _next_frames(container: av.container.InputContainer, source: av.VideoStream) -> list[av.VideoFrame]:
    """The next frames, at most :data:`FRAMES`."""
    return list(itertools.islice(container.decode(source), FRAMES))


def _grey(frames: list[av.VideoFrame]) -> Iterator[UInt8[np.ndarray, "T height width"]]:
    """The frames' brightness, unless they are of different sizes."""
    grey = [frame.reformat(format="gray").to_ndarray() for frame in frames]
    if len({image.shape for image in grey}) == 1:
        yield np.stack(grey)
