"""Quad meshes, made with NumPy (scene units); all but panels are closed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """A quad mesh: ``vertices`` [V, 3] in scene units, ``faces`` [F, 4] of vertices, counter-clockwise from outside."""

    vertices: np.ndarray
    faces: np.ndarray


def _cube_grid(resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """The cube [-1, 1]^3 as a welded grid of ``resolution`` squares per edge: points [V, 3], faces [F, 4]."""
    ticks = np.arange(resolution + 1)
    first, second = np.meshgrid(ticks, ticks, indexing="ij")
    corners = np.stack([first[:-1, :-1], first[1:, :-1], first[1:, 1:], first[:-1, 1:]], axis=-1)
    partners = np.stack([second[:-1, :-1], second[1:, :-1], second[1:, 1:], second[:-1, 1:]], axis=-1)
    quads = []
    for axis in range(3):
        for side in (0, resolution):
            quad = np.empty((resolution * resolution, 4, 3), dtype=np.int64)
            quad[..., axis] = side
            quad[..., (axis + 1) % 3] = corners.reshape(-1, 4)
            quad[..., (axis + 2) % 3] = partners.reshape(-1, 4)
            quads.append(quad if side else quad[:, ::-1])
    lattice, faces = np.unique(np.concatenate(quads).reshape(-1, 3), axis=0, return_inverse=True)
    return lattice * (2.0 / resolution) - 1.0, faces.reshape(-1, 4)


def rounded_solid(
    half_sizes: tuple[float, float, float], exponent: float = 2.0, cylinder: bool = False, resolution: int = 20
) -> Mesh:
    """A superellipsoid with the given half sizes along x, y, z.

    ``exponent`` 2 is an ellipsoid, 8 a box with rounded edges. With ``cylinder`` the x-y section stays an ellipse, so
    a large exponent gives a disc or a drum.
    """
    points, faces = _cube_grid(resolution)
    # Equal angles per grid step, so that the squares near a cube's corner do not shrink after normalisation.
    points = np.tan(points * (np.pi / 4.0))
    directions = points / np.linalg.norm(points, axis=1, keepdims=True)
    across, along = np.abs(directions[:, :2]), np.abs(directions[:, 2])
    if cylinder:
        level = np.hypot(across[:, 0], across[:, 1]) ** exponent + along**exponent
    else:
        level = (across**exponent).sum(axis=1) + along**exponent
    vertices = directions * (level ** (-1.0 / exponent))[:, None] * np.asarray(half_sizes)
    return Mesh(vertices, faces)


def panel(width: float, depth: float) -> Mesh:
    """A rectangle in the x-y plane about the origin that faces +z."""
    x, y = width / 2, depth / 2
    corners = np.array([[-x, -y, 0.0], [x, -y, 0.0], [x, y, 0.0], [-x, y, 0.0]])
    return Mesh(corners, np.array([[0, 1, 2, 3]]))


def torus(major_radius: float, minor_radius: float, segments: int = 64, sides: int = 20) -> Mesh:
    """A torus around the z axis: ``major_radius`` from the axis to the tube's centre, ``minor_radius`` of the tube."""
    around = np.arange(segments) * (2.0 * np.pi / segments)
    tube = np.arange(sides) * (2.0 * np.pi / sides)
    around, tube = np.meshgrid(around, tube, indexing="ij")
    distance = major_radius + minor_radius * np.cos(tube)
    vertices = np.stack([distance * np.cos(around), distance * np.sin(around), minor_radius * np.sin(tube)], axis=-1)
    index = np.arange(segments * sides).reshape(segments, sides)
    ahead, above = np.roll(index, -1, axis=0), np.roll(index, -1, axis=1)
    faces = np.stack([index, ahead, np.roll(ahead, -1, axis=1), above], axis=-1)
    return Mesh(vertices.reshape(-1, 3), faces.reshape(-1, 4))
