"""Camera rigs: camera-to-world poses in OpenGL axes (+X right, +Y up, -Z view), world +Z up, scene units."""

from __future__ import annotations

import numpy as np

RIGS = ("cap", "ring", "arc", "forward")
ORIGIN = np.zeros(3)
CAP_ELEVATIONS = (10.0, 60.0)
"""Lowest and highest elevation of the cap and arc rigs, degrees."""


def on_sphere(azimuth: np.ndarray | float, elevation: np.ndarray | float, radius: float = 1.0) -> np.ndarray:
    """Points [..., 3] at ``azimuth`` from +X and ``elevation`` above the x-y plane, both in degrees."""
    azimuth, elevation = np.radians(azimuth), np.radians(elevation)
    return radius * np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1
    )


def look_at(position: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The camera-to-world matrix [4, 4] of an upright camera at ``position`` that looks at ``target``, both [3]."""
    backward = (position - target) / np.linalg.norm(position - target)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(backward, right), backward, position
    return pose


def cap_angles(cameras: int, azimuth_span: float) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spread directions on a cap: azimuth [C] and elevation [C] in degrees.

    Camera 0 (the test view) is held at the middle of the cap; the others start by farthest-point selection and are
    then evened out (Lloyd), so the held-out view is surrounded by training views at about equal distances.
    """
    low, high = CAP_ELEVATIONS
    grid_azimuth = np.linspace(-azimuth_span / 2, azimuth_span / 2, 181)
    grid_height = np.linspace(np.sin(np.radians(low)), np.sin(np.radians(high)), 61)
    azimuth, height = np.meshgrid(grid_azimuth, grid_height, indexing="ij")
    candidates = on_sphere(azimuth.ravel(), np.degrees(np.arcsin(height.ravel())))
    centres = on_sphere(np.array([0.0]), np.array([(low + high) / 2]))
    for _ in range(cameras - 1):
        nearest = (candidates @ centres.T).max(axis=1)
        centres = np.concatenate([centres, candidates[nearest.argmin()][None]])
    for _ in range(30):
        owner = (candidates @ centres.T).argmax(axis=1)
        for camera in range(1, cameras):
            mean = candidates[owner == camera].mean(axis=0)
            centres[camera] = mean / np.linalg.norm(mean)
    return np.degrees(np.arctan2(centres[:, 1], centres[:, 0])), np.degrees(np.arcsin(centres[:, 2]))


def ring_angles(cameras: int) -> tuple[np.ndarray, np.ndarray]:
    """Equal azimuth steps around the scene: azimuth [C] and elevation [C] in degrees.

    Elevations alternate about 30 degrees so that no two neighbours share their epipolar planes with the ground;
    camera 0 is at 30 degrees, between its neighbours.
    """
    elevation = 30.0 + 12.0 * np.where(np.arange(cameras) % 2, 1.0, -1.0)
    elevation[0] = 30.0
    return np.arange(cameras) * (360.0 / cameras), elevation


def forward_positions(cameras: int, radius: float, spread: float = 0.9) -> np.ndarray:
    """Camera centres [C, 3] of a forward-facing rig: a sunflower pattern on a flat disc of radius ``spread``.

    The disc faces the origin from ``radius`` scene units away; camera 0 is at its middle.
    """
    middle = look_at(on_sphere(np.array(0.0), np.array(25.0), radius), ORIGIN)
    index = np.arange(cameras)
    distance = spread * np.sqrt(index / max(cameras - 1, 1))
    angle = index * np.pi * (3.0 - np.sqrt(5.0))
    across = np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=-1)
    return middle[:3, 3] + across @ middle[:3, :2].T


def llff_poses_bounds(poses: np.ndarray, size: tuple[int, int], focal: float, near: float, far: float) -> np.ndarray:
    """``poses`` [C, 4, 4] as LLFF's ``poses_bounds.npy`` [C, 17]: 3x5 (down, right, back, centre, hwf), near, far.

    ``size``: width and height in pixels; ``focal``: pixels; ``near``, ``far``: scene units.
    """
    width, height = size
    down, right, back, centre = -poses[:, :3, 1], poses[:, :3, 0], poses[:, :3, 2], poses[:, :3, 3]
    shape = np.broadcast_to(np.array([height, width, focal], dtype=np.float64), centre.shape)
    matrices = np.stack([down, right, back, centre, shape], axis=-1).reshape(len(poses), 15)
    return np.concatenate([matrices, np.tile([near, far], (len(poses), 1))], axis=1)


def rig_poses(
    rig: str, cameras: int, frames: int, radius: float = 4.0, azimuth_span: float = 160.0, sweep: float = 30.0
) -> np.ndarray:
    """Camera-to-world poses [cameras, frames, 4, 4] at each frame of each camera's own video.

    ``cap`` and ``ring`` stand still. ``arc``: every camera starts on the cap and turns about the vertical axis by
    ``sweep`` degrees over its video, neighbours in opposite directions. ``forward``: still, on a disc on one side.
    """
    if rig == "forward":
        still = np.stack([look_at(position, ORIGIN) for position in forward_positions(cameras, radius)])
        return np.repeat(still[:, None], frames, axis=1)
    azimuth, elevation = ring_angles(cameras) if rig == "ring" else cap_angles(cameras, azimuth_span)
    progress = np.linspace(-0.5, 0.5, frames) if rig == "arc" and frames > 1 else np.zeros(frames)
    direction = np.where(np.arange(cameras) % 2, -1.0, 1.0)
    turned = azimuth[:, None] + sweep * direction[:, None] * progress[None]
    positions = on_sphere(turned, np.broadcast_to(elevation[:, None], turned.shape), radius)
    return np.stack([[look_at(position, ORIGIN) for position in camera] for camera in positions])
