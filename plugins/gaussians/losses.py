"""What pictures are compared by."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

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
    one, two = (pictures.permute(0, 3, 1, 2) for pictures in (rendered, truth))
    every = torch.cat([one, two, one * one, two * two, one * two], dim=1)
    mean, mean_2, square, square_2, product = avg_pool2d(every, SIDE, STRIDE).chunk(5, dim=1)
    both, lights = mean * mean_2, mean * mean + mean_2 * mean_2
    alike = (2 * both + LIGHT) * (2 * (product - both) + CONTRAST)
    apart = (lights + LIGHT) * (square + square_2 - lights + CONTRAST)
    return 1.0 - (alike / apart).mean()
