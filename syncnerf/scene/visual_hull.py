"""Which part of space can hold anything at any time: the visual hull, carved from plain backgrounds.

A cell is empty if some camera sees the background there in all of its frames.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor
from tqdm import tqdm

from syncnerf.scene.camera import Camera
from syncnerf.scene.scene import Scene

TOLERANCE = 10
"""Difference from the background, in grey levels of 255, that makes a pixel foreground (videos are compressed)."""


def visual_hull(
    scene: Scene, resolution: int = 96, tolerance: int = TOLERANCE, chunk: int = 32
) -> Bool[Tensor, "X Y Z"] | None:
    """The cells of the scene's box that no training camera sees as background throughout.

    Frames are joined over the whole video, so the cameras' clocks do not matter.

    Args:
        scene: the scene; its background colour must be known and its cameras static.
        resolution: cells per side.
        tolerance: difference from the background, in grey levels of 255, that makes a pixel foreground.
        chunk: frames looked at at once.

    Returns:
        bool, shape [resolution] * 3 (x, y, z); None where the background is unknown or a camera moves.
    """
    if not can_be_carved(scene):
        return None
    cameras = [scene.cameras[i] for i in scene.train]
    points, side = hull_points(scene.bounds, (resolution,) * 3)
    hull = torch.ones(len(points), dtype=torch.bool)
    for index, camera in tqdm(list(zip(scene.train, cameras, strict=True)), desc="carving", unit="camera", leave=False):
        mask = foreground_mask(scene, index, tolerance, chunk)
        pixel, depth, visible = camera.pixels_of(points)
        near = grown(mask, touched_radius(camera, side, depth[visible]))
        hull &= ~visible | near.reshape(-1)[pixel]
    return hull.reshape((resolution,) * 3)


def can_be_carved(scene: Scene) -> bool:
    """Whether :func:`visual_hull` has an answer: a known background, a bounded space, and no moving camera."""
    moving = any(scene.cameras[i].is_moving for i in scene.train)
    return scene.background is not None and scene.space == "bounded" and not moving


def hull_points(bounds: Float[Tensor, "2 3"], shape: Sequence[int]) -> tuple[Float64[Tensor, "N 3"], float]:
    """Middles of a box's cells, of which there are ``shape`` along x, y and z, and the largest side of a cell."""
    low, high = bounds.double()
    sizes = (high - low) / torch.tensor(shape)
    axes = [low[k] + sizes[k] * (torch.arange(shape[k], dtype=torch.float64) + 0.5) for k in range(3)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3), float(sizes.max())


def touched_radius(camera: Camera, side: float, depths: Float64[Tensor, " N"]) -> int:
    """Radius in pixels that a cell with a given side may cover in a picture, for the nearest of some depths.

    A cell is kept if any pixel that it covers is foreground, so masks are grown by this.
    """
    return math.ceil(0.87 * side * camera.intrinsics.focal_x / float(depths.min())) if len(depths) else 0


def grown(mask: Bool[Tensor, "H W"], radius: int) -> Bool[Tensor, "H W"]:
    """A mask with all pixels that lie within a radius of some of it, along rows and along columns."""
    for axis, length in enumerate(mask.shape):
        reach, wanted = 0, min(radius, length - 1)
        while reach < wanted:
            # Each pass reaches three times as far, which takes a twentieth of the time of pooling.
            step = min(2 * reach + 1, wanted - reach)
            before, rest = mask, length - step
            mask = before.clone()
            mask.narrow(axis, step, rest).logical_or_(before.narrow(axis, 0, rest))
            mask.narrow(axis, 0, rest).logical_or_(before.narrow(axis, step, rest))
            reach += step
    return mask


def foreground_mask(
    scene: Scene, camera: int, tolerance: int = TOLERANCE, chunk: int = 32
) -> Bool[Tensor, "height width"]:
    """Pixels that differ from the background in some frame, bool, shape [height, width]."""
    frames = scene.frames(camera)
    background = torch.tensor(scene.background) * 255.0
    mask = torch.zeros(frames.shape[1:3], dtype=torch.bool)
    for start in range(0, len(frames), chunk):
        part = torch.from_numpy(frames[start : start + chunk].copy()).float()
        mask |= ((part - background).abs().amax(dim=-1) > tolerance).any(dim=0)
    return mask
