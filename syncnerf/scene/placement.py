"""Where the scene lies relative to its cameras, when no file says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.records import matrix_of, positive
from syncnerf.scene.camera import Camera
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.scene import Scene

ROOM = 1.45
"""Half the side of the box around cameras that surround the scene, in mean distances from what they look at."""
FACING = 0.7
"""Cameras stand on one side of the scene if the mean of their unit viewing directions is longer than this."""
SPOT = 1e-9
"""Cameras whose distance from what they look at is smaller than this stand there, up to rounding."""
NEAR_SHARE = 0.1
"""Share of the rays on which a second camera sees something nearer than ``near``."""


@dataclass(frozen=True)
class Placement:
    """Where a field has to look.

    Attributes:
        bounds: corners of the box, float32, shape [2, 3].
        near: distance from a camera at which the scene may begin.
        far: distance at which it ends.
        space: ``bounded`` where the box holds everything there is, ``contraction`` where more lies beyond it.
    """

    bounds: Float32[Tensor, "2 3"]
    near: float
    far: float
    space: Literal["bounded", "contraction"]


def rig_placement(cameras: tuple[Camera, ...]) -> Placement:
    """Bounds, near and far of real footage, from the cameras alone.

    Cameras that surround the scene are assumed to stand in its room: the box holds them and the walls behind them. If
    they stand on one side, the box is centred on the point that they look at, its side is their mean distance from
    that, and everything beyond is contracted. ``near`` is where a second camera begins to see too
    (:func:`shared_distance`).
    """
    centres = torch.stack([camera.pose(0)[:3, 3] for camera in cameras])
    middle = looked_at_point(torch.stack([camera.pose(0) for camera in cameras]))
    radius = float((centres - middle).norm(dim=-1).mean())
    if radius < SPOT:  # a lone camera, or all in one place: any unit will do
        radius = 1.0
    facing = torch.stack([camera.pose(0)[:3, 2] for camera in cameras]).mean(0).norm()
    surrounded = bool(facing < FACING)
    half = ROOM * radius if surrounded else radius / 2
    bounds = torch.stack([middle - half, middle + half]).float()
    far = float((bounds[:, None].double() - centres).norm(dim=-1).max()) if surrounded else 4 * radius
    return Placement(bounds, shared_distance(cameras, radius), far, "bounded" if surrounded else "contraction")


def shared_distance(cameras: tuple[Camera, ...], radius: float, steps: int = 48) -> float:
    """Distance up to which hardly anything that a camera sees (on :data:`NEAR_SHARE` of its rays) is seen by a second
    one.

    Args:
        cameras: of the rig.
        radius: the cameras' distance from the scene; the answer lies between 0.1 and 0.5 of it.
        steps: number of distances that are tried.
    """
    least, most = 0.1 * radius, 0.5 * radius
    tried = least * (most / least) ** (torch.arange(steps, dtype=torch.float64) / (steps - 1))
    first = []
    for camera in cameras:
        size = camera.intrinsics
        pixels = torch.arange(0, size.width * size.height, max(1, size.width * size.height // 101))
        rays = camera.all_rays(0.0, 1.0)[pixels]
        points = rays.origins[:, None] + tried[None, :, None] * rays.directions[:, None].double()
        seen = camera_counts(points.reshape(-1, 3), cameras).reshape(len(pixels), steps) >= 2
        first.append(torch.where(seen.any(dim=1), tried[seen.int().argmax(dim=1)], most))
    return float(torch.cat(first).quantile(NEAR_SHARE))


def camera_counts(points: Float64[Tensor, "N 3"], cameras: tuple[Camera, ...]) -> Int64[Tensor, " N"]:
    """How many of the cameras (at their first frame) see points, float64 [N, 3]; int64, shape [N]."""
    counts = torch.zeros(len(points), dtype=torch.int64)
    for camera in cameras:
        counts += camera.pixels_of(points)[2]
    return counts


def seen_shares(bounds: Float32[Tensor, "2 3"], cameras: tuple[Camera, ...], resolution: int = 24) -> dict[str, float]:
    """Shares of a box, float32 [2, 3], seen by no camera, by one, by two or three, and by four or more."""
    ticks = (torch.arange(resolution, dtype=torch.float64) + 0.5) / resolution
    low, high = bounds.double()
    counts = camera_counts(low + torch.cartesian_prod(ticks, ticks, ticks) * (high - low), cameras)
    limits = {"none": (0, 0), "1": (1, 1), "2 or 3": (2, 3), "4 or more": (4, len(cameras))}
    return {
        name: float(((counts >= least) & (counts <= most)).double().mean()) for name, (least, most) in limits.items()
    }


def stated_placement(record: dict[str, Any], path: Path, placement: Placement) -> Placement:
    """A placement, overridden by ``bounds`` (or ``aabb``), ``near`` and ``far`` of a scene's json.

    Raises:
        UserError: the bounds are not a box, or near is not less than far.
    """
    for key in ("bounds", "aabb"):
        if key in record:
            corners = matrix_of(record[key], f"{path}: '{key}'")
            placement = replace(placement, bounds=box_of(corners, f"{path}: '{key}'"))
            break
    near, far = (positive(record, key, str(path), getattr(placement, key)) for key in ("near", "far"))
    check_order(near, far, str(path))
    return replace(placement, near=near, far=far)


def placed(scene: Scene, options: ReadOptions) -> Scene:
    """The scene with the bounds, near and far that the user asked for; raises UserError where they contradict."""
    near, far = options.near or scene.near, options.far or scene.far
    check_order(near, far, str(scene.root))
    bounds = scene.bounds
    if options.bounds:  # in the coordinates of the scene's files
        bounds = (torch.tensor(options.bounds, dtype=torch.float64).reshape(2, 3) - scene.origin).float()
    return replace(scene, bounds=bounds, near=near, far=far)


def box_of(corners: Float64[Tensor, "*shape"], where: str) -> Float32[Tensor, "2 3"]:
    """Two corners, the lower one first, as float32 [2, 3]; raises UserError where they are none."""
    if corners.shape != (2, 3) or not (corners[0] < corners[1]).all():
        raise UserError(f"{where} should be two corners of three numbers, the lower one first")
    return corners.float()


def check_order(near: float, far: float, where: str) -> None:
    """Raise UserError unless near is less than far."""
    if near >= far:
        raise UserError(f"{where}: 'near' = {near:g} should be less than 'far' = {far:g}")


def looked_at_point(poses: Float64[Tensor, "P 4 4"]) -> Float64[Tensor, " 3"]:
    """The point nearest to all optical axes (least squares), float64, shape [3], from poses [P, 4, 4]."""
    normal, right = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for pose in poses:
        axis, centre = pose[:3, 2], pose[:3, 3]
        across = torch.eye(3, dtype=torch.float64) - torch.outer(axis, axis)
        normal += across
        right += across @ centre
    # A lone camera or parallel axes leave the depth open: a small pull towards the cameras' own places settles it.
    centre = poses[:, :3, 3].mean(0)
    return torch.linalg.solve(normal + 1e-6 * torch.eye(3, dtype=torch.float64), right + 1e-6 * centre)
