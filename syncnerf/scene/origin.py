"""Scenes far from the world's origin, as in geographic coordinates: numbers near zero keep their digits."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.scene.camera import Camera

FAR_AWAY = 100.0
"""A rig so many times farther from the world's origin than it is wide is moved: single precision would lose 1e-5 of its
width."""


def near_origin(cameras: tuple[Camera, ...]) -> tuple[tuple[Camera, ...], Float64[Tensor, " 3"]]:
    """The cameras, moved to around the origin where they are far from it, and where their middle was.

    Returns:
        The cameras, and what is to be added to their places to have the world's, float64, shape [3]; zero where they
        are left where they are.
    """
    places = torch.cat([camera.camera_to_world.reshape(-1, 4, 4)[:, :3, 3] for camera in cameras])
    middle = places.mean(0)
    width = float((places - middle).norm(dim=-1).max())
    if float(middle.norm()) <= FAR_AWAY * width or width == 0.0:
        return cameras, torch.zeros(3, dtype=torch.float64)
    # Whole numbers of units are taken off exactly.
    origin = middle.round()
    return tuple(moved(camera, -origin) for camera in cameras), origin


def moved(camera: Camera, shift: Float64[Tensor, " 3"]) -> Camera:
    """A camera ``shift`` (float64, shape [3]) farther on."""
    poses = camera.camera_to_world.clone()
    poses[..., :3, 3] += shift
    return replace(camera, camera_to_world=poses)


def moved_box(record: dict[str, Any], origin: Float64[Tensor, " 3"]) -> dict[str, Any]:
    """A scene's json whose box of numbers, if it has one, is given from another origin."""
    if not origin.any():
        return record
    boxes = {}
    for key in ("bounds", "aabb"):
        try:
            boxes[key] = (torch.tensor(record[key], dtype=torch.float64) - origin).tolist()
        except (KeyError, TypeError, ValueError, RuntimeError):  # who reads it says what is wrong with it
            continue
    return record | boxes
