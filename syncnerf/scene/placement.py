"""Where the scene lies relative to its cameras, when no file says so."""

import torch
from torch import Tensor

from syncnerf.scene.camera import Camera


def footage_bounds(cameras: tuple[Camera, ...]) -> tuple[Tensor, float, float]:
    """Bounds (float32 [2, 3]), near and far of real footage, from the cameras alone.

    The box is centred on the point the cameras look at, its side half of twice their mean distance to that point;
    what lies beyond is meant to be contracted.
    """
    centres = torch.stack([camera.pose(0)[:3, 3] for camera in cameras])
    middle = looked_at(cameras)
    radius = max(float((centres - middle).norm(dim=-1).mean()), 1e-3)
    bounds = torch.stack([middle - radius / 2, middle + radius / 2]).float()
    return bounds, 0.05 * radius, 4 * radius


def looked_at(cameras: tuple[Camera, ...]) -> Tensor:
    """The point nearest to all optical axes (least squares), float64, shape [3]."""
    normal, right = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for camera in cameras:
        pose = camera.pose(0)
        axis, centre = pose[:3, 2], pose[:3, 3]
        across = torch.eye(3, dtype=torch.float64) - torch.outer(axis, axis)
        normal += across
        right += across @ centre
    # A lone camera, or parallel axes, leave the depth free: a little weight on the cameras' own places decides it.
    centre = torch.stack([camera.pose(0)[:3, 3] for camera in cameras]).mean(0)
    return torch.linalg.solve(normal + 1e-6 * torch.eye(3, dtype=torch.float64), right + 1e-6 * centre)
