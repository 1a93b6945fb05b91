"""Some pixels of every frame, looked at frame by frame, in memory that does not grow with what is computed of them."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Shaped, UInt8
from torch import Tensor

from syncnerf.scene.frame_cache import release_pages

PIECE_BYTES = 2 << 20
"""Frames are looked at in pieces of about this many bytes: what a processor's cache holds."""


@runtime_checkable
class Frames(Protocol):
    """Frames, uint8 RGB, shape [T, height, width, 3]: an array, or what makes slices of one when they are asked for."""

    shape: tuple[int, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any) -> Any: ...


def sampled_pixels(frames: Frames, samples: int) -> UInt8[Tensor, "T rows columns 3"]:
    """Every so many pixels of all frames along both axes, uint8, shape [T, rows, columns, 3].

    Args:
        frames: uint8 RGB, shape [T, height, width, 3]; read in pieces, so it may be a memory map.
        samples: about how many pixels of each frame.
    """
    count, height, width, _ = frames.shape
    stride = max(1, round((height * width / samples) ** 0.5))
    chosen = np.empty((count, -(-height // stride), -(-width // stride), 3), dtype=np.uint8)
    step = max(1, PIECE_BYTES // (height * width * 3))
    for first in range(0, count, step):
        chosen[first : first + step] = frames[first : first + step, ::stride, ::stride]
        release_pages(frames)
    return torch.from_numpy(chosen)


def of_each_frame(
    pixels: UInt8[Tensor, "T ..."], work: Callable[[Float32[Tensor, "t ..."]], Shaped[Tensor, "t ..."]]
) -> Shaped[Tensor, "T ..."]:
    """What is computed of each frame by itself, from the pixels as floats.

    Args:
        pixels: uint8, shape [T, ...].
        work: from float32 pixels of some frames, shape [t, ...], to a tensor of shape [t, ...].
    """
    step = max(1, PIECE_BYTES // max(1, 4 * pixels[0].numel()))
    return torch.cat([work(piece.float()) for piece in pixels.split(step)])
