"""Small windows of a picture found again in the next one (Lucas and Kanade, IJCAI 1981), on one level of a pyramid.

Where there is a C compiler a kernel does it, eight times faster; else the same in torch.
"""

import ctypes
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn.functional import grid_sample

from syncnerf.native import compile_native

SOURCE = Path(__file__).with_name("windows.c")
WINDOW = 4
"""Pixels on either side of a point that its window holds."""
ROUNDS = 8
"""Gauss-Newton steps."""
LONGEST = 2.0
"""Pixels, along each axis, of a step at most."""
DAMPING = 1e-2
"""Added to the diagonal of the normal matrix, squared grey levels: flat windows stay where they are."""


def moved_windows(
    before: Float32[Tensor, "1 3 height width"],
    after: Float32[Tensor, "1 3 height width"],
    places: Float32[Tensor, "N 2"],
    shifts: Float32[Tensor, "N 2"],
) -> Float32[Tensor, "N 2"]:
    """How far windows have moved from one picture to the other.

    Args:
        before: colours in grey levels, shape [1, 3, height, width].
        after: the other picture, likewise.
        places: of the windows in ``before``, pixels (pixel centres at +0.5), shape [N, 2].
        shifts: first guesses, shape [N, 2].

    Returns:
        Shifts, shape [N, 2].
    """
    kernel = library()
    if kernel is None:
        return moved_windows_torch(before, after, places, shifts)
    height, width = before.shape[-2:]
    before, after, places = before.contiguous(), after.contiguous(), places.contiguous()
    shifts, weights = shifts.clone(memory_format=torch.contiguous_format), _weights()
    failed = kernel.move_windows(
        before.data_ptr(), after.data_ptr(), width, height, places.data_ptr(), shifts.data_ptr(), len(places), WINDOW,
        ROUNDS, weights.data_ptr(), DAMPING, LONGEST,
    )  # fmt: skip
    if failed:
        raise ValueError(f"windows of {WINDOW} pixels to all sides are larger than the kernel has room for")
    return shifts


def moved_windows_torch(
    before: Float32[Tensor, "1 3 height width"],
    after: Float32[Tensor, "1 3 height width"],
    places: Float32[Tensor, "N 2"],
    shifts: Float32[Tensor, "N 2"],
) -> Float32[Tensor, "N 2"]:
    """The same in plain torch."""
    windows, unit = places[:, None] + window_offsets(), torch.eye(2)
    template = sample(before, windows)
    across = 0.5 * (sample(before, windows + unit[0]) - sample(before, windows - unit[0]))
    down = 0.5 * (sample(before, windows + unit[1]) - sample(before, windows - unit[1]))
    falloff = _weights()[:, None]
    gradient = torch.stack([across, down], -1) * falloff[..., None].sqrt()
    inverse = torch.linalg.inv(torch.einsum("nkca,nkcb->nab", gradient, gradient) + DAMPING * unit)
    for _ in range(ROUNDS):
        difference = template - sample(after, windows + shifts[:, None])
        right = torch.einsum("nkca,nkc->na", gradient, difference * falloff.sqrt())
        shifts = shifts + (inverse @ right[..., None])[..., 0].clamp(-LONGEST, LONGEST)
    return shifts


def sample(
    image: Float32[Tensor, "1 channels height width"], points: Float32[Tensor, "N K 2"]
) -> Float32[Tensor, "N K channels"]:
    """Bilinear samples at points [N, K, 2] in pixels of the image; shape [N, K, channels]."""
    size = torch.tensor([image.shape[-1], image.shape[-2]], dtype=torch.float32)
    grid = (2 * points / size - 1)[None]
    return grid_sample(image, grid, padding_mode="border", align_corners=False)[0].permute(1, 2, 0)


@cache
def window_offsets() -> Float32[Tensor, "1 K 2"]:
    """A window's pixels from its middle, row by row, shape [1, K, 2]."""
    span = torch.arange(-WINDOW, WINDOW + 1, dtype=torch.float32)
    return torch.stack(torch.meshgrid(span, span, indexing="xy"), -1).reshape(1, -1, 2)


@cache
def _weights() -> Tensor:
    """What each pixel of a window counts, shape [K]."""
    return torch.exp(-0.5 * (window_offsets()[0].norm(dim=-1) / (0.6 * WINDOW)) ** 2)


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernel; None where it cannot be had."""
    found = compile_native(SOURCE)
    if found is not None:
        pointer, whole, real = ctypes.c_void_p, ctypes.c_int, ctypes.c_float
        found.move_windows.argtypes = [
            pointer, pointer, whole, whole, pointer, pointer, ctypes.c_int64, whole, whole, pointer, real, real,
        ]  # fmt: skip
    return found
