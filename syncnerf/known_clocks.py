"""What a field says of clocks that it knows: how far it may mislead a fit of one that it does not know."""

from __future__ import annotations

from collections.abc import Sequence

from syncnerf.camera_pixels import UNKNOWNS
from syncnerf.clock_evidence import trained_clock
from syncnerf.modes import frozen
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend

MOST_CAMERAS = 6
"""Trained cameras that are looked at, evenly spread."""


def known_clock_error(synced: SyncedBackend, scene: Scene, cameras: Sequence[int], count: int, seed: int) -> float:
    """Root mean square, in seconds, of how far trained cameras' images pull at their clocks with the field held.

    A field that is unfinished shows motion early or late, some of it for all cameras alike, and no residual of a single
    fit tells. But it does so to the cameras that it was trained with too, and where their clocks are is known.
    A camera whose changes the field does not explain at all counts as a frame off.

    Args:
        synced: clock and field; every number is as before afterwards.
        scene: cameras and frames.
        cameras: global indices of the trained cameras whose clocks are known.
        count: pixels of each camera, about.
        seed: choice of the pixels.
    """
    squares, unknowns = [], UNKNOWNS[: synced.clock.unknown_count]
    with frozen(synced):
        for camera in cameras[:: -(-len(cameras) // MOST_CAMERAS)]:
            start, fit, _ = trained_clock(synced, scene, camera, count, seed, unknowns)
            pull = scene.frame_interval if fit is None else float((fit.unknowns - start)[0])
            squares.append(pull**2)
    return (sum(squares) / max(len(squares), 1)) ** 0.5
