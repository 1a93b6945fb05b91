"""Converts decoded frames to RGB arrays: upright, downscaled by averaging, colours not shifted."""

import itertools
import re
from pathlib import Path
from typing import NamedTuple

import av
import av.logging
import numpy as np
from av.filter import Graph
from av.video.reformatter import Interpolation, VideoReformatter
from jaxtyping import UInt8

SCALING = "area+accurate_rnd+full_chroma_int+full_chroma_inp"
"""Options for ffmpeg's scaler. Area averaging avoids aliasing in small images. Without the other three it takes short
cuts, which shift colours by a pixel and, at some ratios, average over wrong areas, even of RGB images."""
AREA = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
"""The same as flags for PyAV."""
CENTRED = ("mjpeg", "mpeg1video")
"""Codecs whose colour samples lie in the middle of the pixels that share them, by default; others' lie at the left."""


class Orientation(NamedTuple):
    """How a stored picture is turned upright: rows and columns exchanged, then mirrored."""

    transposed: bool
    mirrored_x: bool
    mirrored_y: bool

    def upright(self, image: UInt8[np.ndarray, "height width ..."]) -> UInt8[np.ndarray, "_ _ ..."]:
        """A view of an image [height, width, ...] turned upright."""
        if self.transposed:
            image = image.swapaxes(0, 1)
        return image[:: -1 if self.mirrored_y else 1, :: -1 if self.mirrored_x else 1]


UPRIGHT = Orientation(False, False, False)


class FrameTraits(NamedTuple):
    """How to turn a file's pictures upright, where colour samples lie (ffmpeg's names), whether it is interlaced."""

    orientation: Orientation
    colour_site: str
    interlaced: bool = False


def first_traits(path: Path, stream: int) -> FrameTraits:
    """The traits of a file's first frame, which stand for all; upright and the codec's default if it states none.

    Raises:
        ValueError: the pictures are to be turned by an angle that is no multiple of 90 degrees.
        av.error.FFmpegError: the frame cannot be decoded.
    """
    with av.open(str(path)) as container:
        codec = container.streams[stream].codec_context
        codec.thread_count = 1
        frame = next(container.decode(container.streams[stream]), None)
        if frame is None:
            return FrameTraits(UPRIGHT, "left")
        site = _tagged_site(frame)
        if site == "unspecified":
            site = "center" if codec.name in CENTRED else "left"
        return FrameTraits(_orientation(frame), site, frame.interlaced_frame)


def display_matrix(frame: av.VideoFrame) -> list[int] | None:
    """The matrix by which a frame is marked to be turned (ISO/IEC 14496-12, 6.2.2), nine numbers; None for none."""
    side = next((side for side in frame.side_data if side.type.name == "DISPLAYMATRIX"), None)
    return None if side is None else np.frombuffer(side, dtype=np.int32)[:9].tolist()


def _orientation(frame: av.VideoFrame) -> Orientation:
    """How a frame is marked to be turned; raises ValueError."""
    matrix = display_matrix(frame)
    if matrix is None:
        return UPRIGHT
    # Pixel (x, y) is shown at (a x + c y, b x + d y), up to a shift, in 1/65536.
    a, b, _, c, d = matrix[:5]
    if b == c == 0 != a * d:
        return Orientation(False, a < 0, d < 0)
    if a == d == 0 != b * c:
        return Orientation(True, c < 0, b < 0)
    raise ValueError(f"is marked as turned by {frame.rotation} degrees; quarters can be undone")


def _tagged_site(frame: av.VideoFrame) -> str:
    """Where a frame's colour samples lie; the filter that shows its properties is the only thing that tells it."""
    graph = _linked(frame, ("showinfo", ""))
    level = av.logging.get_level()
    try:
        av.logging.set_level(av.logging.INFO)
        with av.logging.Capture() as lines:
            graph.vpush(frame)
            graph.vpull()
    finally:
        av.logging.set_level(level)
    found = re.search(r"\bcl:(\w+)", "".join(line for *_, line in lines))
    return found[1] if found else "unspecified"


class RgbConverter:
    """Turns decoded frames into upright RGB arrays of one size.

    Args:
        width: of the upright result, in pixels.
        height: of the upright result, in pixels.
        traits: of the frames.
    """

    def __init__(self, width: int, height: int, traits: FrameTraits):
        self.orientation = traits.orientation
        if traits.orientation.transposed:
            width, height = height, width
        self._scaling = f"{width}:{height}:flags={SCALING}:in_chroma_loc={traits.colour_site}"
        self._graph, self._made_for = None, None

    def __call__(self, frame: av.VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
        """Convert one frame, uint8, shape [height, width, 3], a view of memory that is not used again."""
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._made_for:
            steps = ("scale", self._scaling), ("format", "pix_fmts=rgb24")
            self._graph, self._made_for = _linked(frame, *steps), shape
        self._graph.vpush(frame)
        return self.orientation.upright(pixels(self._graph.vpull()))


def _linked(frame: av.VideoFrame, *filters: tuple[str, str]) -> Graph:
    """A chain of filters (names and arguments) for frames like this one."""
    graph = Graph()
    graph.threads = 1  # as for decoding
    steps = [
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base),
        *(graph.add(name, arguments) for name, arguments in filters),
        graph.add("buffersink"),
    ]
    for before, after in itertools.pairwise(steps):
        before.link_to(after)
    graph.configure()
    return graph


class AreaAverage:
    """Averages RGB images over areas: each new pixel is the mean of what it covers, to within rounding.

    Args:
        width: of the result, in pixels.
        height: of the result, in pixels.
    """

    def __init__(self, width: int, height: int):
        self._size = (width, height)
        self._scaler = VideoReformatter()  # one for all images: setting it up costs a tenth of using it

    def __call__(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
        """Resample one image, uint8 [height, width, 3], to the new size."""
        if image.shape[1::-1] == self._size:
            return image
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        return pixels(self._scaler.reformat(frame, *self._size, "rgb24", interpolation=AREA, threads=1))


def pixels(frame: av.VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
    """A view of an RGB frame's pixels, uint8, shape [height, width, 3], without the padding of its lines."""
    plane = frame.planes[0]
    lines = np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)[: frame.height, : 3 * frame.width]
    return lines.reshape(frame.height, frame.width, 3)
