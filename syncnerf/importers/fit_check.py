"""Whether a calibration fits its videos, by what moves in them and by what moving cameras see hold still."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from syncnerf.errors import UserError
from syncnerf.importers.misreadings import (
    misread_poses,
    misread_sizes,
    replaced_camera,
    shifted_cameras,
    swapped_cameras,
)
from syncnerf.importers.moving_check import check_moving
from syncnerf.scene import Camera, Scene
from syncnerf.sync.comparison import Comparison, compare_all
from syncnerf.sync.conventions import Reading, agreements, better_reading, is_best_reading
from syncnerf.sync.epipolar import EpipolarCameras, compare_pair, prepare_cameras
from syncnerf.sync.long import excerpts
from syncnerf.sync.synchronize import WORKING_SIDE, resolve

STRETCH = 20.0
"""Seconds in the middle of each video that are looked at."""
MOST_CAMERAS = 6
"""Cameras that are compared with each other, spread over all."""
ENOUGH = 0.5
"""Share of the pairs that must agree for a calibration that fits."""
TELLING_FRAMES = 100
"""Frames with motion that cameras must share for their disagreement to count: at 30 frames per second two see the same
motion in 118 of them in most pairs, and in 82 they often do not. Measured."""


def check_fit(scene: Scene, extrinsics: bool = False) -> str:
    """What the motion says of a scene's calibration, in a line that begins with ``warning:`` where it does not fit.

    Cameras that move have a line of their own.

    Args:
        scene: as imported, at any size; its videos need not be synchronised.
        extrinsics: its calibration should hold world-to-camera in OpenCV axes; else camera-to-world in OpenGL axes.
    """
    still = [index for index, camera in enumerate(scene.cameras) if not camera.is_moving]
    if len(still) < len(scene.cameras):
        lines = [check_moving(scene, extrinsics)]
        if len(still) > 1:
            lines.insert(0, check_still(only(scene, still), extrinsics))
        return "\n".join(lines)
    return check_still(scene, extrinsics)


def check_still(scene: Scene, extrinsics: bool) -> str:
    """:func:`check_fit` of cameras that stand still: what moves does so on the same epipolar lines of two cameras."""
    chosen = torch.linspace(0, len(scene.cameras) - 1, min(MOST_CAMERAS, len(scene.cameras))).round().long().tolist()
    part = only(scene, chosen)
    with excerpts(part, [middle(camera, STRETCH) for camera in part.cameras]) as stretch:
        small = stretch.resized(WORKING_SIDE)
        small.frame_cache.prepare(small.cameras)
        try:
            prepared = prepare_cameras(small)
        except UserError:
            return "whether the calibration fits the videos is not known: nothing moves in their middle"
        comparisons = compare_all(len(chosen), partial(compare_pair, prepared, max_offset=None))
        together = all(comparison.reason.startswith("no baseline") for comparison in comparisons)
        agreeing = 0 if together else sum(pair.used for pair in resolve(small, "epipolar", comparisons).pairs)
        given = agreements(prepared, small.cameras)
        usual = _usual_misreadings(scene, chosen, small.cameras, extrinsics)
        hint = _misreading(scene, chosen, small.cameras, prepared, agreeing, given, usual)
    share = f"{agreeing} of {len(comparisons)} pairs of cameras see the same motion on the same lines"
    if hint:
        return f"warning: the calibration does not fit the videos: {hint}"
    if together:
        return "warning: the calibration does not fit: all cameras stand in one place"
    if agreeing <= ENOUGH * len(comparisons):
        frames = _shared_frames(comparisons)
        if frames < TELLING_FRAMES and is_best_reading(prepared, given, usual):
            return (
                f"whether the calibration fits the videos is not sure: only {share}, but they share no more than "
                f"{frames} frames with motion, and every usual misreading fits less"
            )
        return f"warning: only {share}: is the calibration that of these videos, does something move that all see?"
    return f"calibration and videos fit: {share}"


def only(scene: Scene, chosen: Sequence[int]) -> Scene:
    """The scene with some of its cameras."""
    return replace(scene, cameras=tuple(scene.cameras[index] for index in chosen), test=(), _frames={})


def middle(camera: Camera, seconds: float) -> list[int]:
    """Indices of the frames in the middle of a camera's video."""
    begin = float(camera.frame_times[0] + camera.frame_times[-1] - seconds) / 2
    inside = (camera.frame_times >= begin) & (camera.frame_times <= begin + seconds)
    return inside.nonzero()[:, 0].tolist()


def neighbours(scene: Scene, chosen: Sequence[int]) -> list[list[Camera]]:
    """For some cameras those before them in the scene's order, and those after them."""
    count = len(scene.cameras)
    return [[scene.cameras[(index + step) % count] for index in chosen] for step in (-1, 1)]


def _shared_frames(comparisons: Sequence[Comparison]) -> int:
    """Frames with motion that two cameras share at most."""
    landscapes = [comparison.landscape for comparison in comparisons if comparison.landscape is not None]
    return max((int(landscape.overlap.max()) for landscape in landscapes), default=0)


def _usual_misreadings(
    scene: Scene, chosen: Sequence[int], cameras: tuple[Camera, ...], extrinsics: bool
) -> list[Reading]:
    """Readings of the whole rig that a right calibration is confused with."""
    shifted = shifted_cameras(cameras, neighbours(scene, chosen))
    return [*misread_poses(cameras, extrinsics), *misread_sizes(cameras), *shifted]


def _misreading(
    scene: Scene,
    chosen: Sequence[int],
    cameras: tuple[Camera, ...],
    prepared: EpipolarCameras,
    agreeing: int,
    given: dict[tuple[int, int], float],
    usual: Sequence[Reading],
) -> str:
    """What is wrong with the calibration of a scene by some of its cameras; empty if nothing is found."""
    others = [camera for index, camera in enumerate(scene.cameras) if index not in chosen]
    tried = (usual, swapped_cameras(cameras, given), replaced_camera(cameras, others, given))
    best = None
    for readings in tried:
        best = best or better_reading(prepared, given, readings, agreeing)
    if best is None:
        return ""
    alike = f", {best.gain:.1f} times as alike" if any(given.values()) else ""
    return f"it looks as if {best.said}: {best.pairs} of {len(given)} pairs of cameras see the same motion then{alike}"
