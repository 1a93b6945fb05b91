"""Cameras alone, without a frame: around a scene, and in front of one."""

import math

import torch
from evaluation_fixtures import look_from

from syncnerf.scene.camera import Camera, Intrinsics


def camera(pose: torch.Tensor, focal: float = 40.0) -> Camera:
    """A camera of 64x48 pixels at a pose, float64 [4, 4]."""
    return Camera("c", Intrinsics(64, 48, focal, focal, 32.0, 24.0), pose, 10.0, 3)


def dome(count: int = 12, radius: float = 3.0) -> tuple[Camera, ...]:
    """Cameras on a ring at three heights that look at the origin."""
    angles = [2 * math.pi * k / count for k in range(count)]
    return tuple(camera(look_from([radius * math.cos(a), radius * math.sin(a), 0.4 + 0.3 * (k % 3)]))
                 for k, a in enumerate(angles))  # fmt: skip


def wall() -> tuple[Camera, ...]:
    """Cameras 0.2 apart that all look along -Z."""
    poses = torch.eye(4, dtype=torch.float64).repeat(9, 1, 1)
    poses[:, :2, 3] = 0.2 * torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0)).double()
    return tuple(camera(pose) for pose in poses)
