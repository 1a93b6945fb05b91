"""Whether a calibration fits its videos: what moves must move on the same epipolar lines in both of two cameras."""

from dataclasses import replace
from functools import partial

import torch

from syncnerf.errors import UserError
from syncnerf.scene import Scene
from syncnerf.sync.comparison import compare_all
from syncnerf.sync.conventions import convention_hint
from syncnerf.sync.epipolar import compare_pair, prepare_cameras
from syncnerf.sync.long import excerpts
from syncnerf.sync.synchronize import WORKING_SIDE

STRETCH = 20.0
"""Seconds in the middle of each video that are looked at."""
MOST_CAMERAS = 6
"""Cameras that are compared with each other, spread over all."""
ENOUGH = 0.5
"""Share of the pairs that must agree for a calibration that fits."""


def check_fit(scene: Scene) -> str:
    """What the motion says of a scene's calibration, in one line that begins with ``warning:`` where it does not fit.

    Args:
        scene: as imported, at any size; its videos need not be synchronised.
    """
    if any(camera.is_moving for camera in scene.cameras):
        return "whether the calibration fits the videos is not checked: cameras move"
    chosen = torch.linspace(0, len(scene.cameras) - 1, min(MOST_CAMERAS, len(scene.cameras))).round().long().tolist()
    part = replace(scene, cameras=tuple(scene.cameras[index] for index in chosen), test=(), _frames={})
    frames = []
    for camera in part.cameras:
        begin = float(camera.frame_times[0] + camera.frame_times[-1] - STRETCH) / 2
        inside = (camera.frame_times >= begin) & (camera.frame_times <= begin + STRETCH)
        frames.append(inside.nonzero()[:, 0].tolist())
    with excerpts(part, frames) as stretch:
        small = stretch.resized(WORKING_SIDE)
        small.frame_cache.prepare(small.cameras)
        try:
            prepared = prepare_cameras(small)
        except UserError:
            return "whether the calibration fits the videos is not known: nothing moves in their middle"
        comparisons = compare_all(len(chosen), partial(compare_pair, prepared, max_offset=None))
        hint = convention_hint(small.cameras, prepared, comparisons)
    agreeing = sum(comparison.peak is not None and not comparison.reason for comparison in comparisons)
    if all(comparison.reason.startswith("no baseline") for comparison in comparisons):
        return "warning: the calibration does not fit: all cameras stand in one place; are the poses world-to-camera?"
    share = f"{agreeing} of {len(comparisons)} pairs of cameras see the same motion on the same lines"
    if hint:
        return f"warning: the calibration does not fit the videos: {hint}"
    if agreeing < ENOUGH * len(comparisons):
        return f"warning: only {share}: is the calibration that of these videos, does something move that all see?"
    return f"calibration and videos fit: {share}"
