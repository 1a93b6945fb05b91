"""Where Gaussians are at a moment, in plain torch: what the kernel computes itself is tested against this."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from syncnerf_gaussians.gaussians import Drift, Gaussians, Motion, Skinning
from syncnerf_gaussians.rotations import inverse, product, rotation_matrices


class Moved(NamedTuple):
    """Gaussians at V moments.

    Attributes:
        means: shape [V, N, 3].
        quaternions: of any length, shape [V, N, 4].
        opacities: in [0, 1], shape [V, N].
    """

    means: Float[Tensor, "V N 3"]
    quaternions: Float[Tensor, "V N 4"]
    opacities: Float[Tensor, "V N"]


def moved(gaussians: Gaussians, motion: Motion) -> Moved:
    """Gaussians at the moments of a motion.

    With a scaffold, a centre is carried by its nodes' rigid motions since its moment of reference, blended by weight
    (linear blend skinning), and its rotation by the blend of their quaternions. Drift adds
    ``velocity * (t - middle)``, and its window multiplies the opacity by
    ``exp(-max(0, |t - middle| - plateau)^2 / (2 fade^2))``.
    """
    shape = (len(motion.times), len(gaussians))
    means = gaussians.means.expand(*shape, 3)
    quaternions = gaussians.quaternions.expand(*shape, 4)
    opacities = torch.sigmoid(gaussians.opacity_logits).expand(shape)
    if motion.skinning is not None:
        means, quaternions = _skinned(gaussians, motion.skinning)
    if motion.drift is not None:
        since = (motion.times[:, None] - motion.drift.centres.double()).to(means.dtype)
        means = means + since[..., None] * motion.drift.velocities
        opacities = opacities * _window(since, motion.drift)
    return Moved(means, quaternions, opacities)


def presence(motion: Motion, count: int, pixels: Int64[Tensor, " V"]) -> Float[Tensor, " N"]:
    """Share of the opacities of ``count`` Gaussians that their windows leave; 1 without any.

    It is the mean over the moments, of each of which there are so many ``pixels`` (int64, shape [V]).
    """
    if motion.drift is None:
        return torch.ones(count, device=motion.times.device)
    since = (motion.times[:, None] - motion.drift.centres.double()).float()
    window = _window(since, motion.drift)
    return (pixels / pixels.sum()).to(window) @ window


def _window(since: Tensor, drift: Drift) -> Tensor:
    """Share of the opacity that is there ``since`` the middle of each life, shape [V, N]."""
    return torch.exp(-0.5 * ((since.abs() - drift.plateaus).clamp_min(0.0) / drift.fades) ** 2)


def _skinned(gaussians: Gaussians, skinning: Skinning) -> tuple[Tensor, Tensor]:
    """Centres [V, N, 3] and quaternions [V, N, 4] as the nodes carry them."""
    carried = skinning.nodes[:, 0] >= 0
    nodes = skinning.nodes.long().clamp_min(0)
    moments = skinning.moments.long()[:, None]
    then, now = skinning.rest, skinning.poses
    turn = product(now.quaternions[:, nodes], inverse(then.quaternions[moments, nodes]))
    away = gaussians.means[:, None] - then.positions[moments, nodes]
    places = (rotation_matrices(turn) @ away[..., None])[..., 0] + now.positions[:, nodes]
    means = (skinning.weights[..., None] * places).sum(dim=-2)
    # A quaternion and its negative are the same turn: all on the side of the first.
    aligned = torch.where((turn * turn[..., :1, :]).sum(dim=-1, keepdim=True) < 0.0, -turn, turn)
    blend = torch.nn.functional.normalize((skinning.weights[..., None] * aligned).sum(dim=-2), dim=-1)
    quaternions = product(blend, gaussians.quaternions.expand(len(blend), -1, -1))
    return (
        torch.where(carried[:, None], means, gaussians.means),
        torch.where(carried[:, None], quaternions, gaussians.quaternions),
    )
