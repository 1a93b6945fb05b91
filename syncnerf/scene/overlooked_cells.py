"""Space between the cameras that so few of them see that their pictures cannot tell what is there."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from syncnerf.scene.placement import camera_counts
from syncnerf.scene.scene import Scene
from syncnerf.scene.visual_hull import hull_points

LEAST_CAMERAS, LEAST_SHARE = 2, 0.1
"""A cell is overlooked if fewer cameras than this see it, or a smaller share of the training cameras."""
FLAT, DECIMALS = 1e-6, 9
"""Tolerance for points in one plane, as a share of the rig's size; decimals to which planes are compared."""
TRIPLES = 10_000
"""Triples of cameras whose planes are computed at once."""


def overlooked_cells(scene: Scene, resolution: int = 64) -> Bool[Tensor, "I J K"] | None:
    """Cells of the scene's box between its training cameras that hardly any of these sees, shape [resolution] * 3.

    Something that stood between the cameras would be seen by many of them. What only two of many see, in the corners of
    their pictures, is more likely the wall behind, at a wrong depth. (Beyond the cameras such things may be real.) None
    if a camera moves, if there is no space between the cameras, or if no cell is overlooked.
    """
    cameras = tuple(scene.cameras[index] for index in scene.train)
    if scene.space == "ndc" or any(camera.is_moving for camera in cameras):
        return None
    points, _ = hull_points(scene.bounds, (resolution,) * 3)
    between = lies_between(points, torch.stack([camera.pose(0)[:3, 3] for camera in cameras]))
    enough = max(LEAST_CAMERAS, math.ceil(LEAST_SHARE * len(cameras)))
    overlooked = torch.zeros(len(points), dtype=torch.bool)
    overlooked[between] = camera_counts(points[between], cameras) < enough
    return overlooked.reshape((resolution,) * 3) if bool(overlooked.any()) else None


def lies_between(points: Float64[Tensor, "N 3"], corners: Float64[Tensor, "C 3"]) -> Bool[Tensor, " N"]:
    """Which points, float64 [N, 3], lie within the convex hull of others [C, 3], bool, [N]; none if that is flat."""
    if len(corners) < 4:
        return torch.zeros(len(points), dtype=torch.bool)
    middle = corners.mean(dim=0)
    size = (corners - middle).norm(dim=-1).max()
    faces = _faces((corners - middle) / size)
    found, places = torch.full((len(points),), len(faces) > 0), (points - middle) / size
    for face in faces:
        found &= places @ face[:3] < face[3]
    return found


def _faces(corners: Float64[Tensor, "C 3"]) -> Float64[Tensor, "F 4"]:
    """Faces of the corners' convex hull: unit normals outwards, and distances of the planes from the origin, [F, 4]."""
    found = [corners.new_empty(0, 4)]
    for triples in torch.combinations(torch.arange(len(corners)), 3).split(TRIPLES):
        first, second, third = corners[triples].unbind(dim=1)
        normals = torch.linalg.cross(second - first, third - first)
        fit = normals.norm(dim=-1) > FLAT
        normals, first = torch.nn.functional.normalize(normals[fit], dim=-1), first[fit]
        distances, places = (normals * first).sum(dim=-1), normals @ corners.T
        for sign, outer in ((1.0, places.amax(dim=1)), (-1.0, -places.amin(dim=1))):
            planes = sign * torch.cat([normals, distances[:, None]], dim=1)
            found.append(planes[planes[:, 3] > outer - FLAT])
    # A plane through more than three corners is found several times.
    return torch.cat(found).round(decimals=DECIMALS).unique(dim=0)
