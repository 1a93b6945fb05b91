"""Video files as streams of frames."""

import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import av
import numpy as np
import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from syncnerf.errors import UserError, one_line
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.lens import Lens, Undistorter
from syncnerf.scene.packets import Packets, decoded, read_packets
from syncnerf.scene.rgb_frames import FrameTraits, RgbConverter, first_traits

logger = logging.getLogger(__name__)

LARGEST_SIDE = 16384
"""Frames larger than this, per side in pixels, are taken for a damaged header."""
LATE_END = 1.5
"""Frame intervals by which a header may state a later end than the last frame's: it counts in rounded intervals."""


@dataclass(frozen=True)
class VideoProperties:
    """What the frames of a camera are.

    Attributes:
        width: of a frame, in pixels.
        height: of a frame, in pixels.
        fps: frames per second, the median where the rate varies; 0 if unknown.
        frame_count: number of frames T.
        times: each frame's time in seconds from the first one's where it is not k / fps, float64, shape [T].
        start_time: the first frame's time in seconds on the file's clock, which its sound goes by as well.
        stream: index of the video's stream in its file.
        untimed: why frames' times do not follow from timestamps; empty if they do.
        traits: how the stored pictures are turned upright (``width`` and ``height`` are those of the upright ones), and
            where their colours were sampled.
        discarded: number of packets that the file marks to be decoded and not shown, because it was cut.
    """

    width: int
    height: int
    fps: float
    frame_count: int
    times: Float64[Tensor, " T"] | None = None
    start_time: float = 0.0
    stream: int = 0
    untimed: str = "has no timestamps"
    traits: FrameTraits | None = None
    discarded: int = 0


