"""Moves scenes with coordinates far from zero, such as geographic ones, to the origin, to keep numerical precision."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.scene.camera import Camera

FAR_AWAY = 100.0
"""A rig whose distance from the world's origin is so many times its width is moved: single precision would be good to
no more than 1e-5 of its width."""


def near_origin(cameras: tuple[Camera, ...]) -> tuple[tuple[Camera, ...], Float64[Tensor, " 3"]]:
    """The cameras, moved to the origin if they are far from it, and by how much they were moved.

    Returns:
        The cameras, and what must be added to their places to get back to the world's coordinates, float64, shape [3];
        zero if they were not moved.
    """
    places = torch.cat([camera.camera_to_world.reshape(-1, 4, 4)[:, :3, 3] for camera in cameras])
    middle = places.mean(0)
    width = float((places - middle).norm(dim=-1).max())
    if float(middle.norm()) <= FAR_AWAY * width or width == 0.0:
        return cameras, torch.zeros(3, dtype=torch.float64)
    # Subtracting whole numbers of units causes no rounding errors.
    origin = middle.round()
    return tuple(moved(camera, -origin) for camera in cameras), origin


def moved(camera: Camera, shift: Float64[Tensor, " 3"]) -> Camera:
    """A camera moved by ``shift`` (float64, shape [3])."""
    poses = camera.camera_to_world.clone()
    poses[..., :3, 3] += shift
    return replace(camera, camera_to_world=poses)


def moved_box(record: dict[str, Any], origin: Float64[Tensor, " 3"]) -> dict[str, Any]:
    """A scene's json in which the box, if there is one, is relative to another origin."""
    if not origin.any():
        return record
    boxes = {}
    for key in ("bounds", "aabb"):
        try:
            boxes[key] = (torch.tensor(record[key], dtype=torch.float64) - origin).tolist()
        except (KeyError, TypeError, ValueError, RuntimeError):  # the code that uses it reports what is wrong
            continue
    return record | boxes
