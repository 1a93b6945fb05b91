"""Smooth closed camera paths that stay where the cameras have looked from."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn.functional import normalize

from syncnerf.scene.camera import Camera
from syncnerf.scene.placement import looked_at_point
from syncnerf.scene.scene import Scene

NARROWEST = 0.1
"""Smaller radius of the ellipse of directions, at least this share of the larger: cameras on a line leave it flat."""


INSIDE = 0.8
"""Share of the ellipse that is kept where the cameras fill it and do not only surround it."""
BEYOND = 5.0 / 1.1
"""The spiral's focus takes five times the farthest content for its far end (NeRF, K-Planes), of which a scene's ``far``
is 1.1 times."""


def smooth_path(scene: Scene, frame_count: int, fps: float) -> Camera:
    """A moving camera on a smooth closed path: an ellipse around the looked-at point, or a spiral.

    Cameras that look at a common point get the ellipse, those of a scene in normalised device coordinates, or with
    no common point before them, the spiral. Intrinsics are those of the first test camera.

    Args:
        scene: whose cameras the path is fitted to.
        frame_count: number of poses F.
        fps: frames per second of the path.

    Returns:
        A camera called ``path`` with poses of shape [F, 4, 4].
    """
    poses = camera_poses(scene.cameras)
    target = looked_at_point(poses)
    # Behind a camera lies what the camera's +Z axis points to.
    in_front = ((poses[:, :3, 3] - target) * poses[:, :3, 2]).sum(-1) > 0
    if scene.space == "ndc" or not in_front.all():
        path = spiral_path(poses, scene.near, BEYOND * scene.far, frame_count)
    else:
        path = ellipse_path(poses, target, frame_count)
    return Camera("path", scene.cameras[scene.test[0]].intrinsics, path, fps, frame_count)


def camera_poses(cameras: tuple[Camera, ...], at_most: int = 16) -> Float64[Tensor, "P 4 4"]:
    """Poses of all cameras, those of a moving one at some evenly spaced frames, float64, shape [P, 4, 4]."""
    poses = []
    for camera in cameras:
        count = min(at_most, camera.frame_count) if camera.is_moving else 1
        frames = torch.linspace(0, camera.frame_count - 1, count).round().int().tolist()
        poses += [camera.pose(frame) for frame in frames]
    return torch.stack(poses)


def ellipse_path(
    poses: Float64[Tensor, "P 4 4"], target: Float64[Tensor, " 3"], frame_count: int
) -> Float64[Tensor, "F 4 4"]:
    """Poses on a closed path around ``target``, all looking at it, float64, shape [F, 4, 4].

    The cameras' directions from the target are laid out on a plane (azimuthal equidistant projection about their
    axis), where the ellipse with the directions' own mean and covariance is drawn: a ring of cameras gives back the
    ring, a cap an ellipse well inside it, an arc the arc, to and fro. The distance is the cameras' mean distance.

    Args:
        poses: the cameras, float64, shape [P, 4, 4].
        target: the looked-at point, float64, shape [3].
        frame_count: number of poses F.
    """
    spokes = poses[:, :3, 3] - target
    distance = spokes.norm(dim=-1).mean()
    directions = normalize(spokes, dim=-1)
    up = _mean_up(poses)
    basis = _basis(_axis(directions, up), up)
    local = directions @ basis
    angle = torch.arccos(local[:, 2].clamp(-1.0, 1.0))
    plane = angle[:, None] * normalize(local[:, :2], dim=-1)
    middle = plane.mean(0)
    variances, axes = torch.linalg.eigh((plane - middle).T @ (plane - middle) / len(plane))
    # Points spread evenly along an ellipse deviate by its radius / sqrt(2) in each principal direction.
    radii = (2.0 * variances.clamp_min(0.0)).sqrt()
    radii = radii.clamp_min(NARROWEST * radii.max().item())
    if (((plane - middle) @ axes) / radii).norm(dim=-1).min() < 0.5:
        # Some camera is well inside, so this is no ring, and beyond the outermost cameras the field was never seen.
        radii = INSIDE * radii
    turns = _turns(frame_count)
    plane = middle + (torch.stack([turns.sin(), turns.cos()], dim=-1) * radii) @ axes.T
    angle = plane.norm(dim=-1, keepdim=True)
    local = torch.cat([angle.sin() * normalize(plane, dim=-1), angle.cos()], dim=-1)
    return look_at(target + distance * local @ basis.T, target, up)


def spiral_path(poses: Float64[Tensor, "P 4 4"], near: float, far: float, frame_count: int) -> Float64[Tensor, "F 4 4"]:
    """Poses on a spiral around the mean of forward-facing cameras, float64, shape [F, 4, 4].

    As is usual for forward-facing scenes (Mildenhall et al., ECCV 2020): sideways as far as nine tenths of the cameras
    stand from their mean, all looking at one point whose distance lies between near and far in inverse depth.

    Args:
        poses: the cameras, float64, shape [P, 4, 4].
        near: distance at which the scene may begin.
        far: distance far behind its end; may be infinite.
        frame_count: number of poses F.
    """
    centre, backward = poses[:, :3, 3].mean(0), normalize(poses[:, :3, 2].mean(0), dim=0)
    basis = _basis(backward, _mean_up(poses))
    radii = ((poses[:, :3, 3] - centre) @ basis).abs().quantile(0.9, dim=0)
    focus = centre - backward / (0.25 / near + 0.75 / far)
    turns = _turns(frame_count)
    offsets = radii * torch.stack([turns.cos(), -turns.sin(), -(turns / 2).sin()], dim=-1)
    return look_at(centre + offsets @ basis.T, focus, _mean_up(poses))


def look_at(
    places: Float64[Tensor, "F 3"], target: Float64[Tensor, " 3"], up: Float64[Tensor, " 3"]
) -> Float64[Tensor, "F 4 4"]:
    """Camera-to-world matrices (OpenGL axes) at ``places`` [F, 3] that look at ``target`` [3], shape [F, 4, 4].

    Args:
        places: where the cameras stand, float64.
        target: what they look at.
        up: direction that is upwards in the images; not along any view.
    """
    backward = normalize(places - target, dim=-1)
    right = normalize(torch.linalg.cross(up.expand_as(backward), backward), dim=-1)
    poses = torch.eye(4, dtype=places.dtype).repeat(len(places), 1, 1)
    poses[:, :3] = torch.stack([right, torch.linalg.cross(backward, right), backward, places], dim=-1)
    return poses


def _turns(frame_count: int) -> Tensor:
    """Angles of one closed turn, the end left out so that a looped video does not halt."""
    return torch.arange(frame_count, dtype=torch.float64) * (2.0 * math.pi / max(frame_count, 1))


def _mean_up(poses: Tensor) -> Tensor:
    """The cameras' common upward direction, or the first camera's where they have none; unit vector [3]."""
    up = poses[:, :3, 1].mean(0)
    return normalize(up, dim=0) if up.norm() > 0.1 else poses[0, :3, 1]


def _axis(directions: Tensor, up: Tensor) -> Tensor:
    """Middle of the directions [P, 3], or upwards where they go all around; unit vector [3]."""
    mean = directions.mean(0)
    return normalize(mean, dim=0) if mean.norm() > 0.2 else up


def _basis(axis: Tensor, up: Tensor) -> Tensor:
    """Orthonormal columns, the third along ``axis``, the second as upward as that allows, shape [3, 3]."""
    helper = up if abs(float(axis @ up)) < 0.99 else torch.eye(3, dtype=axis.dtype)[int(axis.abs().argmin())]
    right = normalize(torch.linalg.cross(helper, axis), dim=0)
    return torch.stack([right, torch.linalg.cross(axis, right), axis], dim=-1)
