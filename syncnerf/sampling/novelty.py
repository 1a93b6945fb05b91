"""How much of what moves in the pictures is new from one frame to the next: how fast a scene is for its cameras."""

from __future__ import annotations

import numpy as np

from syncnerf.sampling.statistics import pixel_statistics
from syncnerf.scene.scene import Scene

LEAST_DEVIATION = 0.05
"""Pixels that deviate less over time, in [0, 1], may show noise alone, of which every frame's is new."""


def scene_novelty(scene: Scene) -> float | None:
    """Share of a moving pixel's changes that is new after one frame interval of the scene, in [0, 1].

    The mean square of the difference between successive frames over twice the variance over time, summed over all
    pixels of the training cameras that change: the normalised structure function of the pictures at a lag of one frame.
    It is near 0 where successive frames are alike, and 1 where one tells nothing about the next. None if nothing moves.
    """
    new, all_changes = 0.0, 0.0
    for index in scene.train:
        statistics, camera = pixel_statistics(scene, index), scene.cameras[index]
        moving = statistics.deviation > LEAST_DEVIATION
        intervals = scene.frame_interval * camera.fps
        new += intervals * float(np.square(statistics.step[moving], dtype=np.float64).sum())
        all_changes += 2.0 * float(np.square(statistics.deviation[moving], dtype=np.float64).sum())
    return min(new / all_changes, 1.0) if all_changes > 0 else None
