"""What may happen to a camera's pictures, uint8 [T, height, width, 3], changed in place."""

from __future__ import annotations

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
