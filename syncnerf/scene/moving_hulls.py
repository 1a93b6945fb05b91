"""Which part of space something that moves can be in at a moment: elsewhere cameras see the still scene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from syncnerf.scene.moment_hulls import empty_moments
from syncnerf.scene.points import median_picture
from syncnerf.scene.scene import Scene
from syncnerf.scene.visual_hull import TOLERANCE

WITNESSES = 2
"""Cameras that have to see the still scene behind a cell: one alone may look at something that moves and by chance has
its colour, or at what stands before it."""
MEDIAN_FRAMES = 60
"""Frames of which a still picture is made: more than elsewhere, as it is compared with every single one."""
SUPPORT = 0.5
"""Share of a pixel's frames, below which what its median picture shows is nothing that stands still."""


@torch.no_grad()
def moving_hulls(
    scene: Scene,
    hulls: Bool[Tensor, "T X Y Z"],
    times: Sequence[Float64[Tensor, " F"]],
    slack: Sequence[float],
) -> Bool[Tensor, "T X Y Z"]:
    """Cells of moments' hulls before which fewer than :data:`WITNESSES` cameras see their still picture.

    In all other cells nothing moves before the still scene; what stands still itself, and shows no shadow of what
    moves, is among them.

    Args:
        scene: the scene; its cameras must be static.
        hulls: cells that may hold anything in each of T intervals of [-1, 1]; see
            :func:`syncnerf.scene.moment_hulls.moment_hulls`.
        times: see there.
        slack: see there.
    """
    hull = hulls.any(dim=0)
    cells = hull.reshape(-1).nonzero()[:, 0]
    seen = torch.zeros(len(hulls), len(cells), dtype=torch.int16)
    for place, still in empty_moments(scene, hull, len(hulls), times, slack, changed_masks):
        seen[place] += still
    moving = hulls.clone()
    moving.reshape(len(hulls), -1)[:, cells] &= seen < WITNESSES
    return moving


def changed_masks(scene: Scene, index: int) -> Iterator[Bool[Tensor, "H W"]]:
    """Of each frame of a camera the pixels that do not show what they mostly show, or mostly show nothing certain."""
    frames = scene.frames(index)
    still = 255.0 * median_picture(frames, MEDIAN_FRAMES)

    def apart(frame) -> Bool[Tensor, "H W"]:
        return (torch.from_numpy(frame.copy()) - still).abs().amax(dim=-1) > TOLERANCE

    shown = torch.zeros(still.shape[:2])
    for frame in frames:
        shown += ~apart(frame)
    uncertain = shown < SUPPORT * len(frames)
    for frame in frames:
        yield apart(frame) | uncertain
