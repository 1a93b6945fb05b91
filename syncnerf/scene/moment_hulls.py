"""Which part of space can hold anything at a moment: carved from plain backgrounds, frame by frame."""

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
"""Pixels from a frame to the next that something moves at most."""


@torch.no_grad()
def moment_hulls(
    scene: Scene,
    hull: Bool[Tensor, "X Y Z"],
    count: int,
    times: Sequence[Float64[Tensor, " F"]],
    slack: Sequence[float],
) -> Bool[Tensor, "T X Y Z"]:
    """Cells of a hull that no training camera sees as background all through an interval of the field's time.

    A camera says nothing of an interval in part of which it did not film. Between two frames what moves is looked for
    half way from either to the other.

    Args:
        scene: the scene; its background colour must be known and its cameras static.
        hull: cells of its box that may hold something at some time.
        count: intervals T of [-1, 1].
        times: the field's coordinate of each training camera's frames, ascending.
        slack: by how much each camera's may be wrong; infinite where nothing is known.
    """
    kept = hull.expand(count, *hull.shape).clone()
    cells = hull.reshape(-1).nonzero()[:, 0]
    flat = kept.reshape(count, -1)
    for place, empty in empty_moments(scene, hull, count, times, slack, foreground_masks):
        flat[place, cells[empty]] = False
    return kept


def foreground_masks(scene: Scene, index: int) -> Iterator[Bool[Tensor, "H W"]]:
    """Of each frame of a camera the pixels that are not of the scene's background colour."""
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
    """What each training camera says of each interval that it films: which cells none of its masks touch.

    Args:
        scene: see :func:`moment_hulls`.
        hull: see there; N of its cells are true.
        count: see there.
        times: see there.
        slack: see there.
        masks: called as ``masks(scene, camera)``, gives a mask of each frame in turn, shape [H, W].

    Yields:
        An interval's number, and of the hull's true cells, in their order, those seen outside the masks all through it.
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
    """A mask [H, W], each pixel grown by half its distance from the other."""
    found, around = mask, other
    for radius in range(1, FARTHEST // 2 + 1):
        far = mask & ~around
        if not bool(far.any()):
            break
        found = found | grown(far, radius)
        around = grown(around, 2)
    return found
