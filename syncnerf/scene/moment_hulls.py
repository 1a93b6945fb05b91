"""Which part of space can hold anything at a moment: visual hulls, carved from plain backgrounds frame by frame.

Where a camera sees the plain background, nothing stands in its line of sight. All cells of space that lie on such lines
of sight are carved away; what is left, the hull, may hold something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float64
from torch import Tensor
from tqdm import tqdm

from syncnerf.scene.scene import Scene
from syncnerf.scene.visual_hull import TOLERANCE, grown, hull_points, touched_radius

FARTHEST = 32
"""Fastest motion that is reckoned with, in pixels from one frame to the next."""


@torch.no_grad()
def moment_hulls(
    scene: Scene,
    hull: Bool[Tensor, "X Y Z"],
    count: int,
    times: Sequence[Float64[Tensor, " F"]],
    slack: Sequence[float],
) -> Bool[Tensor, "T X Y Z"]:
    """The hull in each of ``count`` intervals of the field's time.

    A cell is carved away from an interval if some training camera sees background there during all of it. A camera that
    did not film all of an interval carves nothing from it. Between two frames, moving things are assumed to be within
    half of the way from either frame's foreground to the other's.

    Args:
        scene: the scene; its background colour must be known and its cameras static.
        hull: cells of its box that may hold something at some time.
        count: number T of equal intervals of the field's time [-1, 1].
        times: when each training camera's frames were taken, as the field's coordinate, ascending.
        slack: by how much each camera's times may be wrong, likewise; infinite where nothing is known.
    """
    kept = hull.expand(count, *hull.shape).clone()
    cells = hull.reshape(-1).nonzero()[:, 0]
    flat = kept.reshape(count, -1)
    for place, empty in empty_moments(scene, hull, count, times, slack, foreground_masks):
        flat[place, cells[empty]] = False
    return kept


def foreground_masks(scene: Scene, index: int) -> Iterator[Bool[Tensor, "H W"]]:
    """For each frame of a camera, the pixels that do not show the scene's background colour."""
    background = 255.0 * torch.tensor(scene.background)
    for frame in scene.frames(index):
        yield (torch.from_numpy(frame.copy()) - background).abs().amax(dim=-1) > TOLERANCE


def empty_moments(
    scene: Scene,
    hull: Bool[Tensor, "X Y Z"],
    count: int,
    times: Sequence[Float64[Tensor, " F"]],
    slack: Sequence[float],
    masks: Callable[[Scene, int], Iterator[Bool[Tensor, "H W"]]],
) -> Iterator[tuple[int, Bool[Tensor, " N"]]]:
    """For each training camera and each interval that it films: which cells none of its masks touch.

    Args:
        scene: see :func:`moment_hulls`.
        hull: see there; N of its cells are true.
        count: see there.
        times: see there.
        slack: see there.
        masks: called as ``masks(scene, camera)``, gives a mask of each frame in turn, shape [H, W].

    Yields:
        An interval's number and, for each of the hull's N true cells, whether a camera sees it outside its masks during
        all of that interval.
    """
    points, side = hull_points(scene.bounds, hull.shape)
    points = points[hull.reshape(-1)]
    edges = torch.linspace(-1.0, 1.0, count + 1, dtype=torch.float64)
    cameras = list(zip(scene.train, times, slack, strict=True))
    for index, own, wrong in tqdm(cameras, desc="carving moments", unit="camera", leave=False):
        camera = scene.cameras[index]
        pixel, depth, visible = camera.pixels_of(points)
        first = torch.searchsorted(own, edges[:-1] - wrong, right=True).sub(1)
        stop = torch.searchsorted(own, edges[1:] + wrong)
        steps = [(int(a), int(b)) if a >= 0 and b < len(own) else (0, 0) for a, b in zip(first, stop, strict=True)]
        filled: dict[int, Tensor] = {}
        radius = touched_radius(camera, side, depth[visible])
        for step, (before, after) in enumerate(pairwise(masks(scene, index))):
            mask = grown(_half_way(before, after) | _half_way(after, before), radius)
            for place in [place for place, (start, end) in enumerate(steps) if start <= step < end]:
                filled[place] = filled[place] | mask if place in filled else mask
                if step == steps[place][1] - 1:
                    yield place, visible & ~filled.pop(place).reshape(-1)[pixel]


def _half_way(mask: Tensor, other: Tensor) -> Tensor:
    """A mask [H, W] in which each pixel is grown by half its distance to the other mask."""
    found, around = mask, other
    for radius in range(1, FARTHEST // 2 + 1):
        far = mask & ~around
        if not bool(far.any()):
            break
        found = found | grown(far, radius)
        around = grown(around, 2)
    return found
