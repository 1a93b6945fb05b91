"""Uniform cubic B-splines over the field's time: smooth to the second derivative, and refined without a change."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

DEGREE = 3


def evaluate(knots: Float[Tensor, " K *values"], times: Float64[Tensor, " T"]) -> Float[Tensor, " T *values"]:
    """Values of a spline that spans [-1, 1], continued along its tangents beyond.

    Its first derivative by the times is continuous, also where they leave the span; gradients reach them there too.

    Args:
        knots: control values, shape [K, ...]; their K - 3 segments divide [-1, 1].
        times: float64, shape [T].

    Returns:
        Shape [T, ...], of the knots' type.
    """
    return _combined(knots, *_basis(len(knots), times, 0))


def slopes(knots: Float[Tensor, " K *values"], times: Float64[Tensor, " T"]) -> Float[Tensor, " T *values"]:
    """Derivatives by time of the spline that :func:`evaluate` evaluates, same arguments and shape."""
    return _combined(knots, *_basis(len(knots), times, 1))


def refined(knots: Float[Tensor, " K *values"]) -> Float[Tensor, " 2*K-3 *values"]:
    """The same curve with its segments halved: control values [2 K - 3, ...] (Boehm's knot insertion at every middle).

    Even ones are (1, 6, 1) / 8 of their neighbours, odd ones the means of two.
    """
    odd = 0.5 * (knots[:-1] + knots[1:])
    even = 0.125 * (knots[:-2] + 6.0 * knots[1:-1] + knots[2:])
    pairs = torch.stack([odd[:-1], even], dim=1).flatten(0, 1)
    return torch.cat([pairs, odd[-1:]])


def _basis(count: int, times: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """The first of the four control values that make each time's value, and their shares [T, 4] (or derivatives)."""
    segments = count - DEGREE
    place = (times + 1.0) * (0.5 * segments)
    inside = place.detach().clamp(0.0, float(segments))
    first = inside.floor().clamp_max(segments - 1)
    beyond = (place < 0.0) | (place > segments)
    # Within, u moves with the time; beyond, it stays at the end and the tangent goes on.
    u = torch.where(beyond, inside, place) - first
    one = 1.0 - u
    values = torch.stack([one**3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3], dim=-1) / 6.0
    tangents = torch.stack([-(one**2), 3 * u**2 - 4 * u, -3 * u**2 + 2 * u + 1, u**2], dim=-1) / 2.0
    if order:
        return first.long(), tangents * (0.5 * segments)
    return first.long(), values + torch.where(beyond, place - inside, 0.0)[:, None] * tangents


def _combined(knots: Tensor, first: Tensor, shares: Tensor) -> Tensor:
    around = knots[first[:, None] + torch.arange(DEGREE + 1, device=knots.device)]
    return torch.einsum("tj,tj...->t...", shares.to(knots.dtype), around)
