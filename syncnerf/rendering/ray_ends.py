"""Rays that are known to end at a distance: a loss that makes the field opaque there, and clear before."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

REACH = 0.03
"""Share of its distance by which a ray may end earlier or later."""
DOUBT = 0.01
"""Chance that a distance is wrong: a ray that ends elsewhere costs ``-log(DOUBT)`` at most."""


def end_shares(
    starts: Float[Tensor, "*samples"], stops: Float[Tensor, "*samples"], distances: Float[Tensor, "*#samples"]
) -> Float[Tensor, "*samples"]:
    """Which share of a sample's interval lies where its ray is known to end; 0 where that is not known.

    Args:
        starts: distances at which the samples' intervals begin, shape [...].
        stops: at which they end, shape [...].
        distances: at which the rays end, NaN where that is not known, shape [...] or one that broadcasts to it.
    """
    first, last = (1.0 - REACH) * distances, (1.0 + REACH) * distances
    common = torch.minimum(stops, last) - torch.maximum(starts, first)
    # A NaN here would be one in the gradients, whatever becomes of the sum.
    return common.nan_to_num(0.0).clamp_min(0.0) / (stops - starts).clamp_min(1e-9)


def end_loss(ends: Float[Tensor, " N"], distances: Float[Tensor, " N"]) -> Float[Tensor, ""]:
    """Mean negative logarithm of rays' weights where they are known to end, 0 for rays of which it is not.

    The likelihood of a ray's depth, as in DS-NeRF (Deng et al., CVPR 2022, section 3.2), with a window instead of a
    normal distribution. It makes what lies before clear too, and asks nothing of what lies behind.

    Args:
        ends: sums of a ray's weights times :func:`end_shares`, shape [N].
        distances: at which the rays end, NaN where that is not known, shape [N].
    """
    likelihood = (1.0 - DOUBT) * torch.where(distances.isfinite(), ends, 1.0) + DOUBT
    return -likelihood.log().sum() / max(len(ends), 1)


def fading(step: int, steps: int) -> float:
    """Weight of what is known beforehand, after a number of steps of all: a half cosine from 1 to 0."""
    return 0.5 * (1.0 + math.cos(math.pi * min(step / max(steps, 1), 1.0)))
