"""What may happen to a camera's pictures, uint8 [T, height, width, 3], changed in place."""

from __future__ import annotations

import io

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
