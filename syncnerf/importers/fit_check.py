"""Checks whether a calibration fits its videos, without synchronising them.

Two calibrated cameras determine pairs of epipolar lines: what one sees on such a line, the other can only see on the
other line. So if the calibration is right, motion on corresponding lines looks alike, apart from a shift in time.
Moving cameras are checked by points that should stand still in space (:mod:`syncnerf.importers.moving_check`).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

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
from syncnerf.sync.conventions import Reading, agreements, better_reading, chosen_of, is_best_reading
from syncnerf.sync.epipolar import compare_pair
from syncnerf.sync.epipolar_cameras import EpipolarCameras, prepare_cameras
from syncnerf.sync.resolve import resolve
from syncnerf.sync.shortened import excerpts
from syncnerf.sync.synchronize import WORKING_SIDE

STRETCH = 20.0
"""Seconds in the middle of each video that are examined."""
MOST_CAMERAS = 24
"""Most cameras that are examined, spread evenly over all; every pair of them is compared."""
MOST_READ_ANEW = 6
"""Cameras among them with which misreadings of the calibration are tried."""
ENOUGH = 0.5
"""A calibration fits if more than this share of the pairs agree."""
ODD = 0.5
"""A camera stands out that agrees with a smaller share of the others than this of the share that agree without it.
Measured: in nine right rigs each had more than 0.7 of it, and each of ten turned by 10 degrees less than half."""
TELLING_FRAMES = 100
"""If cameras share fewer frames with motion than this, their disagreement is no proof. Measured at 30 frames per
second: with 118 frames most pairs see the same motion, with 82 they often do not."""


def check_fit(scene: Scene, extrinsics: bool = False) -> str:
    """One line on whether a scene's calibration fits its videos; it begins with ``warning:`` if not.

    Moving cameras get a line of their own.

    Args:
        scene: as imported, at any size; its videos need not be synchronised.
        extrinsics: whether the calibration's format holds world-to-camera poses in OpenCV axes (else camera-to-world in
            OpenGL axes), which decides how it may have been misread.
    """
    still = [index for index, camera in enumerate(scene.cameras) if not camera.is_moving]
    if len(still) < len(scene.cameras):
        lines = [check_moving(scene, extrinsics)]
        if len(still) > 1:
            lines.insert(0, check_still(only(scene, still), extrinsics))
        return "\n".join(lines)
    return check_still(scene, extrinsics)


def check_still(scene: Scene, extrinsics: bool) -> str:
    """:func:`check_fit` for static cameras: whether pairs see the same motion on corresponding epipolar lines."""
    chosen = _spread(len(scene.cameras), MOST_CAMERAS)
    part = only(scene, chosen)
    with excerpts(part, [middle(camera, STRETCH) for camera in part.cameras]) as stretch:
        small = stretch.resized(WORKING_SIDE)
        small.frame_cache.prepare(small.cameras)
        try:
            prepared = prepare_cameras(small)
        except UserError:
            return "whether the calibration fits the videos is not known: nothing moves in their middle"
        comparisons = compare_all(len(chosen), partial(compare_pair, prepared, max_offset=None))
        if all(comparison.reason.startswith("no baseline") for comparison in comparisons):
            return "warning: the calibration does not fit: all cameras stand in one place"
        agreeing = [(pair.first, pair.second) for pair in resolve(small, "epipolar", comparisons).pairs if pair.used]
        odd = odd_cameras(len(chosen), agreeing)
        few = sorted({*odd[:1], *_spread(len(chosen), MOST_READ_ANEW)})
        some, cameras = chosen_of(prepared, few), tuple(small.cameras[index] for index in few)
        places = [chosen[index] for index in few]
        given = agreements(some, cameras)
        usual = _usual_misreadings(scene, places, cameras, extrinsics)
        among = sum(first in few and second in few for first, second in agreeing)
        hint = _misreading(scene, places, cameras, some, among, given, usual)
    share = f"{len(agreeing)} of {len(comparisons)} pairs of cameras see the same motion on the same lines"
    if hint:
        return f"warning: the calibration does not fit the videos: {hint}"
    if len(agreeing) <= ENOUGH * len(comparisons):
        frames = _shared_frames(comparisons)
        if frames < TELLING_FRAMES and is_best_reading(some, given, usual):
            return (
                f"whether the calibration fits the videos is not sure: only {share}, but they share no more than "
                f"{frames} frames with motion, and every usual misreading fits less"
            )
        return f"warning: only {share}: is the calibration that of these videos, does something move that all see?"
    if odd:
        names = ", ".join(part.cameras[index].name for index in odd)
        return f"warning: {share}, but few or none of {names}: was it turned, moved or zoomed since it was calibrated?"
    return f"calibration and videos fit: {share}"


def odd_cameras(count: int, agreeing: Sequence[tuple[int, int]]) -> list[int]:
    """Cameras that agree with far fewer others than is usual among the others, the worst first.

    Args:
        count: number of cameras, of which each was compared with each other.
        agreeing: the pairs that agree.
    """
    agreed = np.bincount(np.asarray(agreeing, dtype=np.int64).reshape(-1), minlength=count)
    others = (len(agreeing) - agreed) / max(math.comb(count - 1, 2), 1)
    odd = np.flatnonzero(agreed / max(count - 1, 1) < ODD * others).tolist()
    return sorted(odd, key=lambda index: agreed[index])


def _spread(count: int, most: int) -> list[int]:
    """At most so many indices below ``count``, spread evenly."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()


def only(scene: Scene, chosen: Sequence[int]) -> Scene:
    """The scene with some of its cameras."""
    return replace(scene, cameras=tuple(scene.cameras[index] for index in chosen), test=(), _frames={})


def middle(camera: Camera, seconds: float) -> list[int]:
    """Indices of the frames in the middle of a camera's video."""
    begin = float(camera.frame_times[0] + camera.frame_times[-1] - seconds) / 2
    inside = (camera.frame_times >= begin) & (camera.frame_times <= begin + seconds)
    return inside.nonzero()[:, 0].tolist()


def neighbours(scene: Scene, chosen: Sequence[int]) -> list[list[Camera]]:
    """The chosen cameras' predecessors in the scene's order, and their successors."""
    count = len(scene.cameras)
    return [[scene.cameras[(index + step) % count] for index in chosen] for step in (-1, 1)]


def _shared_frames(comparisons: Sequence[Comparison]) -> int:
    """The largest number of frames with motion that any two cameras share."""
    landscapes = [comparison.landscape for comparison in comparisons if comparison.landscape is not None]
    return max((int(landscape.overlap.max()) for landscape in landscapes), default=0)


def _usual_misreadings(
    scene: Scene, chosen: Sequence[int], cameras: tuple[Camera, ...], extrinsics: bool
) -> list[Reading]:
    """The usual ways to misread a whole rig's calibration."""
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
    """What is wrong with a scene's calibration, judged by some of its cameras; empty if no misreading explains it."""
    others = [camera for index, camera in enumerate(scene.cameras) if index not in chosen]
    tried = (usual, swapped_cameras(cameras, given), replaced_camera(cameras, others, given))
    best = None
    for readings in tried:
        best = best or better_reading(prepared, given, readings, agreeing)
    if best is None:
        return ""
    alike = f", {best.gain:.1f} times as alike" if any(given.values()) else ""
    return f"it looks as if {best.said}: {best.pairs} of {len(given)} pairs of cameras see the same motion then{alike}"
