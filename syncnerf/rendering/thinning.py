"""Thinning gradients: of many samples that hardly matter, a few are followed back, and count as much more.

Half of the samples along a ray lie in space that is nearly empty, and their gradients are a thousandth of others'. To
follow all of them back through networks and lookups takes as long as for those that matter.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Thinned = Callable[[Float[Tensor, "M width"]], Float[Tensor, "M width"]]
"""The same values, whose gradients are thinned out by rows."""


def unthinned(values: Float[Tensor, "M width"]) -> Float[Tensor, "M width"]:
    """The values as they are, gradients and all."""
    return values


def thinning(threshold: float, generator: torch.Generator | None) -> Thinned:
    """What thins gradients out by rows, or :func:`unthinned` where nothing is to be thinned.

    Args:
        threshold: gradients shorter than so many times the rows' mean are thinned out; 0 for none.
        generator: source of the choice; None for none, and every gradient is kept.
    """
    if threshold <= 0 or generator is None:
        return unthinned

    def thinned(values: Float[Tensor, "M width"]) -> Float[Tensor, "M width"]:
        if not (torch.is_grad_enabled() and values.requires_grad):
            return values
        draw = torch.rand((), generator=generator, device=values.device, dtype=torch.float64)
        return _ThinnedGradient.apply(values, threshold, draw)

    return thinned


def thinned_rows(
    gradient: Float[Tensor, "M width"], threshold: float, draw: Float[Tensor, ""]
) -> Float[Tensor, "M width"]:
    """Rows of a gradient, the short ones of which are zero or as much longer as they are rarely kept.

    A row of length g is kept with the probability min(1, g / (threshold x mean)) and divided by it, so that the
    expectation of every row is what it was: Russian roulette, with probabilities that for a number of kept rows make
    the variance of their sum least. One draw decides for all (systematic sampling), and rows that lie side by side,
    which are much alike, are kept in turns.

    Args:
        gradient: shape [M, width].
        threshold: length below which rows are thinned out, in mean lengths.
        draw: in [0, 1), float64.
    """
    lengths = torch.linalg.vector_norm(gradient, dim=1, dtype=torch.float64)
    shares = (lengths / (threshold * lengths.mean()).clamp_min(1e-300)).clamp(max=1.0)
    sums = shares.cumsum(dim=0) + draw
    kept = sums.floor() > (sums - shares).floor()
    factors = torch.where(kept | (shares == 1.0), 1.0 / shares, 0.0)
    # Factors may be beyond 16 bits where the rows that they lengthen are not.
    kind = torch.promote_types(gradient.dtype, torch.float32)
    return (gradient.to(kind) * factors.to(kind)[:, None]).to(gradient.dtype)


class _ThinnedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, threshold: float, draw: Tensor) -> Tensor:
        ctx.save_for_backward(draw)
        ctx.threshold = threshold
        return values.view_as(values)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (draw,) = ctx.saved_tensors
        return thinned_rows(gradient, ctx.threshold, draw), None, None
