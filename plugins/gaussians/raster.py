"""Pictures of Gaussians, and colours of loose rays: the same function, whichever way it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from syncnerf.scene.rays import Rays
from syncnerf_gaussians import cast as rays_kernel
from syncnerf_gaussians import kernel, projection, reference, tiles_gsplat
from syncnerf_gaussians.gaussians import Gaussians, Motion, PinholePicture
from syncnerf_gaussians.motion import presence

DRAWERS = {"torch": reference.pictures, "triton": projection.pictures, "gsplat": tiles_gsplat.pictures}
"""What draws views, by engine, where no kernel in C does."""
FORWARD = DRAWERS | {"gsplat": projection.pictures}
"""The same for derivatives in forward mode, which gsplat has not."""


class Raster(NamedTuple):
    """What P rays see; the pixels of several views one view after the other, row by row.

    Attributes:
        rgb: colours before any background, shape [P, 3]; with one they are ``rgb + (1 - accumulation) * background``.
        accumulation: opacity in [0, 1], shape [P].
        depth: sum of weight times distance along the ray, no gradient, shape [P]; None where it was not asked for.
    """

    rgb: Float[Tensor, "P 3"]
    accumulation: Float[Tensor, " P"]
    depth: Float[Tensor, " P"] | None


class Influence(NamedTuple):
    """What N Gaussians contribute to P pixels.

    Attributes:
        weights: sum over the pixels of its share of their colours, shape [N].
        errors: the same, each pixel counted with its error, shape [N].
        presence: share of its opacity that there is at their moments, mean over the pixels, shape [N].
    """

    weights: Float[Tensor, " N"]
    errors: Float[Tensor, " N"]
    presence: Float[Tensor, " N"]


def rasterise(
    gaussians: Gaussians,
    views: Sequence[PinholePicture],
    motion: Motion,
    with_depth: bool = True,
    engine: str = "torch",
) -> Raster:
    """Draw views, each at its own moment of ``motion``; differentiable in all tensors of both.

    Numbers of 32 bits on a CPU are drawn by a kernel in C, all others in plain torch, unless ``engine`` names another
    one (:mod:`syncnerf.encodings.engines`).

    Raises:
        ValueError: the shapes do not belong together.
    """
    check_shapes(gaussians, motion, len(views))
    if engine == "torch" and kernel.runs_here(gaussians):
        return Raster(*kernel.draw(gaussians, views, motion, with_depth))
    return _raster(DRAWERS[engine](gaussians, views, motion))


def rasterise_rates(
    gaussians: Gaussians, views: Sequence[PinholePicture], motion: Motion, engine: str = "torch"
) -> tuple[Raster, Float[Tensor, "P 4"]]:
    """Views and the derivatives of their colours and their opacity by time, shape [P, 4]; neither has a gradient.

    The derivative counts what moves and fades, with ``motion.skinning.rates`` for the nodes, not the background.
    """
    check_shapes(gaussians, motion, len(views))
    if engine == "torch" and kernel.runs_here(gaussians):
        rgb, accumulation, rates = kernel.draw_rates(gaussians, views, motion)
        return Raster(rgb, accumulation, None), rates
    values, rates = reference.with_rates(motion, lambda dual: FORWARD[engine](gaussians, views, dual))
    return _raster(values), rates[:, :4]


def cast(gaussians: Gaussians, rays: Rays, moments: Int64[Tensor, " R"], motion: Motion) -> Raster:
    """Colours of loose rays; differentiable as :func:`rasterise` is, and equal to its pixels where they are its rays.

    Rays that share origin and moment are cheap, all others cost a pass over all Gaussians each.

    Args:
        gaussians: N Gaussians.
        rays: R rays.
        moments: each ray's moment of ``motion``, int64, shape [R].
        motion: the moments.

    Raises:
        ValueError: the shapes do not belong together.
    """
    check_shapes(gaussians, motion, len(motion.times))
    if kernel.runs_here(gaussians):
        return Raster(*rays_kernel.cast_rays(gaussians, rays, moments, motion))
    return _raster(reference.loose_rays(gaussians, rays, moments, motion))


def cast_rates(
    gaussians: Gaussians, rays: Rays, moments: Int64[Tensor, " R"], motion: Motion
) -> tuple[Raster, Float[Tensor, "R 4"]]:
    """The same and the derivatives of the colours and the opacity by time, shape [R, 4]; neither has a gradient."""
    check_shapes(gaussians, motion, len(motion.times))
    if kernel.runs_here(gaussians):
        rgb, accumulation, rates = rays_kernel.cast_rates(gaussians, rays, moments, motion)
        return Raster(rgb, accumulation, None), rates
    values, rates = reference.with_rates(motion, lambda dual: reference.loose_rays(gaussians, rays, moments, dual))
    return _raster(values), rates[:, :4]


@torch.no_grad()
def influence(
    gaussians: Gaussians,
    views: Sequence[PinholePicture],
    motion: Motion,
    errors: Float[Tensor, " P"],
    engine: str = "torch",
) -> Influence:
    """What each Gaussian has to do with the views' pixels, whose errors have the shape [P]; no gradient."""
    check_shapes(gaussians, motion, len(views))
    if engine == "torch" and kernel.runs_here(gaussians):
        found = kernel.find_influence(gaussians, views, motion, errors)
    else:
        found = reference.influence(gaussians, lambda grey: DRAWERS[engine](grey, views, motion), errors)
    sizes = torch.tensor([len(view) for view in views], device=errors.device)
    return Influence(*found, presence(motion, len(gaussians), sizes))


