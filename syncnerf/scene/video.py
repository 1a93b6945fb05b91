"""Video files as streams of frames."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from syncnerf.errors import UserError
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.lens import Lens, Undistorter


@dataclass(frozen=True)
class VideoProperties:
    """What a video's header says: size in pixels, frames per second, number of frames."""

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
        raise UserError(f"{path}: no such video; check file_path in transforms.json or add the file")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(f"{path}: has no video stream; replace it with a video")
            stream = container.streams.video[0]
            count = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
            rate = stream.average_rate or stream.guessed_rate
            properties = VideoProperties(stream.width, stream.height, float(rate or 0), count)
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(f"{path}: cannot be read as a video ({_reason(error)}); copy or encode it again") from error
    if properties.frame_count == 0:
        raise UserError(f"{path}: holds no frames; copy or encode it again")
    return properties


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

        Raises:
            UserError: the file breaks off or is damaged.
        """
        undistort = None if self.lens.is_ideal else Undistorter(self.lens, intrinsics)
        try:
            with av.open(str(self.path)) as container:
                for frame in container.decode(video=0):
                    image = frame.to_ndarray(
                        format="rgb24", width=intrinsics.width, height=intrinsics.height, interpolation="AREA"
                    )
                    yield image if undistort is None else undistort(image)
        except av.error.FFmpegError as error:
            raise UserError(f"{self.path}: decoding failed ({_reason(error)}); copy or encode it again") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
