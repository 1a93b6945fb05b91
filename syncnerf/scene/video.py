"""Video files as streams of frames."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from syncnerf.errors import UserError
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.lens import Lens, Undistorter
from syncnerf.scene.transforms import one_line

LARGEST_SIDE = 16384
"""Frames larger than this, per side in pixels, are taken for a damaged header."""


@dataclass(frozen=True)
class VideoProperties:
    """What the frames of a camera are: size in pixels, frames per second (0 if unknown), number of frames."""

    width: int
    height: int
    fps: float
    frame_count: int


def probe_video(path: Path) -> VideoProperties:
    """Read a video's header; packets are counted (without decoding) where the header has no frame count.

    Raises:
        UserError: the file is missing, is no video, or holds no frames.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such video; add it, or correct what names it")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(f"{path}: has no video stream; replace it with a video")
            stream = container.streams.video[0]
            count = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
            rate = stream.average_rate or stream.guessed_rate
            properties = VideoProperties(stream.width, stream.height, float(rate or 0), count)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a video ({one_line(error)}); copy or encode it again") from error
    if properties.frame_count == 0:
        raise UserError(f"{path}: holds no frames; copy or encode it again")
    if not 0 < min(properties.width, properties.height) <= max(properties.width, properties.height) <= LARGEST_SIDE:
        raise UserError(f"{path}: has frames of {properties.width}x{properties.height}; copy or encode it again")
    return properties


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
                stream = container.streams.video[0]
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
