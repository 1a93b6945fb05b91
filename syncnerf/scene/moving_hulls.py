"""Which part of space may hold something moving at a moment: only where cameras do not see the still scene."""

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
"""Cameras that must see the still scene through a cell before nothing is taken to move there. One alone does not do:
what it sees may be something moving that happens to have the same colour, or something still in front of the cell."""
MEDIAN_FRAMES = 60
"""Frames whose median makes a still picture: more than elsewhere, because every single frame is compared with it."""
SUPPORT = 0.5
"""A pixel's median colour shows something still only if at least this share of its frames have that colour."""


@torch.no_grad()
def moving_hulls(
    scene: Scene,
    hulls: Bool[Tensor, "T X Y Z"],
    times: Sequence[Float64[Tensor, " F"]],
    slack: Sequence[float],
) -> Bool[Tensor, "T X Y Z"]:
    """Cells of each moment's hull in which something may move, or a moving shadow fall.

    A cell is left out if at least :data:`WITNESSES` cameras see their still picture there all through the interval.
    Cells that hold nothing but still things are left out too, unless a moving shadow falls on these.

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
    """For each frame of a camera, the pixels that differ from their median colour, or that have no lasting colour."""
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
