"""Motion of two time steps that was seen as one, because a frame is lost or shown twice, divided between the two."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

NEARER = 0.8
"""Weight of the neighbouring step in the estimate of a step; the one beyond has the rest. Measured: with 2/3, a
straight line, lags are drawn to where the cameras' lost frames coincide, and with 1 they are driven away from there."""


def divided(
    values: Float[Tensor, "P S"], places: Int64[Tensor, " K"], known: Bool[Tensor, " S"]
) -> Float[Tensor, "P S"]:
    """Divide energies of which only the sum over two steps is known, in the proportion that the steps around suggest.

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
