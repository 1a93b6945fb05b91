"""Pictures by gsplat's kernels (Ye et al., JMLR 2025; Apache-2.0): Gaussians whose response is that along the ray."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf_gaussians.gaussians import Gaussians, Motion, PinholePicture
from syncnerf_gaussians.motion import moved
from syncnerf_gaussians.reference import DENSEST, harmonic_colours

OPENCV = (1.0, -1.0, -1.0)
"""From our cameras' axes to gsplat's."""


def pictures(gaussians: Gaussians, views: Sequence[PinholePicture], motion: Motion) -> Float[Tensor, "P 5"]:
    """Columns of colours, opacity and depth as :func:`syncnerf_gaussians.reference.pictures` has them, shape [P, 5].

    Gaussians come in the order of their depths, not of their distances, and the depth of each is its centre's distance.
    """
    # Imported here: an extra, which compiles its kernels when it is imported first.
    from gsplat import rasterization

    at, scales = moved(gaussians, motion), torch.exp(gaussians.log_scales)
    parts = [gaussians.means.new_empty(0, 5)]
    for index, view in enumerate(views):
        pose = view.camera_to_world.to(at.means.device, torch.float64)
        away = (at.means[index].double() - pose[:3, 3]).to(at.means.dtype)
        distances = away.norm(dim=-1)
        colours = harmonic_colours(gaussians.harmonics, torch.nn.functional.normalize(away, dim=-1))
        there = (distances >= view.near) & (distances <= view.far)
        # The camera stands at the origin, so that places far from the scene's keep their digits.
        turn = torch.eye(4, dtype=torch.float64, device=pose.device)
        turn[:3, :3] = pose.new_tensor(OPENCV)[:, None] * pose[:3, :3].T
        values, opacity, _ = rasterization(
            away, at.quaternions[index], scales, torch.where(there, at.opacities[index].clamp_max(DENSEST), 0.0),
            torch.cat([colours, distances.detach()[:, None]], dim=-1)[None], turn.to(away)[None],
            view.intrinsics.matrix.to(away)[None], view.intrinsics.width, view.intrinsics.height,
            packed=False, with_ut=True, with_eval3d=True,
        )  # fmt: skip
        values, opacity = values.reshape(-1, 4), opacity.reshape(-1, 1)
        parts.append(torch.cat([values[:, :3], opacity, values[:, 3:]], dim=-1))
    return torch.cat(parts)