@torch.no_grad()
def ray_influence(
    gaussians: Gaussians, rays: Rays, moments: Int64[Tensor, " R"], motion: Motion, errors: Float[Tensor, " R"]
) -> Influence:
    """The same of loose rays as :func:`cast` has them, whose errors have the shape [R]."""
    found = reference.influence(gaussians, lambda grey: cast(grey, rays, moments, motion).rgb, errors)
    return Influence(*found, presence(motion, len(gaussians), moments.bincount(minlength=len(motion.times))))


def check_shapes(gaussians: Gaussians, motion: Motion, moments: int) -> None:
    """Raise ValueError where shapes do not belong together, or indices lead nowhere."""
    count = len(gaussians)
    expected = {"means": (count, 3), "quaternions": (count, 4), "log_scales": (count, 3), "opacity_logits": (count,)}
    for name, shape in expected.items():
        _check(name, getattr(gaussians, name), shape)
    harmonics = gaussians.harmonics
    if harmonics.ndim != 3 or harmonics.shape[1] not in (1, 4, 9, 16):
        raise ValueError(f"harmonics have the shape {tuple(harmonics.shape)}: should be [N, 1 | 4 | 9 | 16, 3]")
    _check("harmonics", harmonics, (count, harmonics.shape[1], 3))
    _check("times", motion.times, (moments,))
    if motion.drift is not None:
        _check("velocities", motion.drift.velocities, (count, 3))
        for name in ("centres", "plateaus", "fades"):
            _check(name, getattr(motion.drift, name), (count,))
    if motion.skinning is not None:
        skinning = motion.skinning
        nodes, rests = skinning.poses.positions.shape[1], len(skinning.rest.positions)
        _check("nodes", skinning.nodes, (count, 4))
        _check("weights", skinning.weights, (count, 4))
        _check("moments", skinning.moments, (count,))
        for name, poses, length in (("rest", skinning.rest, rests), ("poses", skinning.poses, moments)):
            _check(f"{name}.positions", poses.positions, (length, nodes, 3))
            _check(f"{name}.quaternions", poses.quaternions, (length, nodes, 4))
        low, high = skinning.moments.aminmax() if count else (0, 0)
        if count and (skinning.nodes.max() >= nodes or low < 0 or high >= rests):
            raise ValueError(f"Gaussians name nodes or moments beyond the {nodes} nodes and {rests} moments there are")


def _check(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has the shape {tuple(tensor.shape)}: should be {shape}")


def _raster(values: Tensor) -> Raster:
    """Rays' colours, opacity and depth, from their columns."""
    return Raster(values[:, :3], values[:, 3], values[:, 4].detach())
