"""Gaussians seen along rays, in plain torch: any machine, any type, and what the kernel is tested against."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from syncnerf.encodings.spherical_harmonics import CONSTANT, spherical_harmonics
from syncnerf.scene.rays import Rays
from syncnerf_gaussians.gaussians import Gaussians, Motion, PinholePicture, Poses
from syncnerf_gaussians.motion import Moved, moved
from syncnerf_gaussians.rotations import rotation_matrices

FAINTEST = 1.0 / 255.0
"""Opacities below this are none."""
DENSEST = 0.99
"""No Gaussian is more opaque than this."""
FINISHED = 1e-4
"""A ray that has less light left than this has none."""
PAIRS = 1 << 22
"""Pairs of rays and Gaussians that are worked on at once."""


def bundle(
    gaussians: Gaussians,
    at: Moved,
    origin: Float64[Tensor, " 3"],
    directions: Float[Tensor, "R 3"],
    near: Float[Tensor, " R"],
    far: Float[Tensor, " R"],
) -> Float[Tensor, "R 5"]:
    """Colours before any background, opacities and depths along rays from one place at one moment, shape [R, 5].

    The response of a Gaussian to a ray is its largest value along the ray (3DGUT, Wu et al., CVPR 2025, arXiv
    2412.12507): with x the ray's origin and d its direction, both in the Gaussian's axes and standard deviations,
    ``alpha = min(0.99, opacity * exp(-|x cross d|^2 / (2 |d|^2)))``, at the distance ``-(x . d) / |d|^2``. It depends
    on the ray alone. Gaussians come in the order of their centres' distances. Those whose centres lie out of
    [near, far] are not seen, nor those behind the origin, nor those whose visible part holds it.

    Args:
        gaussians: N Gaussians.
        at: where they are, shapes [N, ...].
        origin: float64, shape [3].
        directions: unit vectors, shape [R, 3].
        near: distance of each ray, shape [R].
        far: distance of each ray, shape [R].
    """
    away = (at.means.double() - origin).to(at.means.dtype)
    seen = seen_from(gaussians, at, away)
    rows = max(PAIRS // max(len(seen), 1), 1)
    chosen = [
        tensor[seen] for tensor in (away, at.quaternions, at.opacities, gaussians.log_scales, gaussians.harmonics)
    ]
    directions, near, far = (tensor.to(away.dtype) for tensor in (directions, near, far))
    # Kept whole for the backward pass, the pairs of a picture would fill any memory. Where there is none, forward mode
    # may be on, which not every torch's checkpoints let through.
    composite = partial(checkpoint, _composite, use_reentrant=False) if torch.is_grad_enabled() else _composite
    parts = zip(directions.split(rows), near.split(rows), far.split(rows), strict=True)
    return torch.cat([composite(*chosen, *part) for part in parts])


@torch.no_grad()
def seen_from(gaussians: Gaussians, at: Moved, away: Float[Tensor, "N 3"]) -> Int64[Tensor, " S"]:
    """Gaussians that may be seen from an origin, near to far, shape [S]; ``away`` [N, 3] leads from there to them."""
    scales = torch.exp(gaussians.log_scales)
    numbers = (at.means, at.quaternions, at.opacities[:, None], scales, gaussians.harmonics.flatten(1))
    sound = torch.cat(numbers, dim=-1).isfinite().all(dim=-1) & (scales > 0.0).all(dim=-1)
    sound &= at.quaternions.square().sum(dim=-1) > 0.0
    local = _to_axes(at.quaternions, scales, away[:, None])[:, 0]
    outside = local.square().sum(dim=-1) > 2.0 * torch.log(at.opacities / FAINTEST)
    distances = away.square().sum(dim=-1).float()
    chosen = (sound & outside & (at.opacities > FAINTEST)).nonzero()[:, 0]
    return chosen[distances[chosen].argsort(stable=True)]


def _to_axes(quaternions: Tensor, scales: Tensor, vectors: Tensor) -> Tensor:
    """Vectors [N, R, 3] in the axes of Gaussians and in their standard deviations."""
    turns = rotation_matrices(torch.nn.functional.normalize(quaternions, dim=-1, eps=0.0))
    return (vectors @ turns) / scales[:, None]


def _composite(
    away: Tensor, quaternions: Tensor, opacities: Tensor, log_scales: Tensor, harmonics: Tensor,
    directions: Tensor, near: Tensor, far: Tensor,
) -> Tensor:  # fmt: skip
    """Colours, opacity and depth [R, 5] of rays through Gaussians in their order."""
    scales = torch.exp(log_scales)
    origin = -_to_axes(quaternions, scales, away[:, None])
    along = _to_axes(quaternions, scales, directions.expand(len(scales), -1, -1))
    lengths = along.square().sum(dim=-1)
    squares = torch.linalg.cross(origin.expand_as(along), along).square().sum(dim=-1) / lengths
    depths = -(origin * along).sum(dim=-1) / lengths
    alphas = (opacities[:, None] * torch.exp(-0.5 * squares)).clamp(max=DENSEST)
    distances = away.norm(dim=-1)[:, None]
    seen = (alphas >= FAINTEST) & (depths > 0.0) & (distances >= near) & (distances <= far)
    alphas = torch.where(seen, alphas, 0.0)
    light = torch.cumprod(1.0 - alphas, dim=0)
    light = torch.where(light < FINISHED, 0.0, light)
    weights = alphas * torch.cat([torch.ones_like(light[:1]), light[:-1]])
    colours = harmonic_colours(harmonics, torch.nn.functional.normalize(away, dim=-1))
    accumulation = 1.0 - light[-1] if len(light) else weights.sum(dim=0)
    depth = (weights * depths).sum(dim=0)
    return torch.cat([weights.T @ colours, accumulation[:, None], depth[:, None]], dim=-1)


def harmonic_colours(harmonics: Float[Tensor, "N K 3"], directions: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """Colours [N, 3] of harmonics [N, 1 | 4 | 9 | 16, 3] seen along unit directions [N, 3]."""
    values = spherical_harmonics(directions, math.isqrt(harmonics.shape[1]) - 1)
    return (0.5 + (values[..., None] * harmonics).sum(dim=-2)).clamp_min(0.0)


def pictures(gaussians: Gaussians, views: Sequence[PinholePicture], motion: Motion) -> Float[Tensor, "P 5"]:
    """What :func:`syncnerf_gaussians.raster.rasterise` answers, as columns, shape [P, 5]."""
    at = moved(gaussians, motion)
    parts = [gaussians.means.new_empty(0, 5)]
    for index, view in enumerate(views):
        rays = view.rays().to(gaussians.means.device)
        now = Moved(*(tensor[index] for tensor in at))
        parts.append(bundle(gaussians, now, rays.origins[0], rays.directions, rays.near, rays.far))
    return torch.cat(parts)


def with_rates(
    motion: Motion, draw: Callable[[Motion], Float[Tensor, "P C"]]
) -> tuple[Float[Tensor, "P C"], Float[Tensor, "P C"]]:
    """What is drawn of a motion and its derivative by time, without gradients; forward mode through every operation."""
    skinning = motion.skinning
    with torch.no_grad(), forward_ad.dual_level():
        times = forward_ad.make_dual(motion.times, torch.ones_like(motion.times))
        if skinning is not None:
            poses, rates = skinning.poses, skinning.rates
            positions = forward_ad.make_dual(poses.positions, rates.positions)
            quaternions = forward_ad.make_dual(poses.quaternions, rates.quaternions)
            skinning = replace(skinning, poses=Poses(positions, quaternions))
        value, rate = forward_ad.unpack_dual(draw(Motion(times, skinning, motion.drift)))
    return value, torch.zeros_like(value) if rate is None else rate


def loose_rays(gaussians: Gaussians, rays: Rays, moments: Int64[Tensor, " R"], motion: Motion) -> Float[Tensor, "R 5"]:
    """What :func:`syncnerf_gaussians.raster.cast` answers, as columns, shape [R, 5]."""
    at = moved(gaussians, motion)
    places, lengths, order = bundled(rays, moments)
    parts = [gaussians.means.new_empty(0, 5)]
    for place, part in zip(places, order.split(lengths.tolist()), strict=True):
        now = Moved(*(tensor[int(place[3])] for tensor in at))
        parts.append(bundle(gaussians, now, place[:3], rays.directions[part], rays.near[part], rays.far[part]))
    return torch.cat(parts)[order.argsort()]


def bundled(
    rays: Rays, moments: Int64[Tensor, " R"]
) -> tuple[Float[Tensor, "U 4"], Int64[Tensor, " U"], Int64[Tensor, " R"]]:
    """Rays that share origin and moment: both of each bundle [U, 4], bundles' lengths [U], and the rays' order [R]."""
    keys = torch.cat([rays.origins.double(), moments.double()[:, None]], dim=-1)
    places, which = keys.unique(dim=0, return_inverse=True)
    return places, which.bincount(minlength=len(places)), which.argsort(stable=True)


def influence(
    gaussians: Gaussians, draw: Callable[[Gaussians], Float[Tensor, "P C"]], errors: Float[Tensor, " P"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Sums over pixels of each Gaussian's weight, and of the weight times the pixel's error; shape [N] each.

    Colours are linear in the Gaussians' own, so the derivatives by those are the weights.

    Args:
        gaussians: N Gaussians.
        draw: colours of Gaussians in the same places, in the first columns, shape [P, 3 or more].
        errors: shape [P].
    """
    with torch.enable_grad():
        grey = gaussians.means.new_zeros(len(gaussians), 1, 3).requires_grad_()
        rgb = draw(replace(gaussians, harmonics=grey))
        loss = (rgb[:, 0] + errors.to(rgb.dtype) * rgb[:, 1]).sum()
        (slopes,) = torch.autograd.grad(loss, grey)
    return slopes[:, 0, 0] / CONSTANT, slopes[:, 0, 1] / CONSTANT
