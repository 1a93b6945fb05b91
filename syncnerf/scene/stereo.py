"""Where the still scene is along every pixel's ray: stereo of the cameras' median pictures."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor
from tqdm import tqdm

from syncnerf.scene.camera import Camera
from syncnerf.scene.plane_sweep import best_distances, matching_costs, smoothed_costs
from syncnerf.scene.points import point_placement, scene_points
from syncnerf.scene.scene import Scene

SIDE = 160
"""Longer side in pixels at which pictures are compared."""
NEIGHBOURS = 4
"""Number of cameras that each picture is compared with."""
WITNESSES, AGREEING = 6, 2
"""A distance is kept if, of the nearest neighbours (the first number), enough (the second) found the same one."""
TOLERANCE = 1.5
"""Largest difference between agreeing distances, in pixels of the compared pictures."""
LEAST_FACING = 0.3
"""Cosine between two viewing directions below which cameras hardly see the same surfaces."""
FEWEST_DISTANCES, MOST_DISTANCES = 8, 192
"""Distances are spaced by a pixel of parallax. If fewer than the first number lie between near and far, neighbours are
too close together to tell depth; at most the second number is tried."""


def can_be_compared(scene: Scene) -> bool:
    """Whether :func:`still_distances` has an answer that helps: cameras that stand before an unknown background."""
    moving = any(scene.cameras[index].is_moving for index in scene.train)
    return scene.background is None and scene.space != "ndc" and not moving and len(scene.train) > AGREEING


@torch.no_grad()
def still_distances(scene: Scene, pictures: dict[int, Float[Tensor, "H W"]]) -> dict[int, Float32[Tensor, "h w"]]:
    """Distance along its rays at which each training camera sees the still scene; NaN where that is not known.

    Each picture is compared with those of the nearest cameras that look the same way
    (:mod:`syncnerf.scene.plane_sweep`), and a distance is kept if those of several other cameras agree with it.

    Args:
        scene: the scene.
        pictures: what the training cameras, which do not move, see of it: grey in [0, 1], by global index.

    Returns:
        Distances at the size of the comparison, :data:`SIDE` pixels at most, by global index.
    """
    small = {index: _small(scene.cameras[index], picture) for index, picture in pictures.items()}
    placement = point_placement(scene, scene_points(scene))
    near = max(scene.near, placement[1]) if placement else scene.near
    found = {}
    for index, (camera, picture) in tqdm(small.items(), desc="stereo", unit="camera", leave=False):
        neighbours = [small[other] for other in _neighbours(scene, index)[:NEIGHBOURS]]
        tried = _tried_distances(camera, [other for other, _ in neighbours], near, scene.far)
        if len(tried) >= FEWEST_DISTANCES:
            costs = smoothed_costs(matching_costs(camera, picture, neighbours, tried), picture)
            found[index] = best_distances(costs, tried), float(tried.reciprocal().diff().abs().mean())
    return {index: _confirmed(scene, small, found, index) for index in small}


def _small(camera: Camera, picture: Tensor) -> tuple[Camera, Tensor]:
    """A camera and its grey picture [H, W] at the size of the comparison."""
    size = camera.intrinsics
    scale = min(1.0, SIDE / max(size.width, size.height))
    camera = camera.resized(round(scale * size.width), round(scale * size.height))
    size = (camera.intrinsics.height, camera.intrinsics.width)
    return camera, torch.nn.functional.interpolate(picture[None, None], size, mode="area")[0, 0]


def _neighbours(scene: Scene, index: int) -> list[int]:
    """Other training cameras that look the same way, the nearest first."""
    own = scene.cameras[index].pose(0)
    poses = {other: scene.cameras[other].pose(0) for other in scene.train if other != index}
    facing = [other for other, pose in poses.items() if float(own[:3, 2] @ pose[:3, 2]) > LEAST_FACING]
    return sorted(facing, key=lambda other: float((poses[other][:3, 3] - own[:3, 3]).norm()))


def _tried_distances(camera: Camera, neighbours: list[Camera], near: float, far: float) -> Float64[Tensor, " D"]:
    """Distances from near to far, evenly spaced in their inverse: a step is a pixel in the farthest neighbour."""
    centre = camera.pose(0)[:3, 3]
    farthest = max([0.0, *(float((other.pose(0)[:3, 3] - centre).norm()) for other in neighbours)])
    pixels = camera.intrinsics.focal_x * farthest * (1.0 / near - 1.0 / far)
    count = min(MOST_DISTANCES, max(0, round(pixels)) + 1)
    return torch.linspace(1.0 / near, 1.0 / far, count, dtype=torch.float64).reciprocal()


def _confirmed(
    scene: Scene, small: dict[int, tuple[Camera, Tensor]], found: dict[int, tuple[Tensor, float]], index: int
) -> Float32[Tensor, "H W"]:
    """A camera's distances, NaN where too few others agree with them.

    Args:
        scene: the scene.
        small: cameras and pictures as they were compared.
        found: each camera's distances, and the step of inverse distance that makes a pixel.
        index: of the camera.
    """
    camera, picture = small[index]
    if index not in found:
        return torch.full_like(picture, torch.nan)
    distances, step = found[index]
    rays = camera.all_rays(0.0, 1.0)
    places = rays.origins + distances.reshape(-1, 1).double() * rays.directions
    agreeing = torch.zeros(len(places), dtype=torch.int64)
    for other in _neighbours(scene, index)[:WITNESSES]:
        if other in found:
            pixel, _, inside = small[other][0].pixels_of(places)
            expected = (places - small[other][0].pose(0)[:3, 3]).norm(dim=-1)
            apart = (found[other][0].reshape(-1)[pixel].reciprocal() - expected.reciprocal()).abs()
            agreeing += inside & (apart < TOLERANCE * max(step, found[other][1]))
    return torch.where(agreeing.reshape(distances.shape) >= AGREEING, distances, torch.nan)
