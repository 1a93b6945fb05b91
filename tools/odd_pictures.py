"""What may happen to a camera's pictures, uint8 [T, height, width, 3], changed in place."""

from __future__ import annotations

import io
from collections.abc import Callable

import av
import numpy as np


def black(frames: np.ndarray, generator: np.random.Generator) -> None:
    """The beginning is black."""
    frames[: int(generator.integers(5, 15))] = 0


def fade(frames: np.ndarray, generator: np.random.Generator) -> None:
    """It brightens slowly at the beginning."""
    count = int(generator.integers(8, 20))
    for index in range(count):
        frames[index] = frames[index] * (index / count)


def cut(frames: np.ndarray, generator: np.random.Generator) -> None:
    """Another picture for the last quarter: this one, turned and mirrored."""
    first = len(frames) - len(frames) // 4
    frames[first:] = frames[first:, ::-1, ::-1]


def cap(frames: np.ndarray, generator: np.random.Generator) -> None:
    """A lens cap, for a while."""
    first = int(generator.integers(min(10, len(frames) // 3), max(len(frames) - 25, len(frames) // 3 + 1)))
    frames[first : first + int(generator.integers(6, 15))] = 4


def flash(frames: np.ndarray, generator: np.random.Generator) -> None:
    """A photographer's flash: one frame nearly white, the next a little bright."""
    at = int(generator.integers(5, len(frames) - 6))
    for index, gain, lift in ((at, 2.0, 90.0), (at + 1, 1.2, 15.0)):
        frames[index] = (frames[index] * gain + lift).clip(0, 255).astype(np.uint8)


def flicker(frames: np.ndarray, generator: np.random.Generator) -> None:
    """Lamps on alternating current: the brightness beats with the frames."""
    phase = generator.uniform(0, 2 * np.pi)
    for index in range(len(frames)):
        frames[index] = (frames[index] * (1 + 0.06 * np.sin(phase + 2.1 * index))).clip(0, 255)


SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")
"""The strokes of the digits 0 to 9 in a display of seven."""


def clock(frames: np.ndarray, generator: np.random.Generator) -> None:
    """A running clock in a corner, hours to milliseconds, white on black, by the file's own frames at 30 a second."""
    corner = _corner(frames, generator)
    thick = max(1, round(0.01 * min(frames.shape[1:3])))
    begin = int(generator.integers(0, 24 * 3600 * 1000))
    for index in range(len(frames)):
        milliseconds = (begin + round(index * 1000 / 30)) % (24 * 3600 * 1000)
        seconds = milliseconds // 1000
        shown = f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}{milliseconds % 1000:03d}"
        picture = np.kron(np.hstack([_digit(int(each)) for each in shown]), np.ones((thick, thick), dtype=np.uint8))
        into = corner(frames[index])[: picture.shape[0], : picture.shape[1]]
        into[:] = picture[: into.shape[0], : into.shape[1], None]


def blink(frames: np.ndarray, generator: np.random.Generator) -> None:
    """A red disc in a corner, shown for half of each second at 30 frames a second."""
    corner, radius = _corner(frames, generator), 0.04 * min(frames.shape[1:3])
    phase = int(generator.integers(30))
    row, column = (np.indices(corner(frames[0]).shape[:2]) - radius) / radius
    disc = row**2 + column**2 < 1
    for index in range(len(frames)):
        if (index + phase) % 30 < 15:
            corner(frames[index])[disc] = 255, 0, 0


def _corner(frames: np.ndarray, generator: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """What shows the right or left, lower or upper part of a picture, for something to be drawn from its begin on."""
    height, width = frames.shape[1:3]
    down = slice(int(0.88 * height), None) if generator.random() < 0.5 else slice(2, None)
    across = slice(int(0.55 * width), None) if generator.random() < 0.5 else slice(2, None)
    return lambda picture: picture[down, across]


def _digit(number: int) -> np.ndarray:
    """A digit's strokes with a gap behind, 0 or 255, uint8, shape [7, 5]."""
    places = {
        "a": np.s_[0, 0:4], "b": np.s_[0:4, 3], "c": np.s_[3:7, 3], "d": np.s_[6, 0:4],
        "e": np.s_[3:7, 0], "f": np.s_[0:4, 0], "g": np.s_[3, 0:4],
    }  # fmt: skip
    picture = np.zeros((7, 5), dtype=np.uint8)
    for stroke in SEGMENTS[number]:
        picture[places[stroke]] = 255
    return picture


def key_frames(frames: np.ndarray) -> np.ndarray:
    """The pictures as they come back from a strongly compressed file with a key frame at each 12th place."""
    height, width = (side // 2 * 2 for side in frames.shape[1:3])
    file, coded = io.BytesIO(), frames.copy()
    options = {"crf": "28", "bf": "0", "keyint_min": "12", "sc_threshold": "0"}
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size, stream.codec_context.thread_count = 12, 1
        for image in np.ascontiguousarray(frames[:, :height, :width]):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        coded[:, :height, :width] = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return coded
