"""What pictures are compared by."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

SIDE = 7
"""Pixels along a side of the windows in which structure is compared."""
STRIDE = 3
"""Pixels from window to window."""
LIGHT, CONTRAST = 0.01**2, 0.03**2
"""Constants of the structural similarity, of colours in [0, 1]."""


def dissimilarity(rendered: Float[Tensor, "B H W 3"], truth: Float[Tensor, "B H W 3"]) -> Float[Tensor, ""]:
    """One minus the mean structural similarity (Wang et al. 2004) of pictures [B, H, W, 3].

    Windows are flat and lie within the pictures; they overlap by half.
    """
    if min(rendered.shape[1:3]) < SIDE:
        return (rendered - truth).abs().mean()
    one, two = (pictures.permute(0, 3, 1, 2).contiguous() for pictures in (rendered, truth))
    pictures = one, two, one * one, two * two, one * two
    mean, mean_2, square, square_2, product = map(window_means, pictures)
    both, lights = mean * mean_2, mean * mean + mean_2 * mean_2
    alike = (2 * both + LIGHT) * (2 * (product - both) + CONTRAST)
    apart = (lights + LIGHT) * (square + square_2 - lights + CONTRAST)
    return 1.0 - (alike / apart).mean()


def window_means(values: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
    """Means over windows of :data:`SIDE` pixels, :data:`STRIDE` apart, of [B, C, H, W].

    As products with two matrices: on a CPU, half the time of pooling and its gradient.
    """
    rows, columns = (_windows(length, values.dtype, values.device) for length in values.shape[-2:])
    # 16 bits are too few for variances.
    with torch.autocast(values.device.type, enabled=False):
        return (rows @ values) @ columns.T


@lru_cache(maxsize=16)
def _windows(length: int, kind: torch.dtype, device: torch.device) -> Float[Tensor, "windows length"]:
    """What each pixel of a row counts in each window's mean."""
    first = torch.arange(0, length - SIDE + 1, STRIDE, device=device)
    place = torch.arange(length, device=device) - first[:, None]
    return ((place >= 0) & (place < SIDE)).to(kind) / SIDE
