"""Shifts times of day, or of a computer's clock, to seconds near zero, where searches for offsets expect them."""

import logging
from dataclasses import replace

from syncnerf.scene.scene import Scene

logger = logging.getLogger(__name__)


def with_times_from_zero(scene: Scene) -> Scene:
    """The scene with its cameras' times counted from the earliest frame of all, and nothing else changed.

    All cameras are shifted by the same amount, so differences between them, and offsets, stay the same.
    """
    given = [camera.given_times for camera in scene.cameras if camera.given_times is not None]
    if not given:
        return scene
    begin = min(float(times[0]) for times in given)
    if begin and len(given) == len(scene.cameras):
        cameras = tuple(replace(camera, given_times=camera.given_times - begin) for camera in scene.cameras)
        scene = replace(scene, cameras=cameras)
    if not scene.synchronised:
        _warn_of_separate_clocks(scene)
    return scene


def _warn_of_separate_clocks(scene: Scene) -> None:
    """Warn if two cameras have no moment in common by their given times: each may count from a zero of its own."""
    begun = [float(camera.frame_times[0]) for camera in scene.cameras]
    ended = [float(camera.frame_times[-1]) for camera in scene.cameras]
    last, first = max(range(len(begun)), key=begun.__getitem__), min(range(len(ended)), key=ended.__getitem__)
    if begun[last] > ended[first]:
        names = scene.names
        logger.warning(
            "%s: by their given times camera %s begins %.6g s after %s has ended; if each counts from a zero of its "
            "own, let the times of each begin at 0", scene.root, names[last], begun[last] - ended[first], names[first],
        )  # fmt: skip
