"""Uniform cubic B-splines over the field's time: smooth to the second derivative, and refined without a change."""

from functools import cache

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
    square = u * u
    powers = torch.stack([torch.ones_like(u), u, square, square * u], dim=-1)
    values, tangents = (powers @ _shares(u.device)).chunk(2, dim=-1)
    if order:
        return first.long(), tangents * (0.5 * segments)
    return first.long(), values + torch.where(beyond, place - inside, 0.0)[:, None] * tangents


@cache
def _shares(device: torch.device) -> Float64[Tensor, "4 8"]:
    """What 1, u, u^2 and u^3 count in the shares of four control values, and in these shares' derivatives by u."""
    values = torch.tensor([[1, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]], dtype=torch.float64) / 6.0
    slopes = torch.cat([values[1:] * torch.tensor([[1.0], [2.0], [3.0]]), torch.zeros(1, 4)])
    return torch.cat([values, slopes], dim=-1).to(device)


def _combined(knots: Tensor, first: Tensor, shares: Tensor) -> Tensor:
    around = knots[first[:, None] + torch.arange(DEGREE + 1, device=knots.device)]
    return torch.einsum("tj,tj...->t...", shares.to(knots.dtype), around)
