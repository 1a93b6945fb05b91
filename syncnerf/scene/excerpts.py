"""Reads only some frames of a camera, so that long recordings need not be decoded as a whole."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float64, UInt8

from syncnerf.errors import UserError, one_line
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.frame_cache import FrameSource
from syncnerf.scene.lens import Lens, Undistorter
from syncnerf.scene.packets import decoded
from syncnerf.scene.rgb_frames import RgbConverter
from syncnerf.scene.video import VideoProperties, VideoSource, probe_video

EARLIER = 0.5
"""Decoding starts at the last key frame that lies at least so many seconds before the first wanted frame."""


@dataclass(frozen=True)
class Excerpt:
    """Frames of another source.

    A video is entered at the key frame before the first of them; other sources are read from their beginning.

    Attributes:
        source: of all frames.
        frames: indices in ascending order.
        exact: whether exactly these frames are needed. If not, a frame shortly after will do, and decoding is faster:
            it skips frames that no other frame depends on.
    """

    source: FrameSource
    frames: tuple[int, ...]
    exact: bool = True

    @property
    def path(self) -> Path:
        """The file or folder of all frames."""
        return self.source.path

    @property
    def lens(self) -> Lens:
        """Distortion that is undone while reading."""
        return getattr(self.source, "lens", Lens())

    def fingerprint(self) -> str:
        """Changes with the source and the choice of frames."""
        chosen = hashlib.sha256(np.array(self.frames).tobytes()).hexdigest()[:16]
        return f"{self.source.fingerprint()}|{chosen}|{self.exact}"

    def decode(self, intrinsics: Intrinsics) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Yield the frames in order, uint8 RGB, shape [height, width, 3].

        Raises:
            UserError: the source breaks off or is damaged.
        """
        if isinstance(self.source, VideoSource):
            yield from self._of_video(self.source, intrinsics)
            return
        wanted = iter(self.frames)
        following = next(wanted, None)
        for number, image in enumerate(self.source.decode(intrinsics)):
            while following == number:
                yield image
                following = next(wanted, None)
            if following is None:
                return

    def _of_video(self, source: VideoSource, intrinsics: Intrinsics) -> Iterator[np.ndarray]:
        undistort = None if source.lens.is_ideal else Undistorter(source.lens, intrinsics)
        before = 0
        for path in source.paths:
            count = probe_video(path).frame_count
            own = [index - before for index in self.frames if before <= index < before + count]
            before += count
            for image in _frames_of(path, own, self.exact, intrinsics) if own else ():
                yield image if undistort is None else undistort(image)


def _frames_of(path: Path, frames: list[int], exact: bool, intrinsics: Intrinsics) -> Iterator[np.ndarray]:
    """Frames of one file, upright and resampled; raises UserError."""
    properties = probe_video(path)
    to_rgb = RgbConverter(intrinsics.width, intrinsics.height, properties.traits)
    wanted, image = iter(frames), None
    following = next(wanted)
    try:
        with av.open(str(path)) as container:
            for number, frame in _numbered(container, properties, frames[0], exact):
                if number < following:
                    continue
                image = to_rgb(frame)
                while following is not None and following <= number:
                    yield image
                    following = next(wanted, None)
                if following is None:
                    return
            while following is not None and image is not None:  # the last frames were not decoded
                yield image
                following = next(wanted, None)
    except (av.error.FFmpegError, ValueError) as error:
        raise UserError(f"{path}: decoding failed ({one_line(error)}); copy or encode it again") from error


def _numbered(
    container: av.container.InputContainer, properties: VideoProperties, first: int, exact: bool
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decoded frames with their indices, from the key frame before the first wanted one on."""
    stream = container.streams[properties.stream]
    stream.codec_context.thread_count = 1
    if not exact:
        stream.codec_context.skip_frame = "NONREF"
    if properties.untimed:
        yield from enumerate(decoded(container, stream))
        return
    times = frame_seconds(properties)
    if times[first] > 2 * EARLIER:
        target = properties.start_time + times[first] - EARLIER
        container.seek(int(target / stream.time_base), stream=stream)
    middle = 0.5 * (times[1:] + times[:-1])
    for frame in decoded(container, stream):
        if frame.time is not None:
            yield int(np.searchsorted(middle, frame.time - properties.start_time)), frame


def frame_seconds(properties: VideoProperties) -> Float64[np.ndarray, " T"]:
    """Each frame's time in seconds from the first one's, float64, shape [T]."""
    if properties.times is not None:
        return properties.times.numpy()
    return np.arange(properties.frame_count) / properties.fps