def probe_video(path: Path, chapters: tuple[Path, ...] = ()) -> VideoProperties:
    """What a video holds, from its header, its packets' timestamps and its first frame; no more is decoded.

    Of several video streams it is the longest that is no attached picture (a thumbnail). Packets that the file marks
    to be discarded (it was cut without encoding it again) do not count.

    Args:
        path: the file.
        chapters: further files in which the camera went on without a gap.

    Raises:
        UserError: a file is missing, is no video, holds no frames, breaks off, or is no continuation of the first.
    """
    if chapters:
        return _joined([path, *chapters], [probe_video(part) for part in (path, *chapters)])
    if not path.is_file():
        raise UserError(f"{path}: no such video; add it, or correct what names it")
    status = path.stat()
    return _probed(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _probed(path: Path, size: int, changed: int) -> VideoProperties:
    """What :func:`probe_video` gives for one file, once per state of the file."""
    try:
        packets = read_packets(path)
        found = VideoProperties(packets.width, packets.height, packets.timing.fps, len(packets.stamps))
        _check_size(path, found)
        if packets.missing:
            count = f"{found.frame_count} of {found.frame_count + packets.missing}"
            raise UserError(f"{path}: breaks off after {count} frames; copy or encode it again")
        _warn_of_end(path, packets)
        traits = first_traits(path, packets.stream)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a video ({one_line(error)}); copy or encode it again") from error
    if traits.orientation.transposed:
        found = replace(found, width=found.height, height=found.width)
    return replace(
        found,
        times=packets.timing.times,
        start_time=packets.start_time,
        stream=packets.stream,
        untimed=packets.untimed,
        traits=traits,
        discarded=packets.discarded,
    )


def _warn_of_end(path: Path, packets: Packets) -> None:
    """Warn if a file ends in a picture, or before its header says so, as one copied in part; what is there is read."""
    if packets.breaks_off:
        logger.warning("%s: ends within a picture, which is left out; was it copied whole?", path)
    rate = packets.timing.fps
    if not packets.stated_end or not rate:
        return
    times, count = packets.timing.times, len(packets.stamps)
    end = packets.start_time + (count / rate if times is None else float(times[-1]) + 1 / rate)
    if packets.stated_end - end > LATE_END / rate:
        logger.warning(
            "%s: ends at %.3f s, where its header states %.3f s; was it copied whole?", path, end, packets.stated_end
        )


def _joined(paths: list[Path], parts: list[VideoProperties]) -> VideoProperties:
    """What consecutive files hold together; each begins one frame after the last one's end."""
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        if (part.width, part.height) != (first.width, first.height):
            raise UserError(f"{path}: is of another size than {paths[0].name}; is it the same recording?")
    # A part of a single frame needs no timestamps: its time is its beginning.
    untimed = next((part.untimed for part in parts if part.untimed and part.frame_count > 1), "")
    rates = _rates(parts)
    first = replace(first, fps=rates[0], frame_count=sum(part.frame_count for part in parts), untimed=untimed)
    if untimed or all(part.times is None and rate == first.fps for part, rate in zip(parts, rates, strict=True)):
        return first
    times = []
    for part, rate, begin in zip(parts, rates, _begins(parts), strict=True):
        own = torch.arange(part.frame_count, dtype=torch.float64) / rate if part.times is None else part.times
        times.append(begin + own)
    return replace(first, times=torch.cat(times))


def _rates(parts: Sequence[VideoProperties]) -> list[float]:
    """Frames per second of consecutive files, 0 for none; a file of one frame has the others'."""
    known = [part.fps for part in parts if part.fps and part.frame_count > 1] or [part.fps for part in parts]
    return [part.fps if part.fps and part.frame_count > 1 else known[0] for part in parts]


def file_begins(paths: Sequence[Path]) -> list[float]:
    """When the first frame of each of a recording's files was taken, in seconds from that of the first file.

    Raises:
        UserError: a file cannot be read as a video.
    """
    return _begins([probe_video(path) for path in paths])


def _begins(parts: Sequence[VideoProperties]) -> list[float]:
    """Seconds at which each of consecutive files begins: one frame after the last one's end."""
    begins = [0.0]
    for part, rate in zip(parts[:-1], _rates(parts), strict=False):
        interval = 1 / (rate or 1.0)
        last = (part.frame_count - 1) * interval if part.times is None else float(part.times[-1])
        begins.append(begins[-1] + last + interval)
    return begins


def _check_size(path: Path, properties: VideoProperties) -> None:
    """Raise UserError if the frames' size is impossible."""
    width, height = properties.width, properties.height
    if properties.frame_count == 0:
        raise UserError(f"{path}: holds no frames; copy or encode it again")
    if not 0 < min(width, height) <= max(width, height) <= LARGEST_SIDE:
        raise UserError(f"{path}: has frames of {width}x{height}; copy or encode it again")


def check_same_shape(source: Path, properties: VideoProperties, width: float, height: float, stated_in: str) -> None:
    """Raise UserError where frames have another aspect ratio than stated (rounding of a resampled copy allowed)."""
    stored_width, stored_height = properties.width, properties.height
    if abs(width * stored_height - height * stored_width) > max(stored_width, stored_height, width, height):
        raise UserError(
            f"{source}: is {stored_width}x{stored_height} but {stated_in} says {width:g}x{height:g}; "
            "correct one of the two"
        )


@dataclass(frozen=True)
class VideoSource:
    """Frames of a video file, resized to a camera's size and undistorted.

    Attributes:
        path: the file.
        lens: distortion to undo.
        chapters: further files in which the camera went on.
    """

    path: Path
    lens: Lens = field(default_factory=Lens)
    chapters: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The recording's files in order."""
        return (self.path, *self.chapters)

    def fingerprint(self) -> str:
        """Changes whenever a file does: names, sizes and times of change, and the lens."""
        parts = [(path.name, path.stat()) for path in self.paths]
        return "|".join([*(f"{name}|{status.st_size}|{status.st_mtime_ns}" for name, status in parts), str(self.lens)])

    def decode(self, intrinsics: Intrinsics) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Yield frames in order, upright, uint8 RGB, shape [height, width, 3].

        Args:
            intrinsics: of the camera, at the size to resample to.

        Raises:
            UserError: a file breaks off or is damaged.
        """
        undistort = None if self.lens.is_ideal else Undistorter(self.lens, intrinsics)
        for path in self.paths:
            for image in _decoded(path, intrinsics.width, intrinsics.height):
                yield image if undistort is None else undistort(image)


def _decoded(path: Path, width: int, height: int) -> Iterator[np.ndarray]:
    """A file's frames in order, upright and resampled."""
    properties = probe_video(path)
    to_rgb, first, damaged = RgbConverter(width, height, properties.traits), None, 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams[properties.stream]
            # Several videos are decoded at once, and single-threaded decoders are then the most efficient.
            stream.codec_context.thread_count = 1
            for number, frame in enumerate(decoded(container, stream)):
                first = first or (frame.width, frame.height)
                _check_aspect(path, number, first, (frame.width, frame.height))
                damaged += frame.is_corrupt
                yield to_rgb(frame)
    except (av.error.FFmpegError, ValueError) as error:
        raise UserError(f"{path}: decoding failed ({one_line(error)}); copy or encode it again") from error
    if damaged:
        status = path.stat()
        _warn_of_damage(path, status.st_size, status.st_mtime_ns, damaged)


@functools.lru_cache(maxsize=1024)
def _warn_of_damage(path: Path, size: int, changed: int, damaged: int) -> None:
    """Warn of damaged frames, once per state of the file, at however many sizes it is decoded."""
    logger.warning("%s: %d of its frames are damaged; copy it again", path, damaged)


def _check_aspect(path: Path, number: int, first: tuple[int, int], size: tuple[int, int]) -> None:
    """Raise UserError if a frame has another shape than the first, so that its pixels show other directions."""
    if abs(first[0] * size[1] - first[1] * size[0]) > max(*first, *size):
        raise UserError(
            f"{path}: changes from {first[0]}x{first[1]} to {size[0]}x{size[1]} pixels at frame {number}; cut it there"
        )
