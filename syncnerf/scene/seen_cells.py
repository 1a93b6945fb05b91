"""Which part of space enough cameras see to tell what is there."""

from __future__ import annotations

import math

from jaxtyping import Bool
from torch import Tensor

from syncnerf.scene.placement import camera_counts
from syncnerf.scene.scene import Scene
from syncnerf.scene.visual_hull import hull_points

LEAST_CAMERAS, LEAST_SHARE = 2, 0.1
"""Cameras, and the share of the training cameras, that must see a cell."""


def seen_cells(scene: Scene, resolution: int = 64) -> Bool[Tensor, "I J K"] | None:
    """Cells of the scene's box that enough training cameras see, bool, shape [resolution] * 3 (x, y, z).

    What one camera alone sees, or two of many, may be anything: it explains their pictures and hangs before others'
    lenses. None where a camera moves, or where the scene goes on beyond the box.
    """
    cameras = tuple(scene.cameras[index] for index in scene.train)
    if scene.space != "bounded" or any(camera.is_moving for camera in cameras):
        return None
    points, _ = hull_points(scene.bounds, (resolution,) * 3)
    enough = max(LEAST_CAMERAS, math.ceil(LEAST_SHARE * len(cameras)))
    return (camera_counts(points, cameras) >= enough).reshape((resolution,) * 3)
