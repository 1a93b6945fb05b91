"""Training cameras whose clocks nothing was known of: found in the field that the others have made."""

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
    """Global indices of the training cameras of whose clocks nothing was known, while it was of others'."""
    if not clock.reckoned:
        return []
    return [camera for camera in scene.train if not clock.prior.variances[camera].isfinite()]


def find_lost(synced: SyncedBackend, scene: Scene, config: HeldOutConfig, seed: int = 0) -> list[int]:
    """Seek each lost camera's clock as a test camera's is sought, and put it where its pictures belong.

    Training starts such a camera at 0 and moves it by thousandths of a frame, along the gradients of the valley that it
    is in; what an early, coarse field says of it may be off by a good part of a frame, so that it is asked again. A
    camera that stands within a standard error of what is found is left to training.

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
    # All are sought on the reference's clock as it is now, so that one goes last.
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
    """The training cameras that are not lost: the field's time is theirs."""
    return [camera for camera in scene.train if camera not in lost]


def _sought(synced: SyncedBackend, scene: Scene, camera: int, search: ClockSearch) -> OffsetFit:
    """What a search over half the video to either side finds of a camera."""
    own, size = scene.cameras[camera], scene.cameras[camera].intrinsics
    reach = search.config.test_range or own.duration / 2
    with frozen(synced):
        pixels = search.pixels_of(camera, torch.ones(size.height, size.width, dtype=torch.bool))
        found = search.look(pixels, 0.0, -reach, reach)
    if found.reason:
        return OffsetFit(camera, 0.0, torch.inf, 0.0, 0.0, found.grid, found.errors, 0, found.reason)
    return OffsetFit.of(camera, found.fit, own.frame_times, found.grid, found.errors)
