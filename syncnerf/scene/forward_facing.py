"""Forward-facing rigs, whose cameras all look one way: common axes, scale and box.

They are seen in normalised device coordinates (NDC, from NeRF's appendix C), which map everything from a near plane to
infinity into a finite box.
"""

import torch
from jaxtyping import Float32, Float64
from torch import Tensor
from torch.nn.functional import normalize

from syncnerf.scene.camera import Camera, Intrinsics

NEAREST = 4.0 / 3.0
"""Depth of the nearest content after scaling; the near plane of the coordinates lies at 1 (NeRF: bd_factor 0.75)."""
MARGIN = 0.02
"""Margin of the box in normalised device coordinates around what the cameras see, as a share of its side."""


def recentred(poses: Float64[Tensor, "C 4 4"]) -> Float64[Tensor, "C 4 4"]:
    """Poses [C, 4, 4] relative to their average, so that the mean view is along -Z from the origin; float64."""
    backward = normalize(poses[:, :3, 2].mean(0), dim=0)
    right = normalize(torch.linalg.cross(poses[:, :3, 1].mean(0), backward), dim=0)
    average = torch.eye(4, dtype=poses.dtype)
    average[:3] = torch.stack([right, torch.linalg.cross(backward, right), backward, poses[:, :3, 3].mean(0)], dim=-1)
    return torch.linalg.inv(average) @ poses


def nearest_depth(poses: Float64[Tensor, "C 4 4"], near: Float64[Tensor, " C"]) -> float:
    """Smallest distance in front of the origin's plane (z = 0) at which some camera may see content.

    Args:
        poses: recentred camera-to-world, float64, shape [C, 4, 4].
        near: each camera's near bound along its own axis, float64, shape [C].
    """
    return float((near * poses[:, 2, 2] - poses[:, 2, 3]).min())


def faces_forward(cameras: tuple[Camera, ...]) -> bool:
    """Whether every pixel of every camera looks towards -Z, and every camera stands on the near side of the scene."""
    return all(bool((_corner_directions(camera)[:, 2] < -0.1).all()) for camera in cameras if not camera.is_moving)


def ndc_box(cameras: tuple[Camera, ...], reference: Intrinsics) -> Float32[Tensor, "2 3"]:
    """The box in normalised device coordinates that holds what the cameras see, float32, shape [2, 3].

    Rays are straight there, from z = -1 (the near plane, 1 before the origin) to z = 1 (infinity), so the four
    corner rays of each camera decide it.

    Args:
        cameras: forward-facing (:func:`faces_forward`), static.
        reference: the image that defines the coordinates.
    """
    scale = torch.tensor(
        [2.0 * reference.focal_x / reference.width, 2.0 * reference.focal_x / reference.height], dtype=torch.float64
    )
    points = []
    for camera in cameras:
        directions, origin = _corner_directions(camera), camera.pose(0)[:3, 3]
        slopes = directions[:, :2] / -directions[:, 2:]
        at_near = origin[:2] + slopes * (1.0 + origin[2])
        points += [at_near * scale, slopes * scale]
    sideways = torch.cat(points)
    low, high = sideways.amin(0), sideways.amax(0)
    slack = MARGIN * (high - low)
    depth = torch.tensor([1.0 + 2 * MARGIN], dtype=torch.float64)
    return torch.stack([torch.cat([low - slack, -depth]), torch.cat([high + slack, depth])]).float()


def _corner_directions(camera: Camera) -> Tensor:
    """World directions through the image's corners, float64, shape [4, 3]."""
    size = camera.intrinsics
    corners = torch.tensor(
        [[x, y] for x in (0.0, float(size.width)) for y in (0.0, float(size.height))], dtype=torch.float64
    )
    return normalize(size.directions(corners) @ camera.pose(0)[:3, :3].T, dim=-1)
