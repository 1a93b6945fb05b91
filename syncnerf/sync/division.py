"""Motion over two steps of time that was seen as one (a frame is lost, or shown twice): how much belongs to which."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

NEARER = 0.8
"""Weight of the step beside, against the one beyond. Between even steps it would be 2/3, which is smoother than motion
is: cameras are then drawn to lags at which their lost frames coincide, and driven away from them by 1. Measured."""


def divided(
    values: Float[Tensor, "P S"], places: Int64[Tensor, " K"], known: Bool[Tensor, " S"]
) -> Float[Tensor, "P S"]:
    """Energies of two steps whose sum alone is known, in the proportion that the steps before and after suggest.

    Args:
        values: energy of each pixel in each step, half of the sum in both of two such steps, shape [P, S].
        places: the first of each such two steps, int64, shape [K].
        known: steps whose own energy was seen, bool, shape [S].

    Returns:
        The energies; halves stay where a neighbour is unknown, or nothing moves in either.
    """
    inside = places[(places > 0) & (places + 2 < values.shape[1])]
    inside = inside[known[inside - 1] & known[inside + 2]]
    before, after = (values[:, inside + step].float() for step in (-1, 2))
    early = NEARER * before + (1 - NEARER) * after
    both = before + after
    share = torch.where(both > 0, early / both.clamp_min(1e-6), 0.5).to(values.dtype)
    values = values.clone()
    total = values[:, inside] + values[:, inside + 1]
    values[:, inside], values[:, inside + 1] = share * total, (1 - share) * total
    return values
