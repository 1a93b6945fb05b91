"""Video files as streams of frames."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.frame_times import FrameTiming, timing
from syncnerf.scene.lens import Lens, Undistorter
from syncnerf.scene.transforms import one_line

LARGEST_SIDE = 16384
"""Frames larger than this, per side in pixels, are taken for a damaged header."""


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
        untimed: why no timestamps decide the frames' times; empty where they do.
    """

    width: int
    height: int
    fps: float
    frame_count: int
    times: Tensor | None = None
    start_time: float = 0.0
    stream: int = 0
    untimed: str = "has no timestamps"


def probe_video(path: Path) -> VideoProperties:
    """What a video holds, from its header and its packets' timestamps; nothing is decoded.

    Of several video streams it is the longest that is no attached picture (a thumbnail). Packets that the file marks
    to be discarded (it was cut without encoding it again) do not count.

    Raises:
        UserError: the file is missing, is no video, holds no frames or breaks off.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such video; add it, or correct what names it")
    status = path.stat()
    return _probed(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _probed(path: Path, size: int, changed: int) -> VideoProperties:
    """What :func:`probe_video` gives, once per state of the file."""
    try:
        with av.open(str(path)) as container:
            stream, packets = _longest_stream(container)
            rates = [float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
            timing, untimed = _timing(packets, float(stream.time_base), rates)
            first = min((stamp for stamp in packets if stamp is not None), default=0)
            properties = VideoProperties(
                stream.width, stream.height, timing.fps, len(packets), timing.times, float(first * stream.time_base),
                stream.index, untimed,
            )  # fmt: skip
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a video ({one_line(error)}); copy or encode it again") from error
    if properties.frame_count == 0:
        raise UserError(f"{path}: holds no frames; copy or encode it again")
    if not 0 < min(properties.width, properties.height) <= max(properties.width, properties.height) <= LARGEST_SIDE:
        raise UserError(f"{path}: has frames of {properties.width}x{properties.height}; copy or encode it again")
    return properties


def _longest_stream(container: av.container.InputContainer) -> tuple[av.VideoStream, list[int | None]]:
    """The file's video, and its packets' timestamps (None where a packet has none) in ticks."""
    streams = container.streams.video
    streams = [s for s in streams if not s.disposition & av.stream.Disposition.attached_pic] or streams
    if not streams:
        raise ValueError("no video stream")
    stamps = {stream.index: [] for stream in streams}
    for packet in container.demux(*streams):
        if packet.size and not packet.is_discard:
            stamps[packet.stream_index].append(packet.pts)
    stream = max(streams, key=lambda stream: (len(stamps[stream.index]), stream.width * stream.height))
    return stream, stamps[stream.index]


def _timing(stamps: list[int | None], tick: float, rates: list[float]) -> tuple[FrameTiming, str]:
    """The frames' times, and why the timestamps do not decide them (empty where they do)."""
    stated = FrameTiming(rates[0] if rates else 0.0, None)
    if len(stamps) < 2:
        return stated, "has less than two frames"
    if None in stamps:
        return stated, "has no timestamps"
    ordered = np.sort(np.array(stamps, dtype=np.int64))
    if (np.diff(ordered) <= 0).any():
        return stated, "has timestamps that do not increase"
    return timing((ordered - ordered[0]) * tick, tick, rates), ""


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
    """Frames of a video file, resized to a camera's size and undistorted."""

    path: Path
    lens: Lens = field(default_factory=Lens)

    def fingerprint(self) -> str:
        """Changes whenever the file does: name, size and time of change, and the lens."""
        status = self.path.stat()
        return f"{self.path.name}|{status.st_size}|{status.st_mtime_ns}|{self.lens}"

    def decode(self, intrinsics: Intrinsics) -> Iterator[np.ndarray]:
        """Yield frames in order, uint8 RGB, shape [height, width, 3].

        Args:
            intrinsics: of the camera, at the size to resample to.

        Raises:
            UserError: the file breaks off, is damaged or is marked as rotated.
        """
        undistort = None if self.lens.is_ideal else Undistorter(self.lens, intrinsics)
        width, height = intrinsics.width, intrinsics.height
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams[probe_video(self.path).stream]
                # Several videos are decoded at once: a decoder of one thread is then the most economical.
                stream.codec_context.thread_count = 1
                scaler = VideoReformatter()  # one for all frames: setting it up costs a tenth of using it
                for number, frame in enumerate(container.decode(stream)):
                    if number == 0 and frame.rotation:
                        raise UserError(f"{self.path}: is marked as rotated; encode it again upright")
                    # Averaging over areas keeps small images free of aliases. Not FAST_BILINEAR, not even at full size:
                    # it shifts the chroma of 4:4:4 videos by a pixel. One thread, as for decoding.
                    scaled = scaler.reformat(frame, width, height, "rgb24", interpolation="AREA", threads=1)
                    image = _pixels(scaled)
                    yield image if undistort is None else undistort(image)
        except (av.error.FFmpegError, ValueError) as error:
            raise UserError(f"{self.path}: decoding failed ({one_line(error)}); copy or encode it again") from error


def _pixels(frame: av.VideoFrame) -> np.ndarray:
    """A view of an RGB frame's pixels, uint8, shape [height, width, 3], without the padding of its lines."""
    plane = frame.planes[0]
    lines = np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)[: frame.height, : 3 * frame.width]
    return lines.reshape(frame.height, frame.width, 3)
