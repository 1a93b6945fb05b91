"""Checks whether moving cameras' poses fit their videos: most points that they see should stand still in space."""

from collections.abc import Sequence
from dataclasses import replace

from syncnerf.importers.misreadings import misread_poses
from syncnerf.scene import Camera, Scene
from syncnerf.sync.conventions import Reading
from syncnerf.sync.sampson import STATIC_ERROR, all_rays, static_error
from syncnerf.sync.shortened import excerpts
from syncnerf.sync.tracks import Tracks, follow_points
from syncnerf.sync.workers import in_parallel

FRAMES = 40
"""Frames in the middle of each video through which points are tracked."""
MOST_CAMERAS = 3
LEAST_POINTS = 20
"""With fewer tracked points over all cameras, nothing can be said."""
ENOUGH = 0.4
"""Poses fit if at least this share of the points stands still."""
BETTER = 1.5
"""Another reading of the poses is named if this many times as many points stand still with it."""


def check_moving(scene: Scene, extrinsics: bool) -> str:
    """One line on whether the moving cameras' poses fit; it begins with ``warning:`` if not.

    Wrong focal lengths may go unnoticed: along a short path, similar ones explain the points as well.

    Args:
        scene: as imported, at the size at which points are tracked.
        extrinsics: whether the calibration's format holds world-to-camera poses in OpenCV axes (else camera-to-world in
            OpenGL axes), which decides how it may have been misread.
    """
    moving = [camera for camera in scene.cameras if camera.is_moving][:MOST_CAMERAS]
    frames = []
    for camera in moving:
        first = max(0, (camera.frame_count - FRAMES) // 2)
        frames.append(list(range(first, min(first + FRAMES, camera.frame_count))))
    with excerpts(replace(scene, cameras=tuple(moving), test=(), _frames={}), frames) as part:
        part.frame_cache.prepare(part.cameras)
        cameras = part.cameras
        tracks = in_parallel(lambda camera: follow_points(part.frame_cache.open(camera)), cameras, "points", "camera")
    count = sum(found.points.shape[1] for found in tracks)
    if count < LEAST_POINTS:
        return "whether the moving cameras' poses fit is not known: their videos show too few points to follow"
    given = still_points(tracks, cameras)
    best, most = _best(misread_poses(cameras, extrinsics), tracks)
    if most > BETTER * given and most >= ENOUGH * count:
        return (
            f"warning: the moving cameras' poses do not fit: it looks as if {best.said}: {most} of {count} points hold "
            f"still then instead of {given}"
        )
    share = f"{given} of {count} points that the moving cameras follow hold still in space"
    if given < ENOUGH * count:
        return f"warning: only {share}: are the poses those of these videos, frame by frame?"
    return f"the moving cameras' poses fit: {share}"


def still_points(tracks: Sequence[Tracks], cameras: Sequence[Camera]) -> int:
    """How many of the tracked points can stand still in space, given the cameras' poses."""
    pairs = zip(tracks, cameras, strict=True)
    return sum(int((static_error(all_rays(found, camera)) <= STATIC_ERROR).sum()) for found, camera in pairs)


def _best(readings: Sequence[Reading], tracks: Sequence[Tracks]) -> tuple[Reading, int]:
    """The reading with which most points stand still, and their number."""
    counts = [still_points(tracks, reading.cameras) for reading in readings]
    most = max(counts)
    return readings[counts.index(most)], most
