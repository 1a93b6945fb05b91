"""Training cameras whose start nobody knows: found by comparing their pictures with what the others' field shows.

Synchronisation from motion leaves some cameras undetermined, or doubts them. Once the others have made a
field, such a *lost* camera is found, even many frames off, by searching for the time at which that field best explains
its pictures.
"""

from __future__ import annotations

import logging

import torch

from syncnerf.clock import Clock
from syncnerf.clock_search import ClockSearch
from syncnerf.config import HeldOutConfig
from syncnerf.modes import frozen
from syncnerf.offset_fit import OffsetFit
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend

logger = logging.getLogger(__name__)


def lost_cameras(clock: Clock, scene: Scene) -> list[int]:
    """Global indices of the training cameras whose clocks were unknown at the start, while others' were known."""
    if not clock.reckoned:
        return []
    return [camera for camera in scene.train if not clock.prior.variances[camera].isfinite()]


def find_lost(synced: SyncedBackend, scene: Scene, config: HeldOutConfig, seed: int = 0) -> list[int]:
    """Search for each lost camera's offset, as for a test camera's, and set its clock to what is found.

    Training alone would not find it: it starts such a camera at offset 0 and moves it by thousandths of a frame in a
    step, into the nearest local minimum. An early, coarse field may place the camera wrong by a good part of a frame,
    so the search is repeated as the field becomes sharper. A camera already within a standard error of what is found is
    left to training.

    Args:
        synced: clock and field; only lost cameras' clocks are changed.
        scene: cameras and frames.
        config: range, pixels and steps of the search.
        seed: choice of the pixels.

    Returns:
        Global indices of the cameras that were moved.
    """
    clock, moved = synced.clock, []
    lost = lost_cameras(clock, scene)
    # Offsets are relative to the reference as it is now; if it is lost itself, it must be moved last.
    for camera in sorted(lost, key=lambda index: index == clock.reference):
        found = _sought(synced, scene, camera, ClockSearch(synced, scene, config, seed, _others(scene, lost)))
        name, now = scene.names[camera], clock.offsets()[camera].item()
        if found.reason:
            logger.info("%s: the field does not tell yet when it recorded: %s", name, found.reason)
        elif abs(found.seconds - now) > found.stderr:
            clock.move_camera(camera, found.seconds, found.rate)
            moved.append(camera)
            logger.info(
                "%s: its pictures put its offset at %+.4f s +- %.4f, %.2f frames from where it was",
                name, found.seconds, found.stderr, abs(found.seconds - now) / scene.frame_interval,
            )  # fmt: skip
    return moved


def _others(scene: Scene, lost: list[int]) -> list[int]:
    """The training cameras that are not lost: the times at which they filmed are those that the field knows."""
    return [camera for camera in scene.train if camera not in lost]


def _sought(synced: SyncedBackend, scene: Scene, camera: int, search: ClockSearch) -> OffsetFit:
    """The offset that best explains a camera's pictures, searched for over half its video to either side."""
    own, size = scene.cameras[camera], scene.cameras[camera].intrinsics
    reach = search.config.test_range or own.duration / 2
    with frozen(synced):
        pixels = search.pixels_of(camera, torch.ones(size.height, size.width, dtype=torch.bool))
        found = search.look(pixels, 0.0, -reach, reach)
    if found.reason:
        return OffsetFit(camera, 0.0, torch.inf, 0.0, 0.0, found.grid, found.errors, 0, found.reason)
    return search.fit_of(camera, found.fit, found.grid, found.errors)
