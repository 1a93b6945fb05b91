"""Backward passes of kernels over those points alone that a gradient arrives at."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor

FEW = 0.7
"""Share of the points up to which picking them out is worth its while."""


def told_rows(upstream: Float[Tensor, "M width"]) -> Int64[Tensor, " K"] | None:
    """Indices [K] of the rows of a gradient that are not zero throughout; None where most of them are not."""
    # Several times faster than any(): sums of a row's sizes are zero where all of it is.
    rows = (upstream.abs().sum(dim=1) != 0.0).nonzero()[:, 0]
    return rows if len(rows) <= FEW * len(upstream) else None


def told_alone(
    upstream: Float[Tensor, "M width"], points: Float[Tensor, "M inputs"]
) -> tuple[Int64[Tensor, " K"] | None, Float[Tensor, "K width"], Float[Tensor, "K inputs"]]:
    """The told rows, None for all of them, and what the backward pass is to look at: their gradient and their points.

    Args:
        upstream: the gradient that arrives at each of M points' answers.
        points: what each point's answer is computed from.
    """
    if (rows := told_rows(upstream)) is not None:
        upstream, points = upstream.index_select(0, rows), points.index_select(0, rows)
    return rows, upstream.contiguous(), points


def put_back(
    gradient: Float[Tensor, "K width"] | None, rows: Int64[Tensor, " K"] | None, count: int
) -> Float[Tensor, "M width"] | None:
    """The gradient of all ``count`` points from that of some rows, zero elsewhere; as it is where rows is None."""
    if gradient is None or rows is None:
        return gradient
    return gradient.new_zeros(count, gradient.shape[1]).index_copy_(0, rows, gradient)
