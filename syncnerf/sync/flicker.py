"""A video's flicker: by how much each frame is brighter than the one before, told by what stands still."""

import math
from itertools import combinations

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from syncnerf.sync.frame_samples import Frames, of_each_frame, sampled_pixels

DARK, CLIPPED = 24, 253
"""Channel values up to the one are too coarse to tell a ratio, from the other on may stand for anything brighter."""
LEAST_PIXELS = 30
"""Channel values of a part of the image that must agree on a ratio ..."""
AGREES, AGREEING = 0.02, 0.5
"""... to within this logarithm, and their share of those that could: what moves agrees on none."""
ALIKE, LEAST_FLICKER = 0.5, 1e-6
"""Share of the parts' squared changes that they must have in common, and squared change that is worth correcting."""
WIDTHS = (0.03, 0.02, 0.01, 0.007, 0.007)
"""Of the windows with which the mode of the logarithms is sought, ever narrower."""


def frame_gains(frames: Frames, samples: int = 1500) -> Float32[Tensor, " T"] | None:
    """Each frame's global brightness factor, relative to the video's median frame.

    From frame to frame it is the mode of the ratios of (sub-sampled) channel values, found by a Cauchy-weighted mean
    that pixels in motion hardly touch. Clipped values tell nothing, but a white wall tells while it is dimmed. The
    changes are measured in the four quarters of the image too: true flicker moves them together, motion does not.
    Where they disagree there is nothing to correct.

    Args:
        frames: uint8 RGB, shape [T, height, width, 3].
        samples: about how many pixels to look at, in all three channels.

    Returns:
        Factors, float32, shape [T]; None where there is no flicker to speak of.
    """
    pixels = sampled_pixels(frames, samples)
    count, rows, columns, _ = pixels.shape
    if count < 3 or min(rows, columns) < 2:
        return None
    halves = [slice(0, rows // 2), slice(rows // 2, rows)], [slice(0, columns // 2), slice(columns // 2, columns)]
    quarters = [_changes(pixels[:, down, across]) for down in halves[0] for across in halves[1]]
    shared, whole, compared = 0.0, 0.0, 0
    for (one, one_told), (two, two_told) in combinations(quarters, 2):
        both = one_told & two_told
        shared += float((one * two)[both].sum())
        whole += 0.5 * float((one.square() + two.square())[both].sum())
        compared += int(both.sum())
    if compared == 0 or shared < max(ALIKE * whole, LEAST_FLICKER * compared):
        return None
    changes, _ = _changes(pixels)
    gains = torch.cat([torch.zeros(1), changes.cumsum(0)])
    return (gains - gains.median()).exp()


def _changes(pixels: Tensor) -> tuple[Float32[Tensor, " I"], Bool[Tensor, " I"]]:
    """Logarithms of the ratios of consecutive frames' brightness, and which of them enough agrees on.

    Args:
        pixels: uint8, shape [T, ...].
    """
    pairs = torch.stack([pixels[:-1].flatten(1), pixels[1:].flatten(1)], dim=1)
    found = of_each_frame(pairs, _change)
    return found[:, 0], found[:, 1] > 0


def _change(pairs: Float32[Tensor, "t 2 P"]) -> Float32[Tensor, "t 2"]:
    """The ratio's logarithm for each pair of frames, and 1 where enough agrees on it."""
    first, second = pairs.unbind(1)
    usable = (pairs > DARK).all(1) & (pairs < CLIPPED).all(1)
    logs = (second.clamp_min(1.0) / first.clamp_min(1.0)).log()
    centre = logs.masked_fill(~usable, math.nan).nanmedian(dim=1).values.nan_to_num()
    for width in WIDTHS:
        weights = usable / (1 + ((logs - centre[:, None]) / width).square())
        centre = (weights * logs).sum(1) / weights.sum(1).clamp_min(1e-9)
    agreeing = (usable & ((logs - centre[:, None]).abs() < AGREES)).sum(1)
    told = (agreeing >= LEAST_PIXELS) & (agreeing >= AGREEING * usable.sum(1))
    return torch.stack([centre, told.float()], dim=1)
