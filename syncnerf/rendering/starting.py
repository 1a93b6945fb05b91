"""How a field begins: nearly transparent, so that no camera learns a screen before its lens."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.rendering.space import FieldSpace
from syncnerf.scene.geometry import SceneGeometry

CLEAR_DEPTH = 0.2
"""Optical depth from one side of the box to the other where nothing is known of what it holds."""
HULL_DEPTH = 20.0
"""The same where a visual hull leaves little but what is full."""
NEAR_SHARE = 0.6
"""Distance from a camera, as a share of half the box's longest side, below which gradients are scaled down."""


def starting_density(geometry: SceneGeometry, space: FieldSpace, depth: float = 0.0) -> float:
    """Density of a field that has learned nothing, in the units of the space where samples are placed.

    Args:
        geometry: tells whether a hull is known.
        space: tells how long the way through the field is.
        depth: optical depth of that way; 0 for :data:`CLEAR_DEPTH`, or :data:`HULL_DEPTH` inside a hull.
    """
    known = HULL_DEPTH if geometry.occupied is not None else CLEAR_DEPTH
    return (depth or known) / space.reach


def near_radius(geometry: SceneGeometry, share: float = -1.0) -> float:
    """Distance from a camera, in the units of the space where samples are placed, for :func:`near_factors`; 0 for none.

    Args:
        geometry: a known background needs no scaling, as nothing stands before a lens there; nor do normalised device
            coordinates, in which rays begin on a plane and are followed in equal steps of inverse depth.
        share: of half the box's longest side; negative for :data:`NEAR_SHARE` where the scaling is of use.
    """
    if share >= 0:
        return share
    return NEAR_SHARE if geometry.background is None and geometry.ndc is None else 0.0


def near_factors(distances: Float[Tensor, "*shape"], radius: float) -> Float[Tensor, "*shape"] | None:
    """Factors min(1, (t / radius)^2) on the gradients of samples at distances t from their cameras; None for radius 0.

    The closer to a camera, the more samples of the fewer rays meet: without the factors what lies there learns fastest,
    and becomes fog that shows each camera its own picture (Philip and Deschaintre, EGSR 2023).
    """
    return (distances / radius).square().clamp(max=1.0) if radius else None


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, factors: Tensor) -> Tensor:
        ctx.save_for_backward(factors)
        return values.view_as(values)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (factors,) = ctx.saved_tensors
        return gradient * factors.reshape(-1, *[1] * (gradient.ndim - 1)).to(gradient.dtype), None


def scale_gradient(values: Float[Tensor, " M *rest"], factors: Float[Tensor, " M"] | None) -> Float[Tensor, " M *rest"]:
    """The same values [M, ...], whose gradients are multiplied by factors [M]; None for no change."""
    return values if factors is None else _ScaledGradient.apply(values, factors)
