"""Whether the poses of moving cameras fit their videos: most of what they see holds still in space."""

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
"""Frames in the middle of each video in which points are followed."""
MOST_CAMERAS = 3
LEAST_POINTS = 20
"""Points over all cameras, below which nothing can be said."""
ENOUGH = 0.4
"""Share of the points that must hold still for poses that fit."""
BETTER = 1.5
"""How many times as many points must hold still for another reading to be named."""


def check_moving(scene: Scene, extrinsics: bool) -> str:
    """What still points say of the moving cameras' poses, in a line that begins with ``warning:`` where they differ.

    Focal lengths are not told apart: near ones suit the points of a short path as well.

    Args:
        scene: as imported, at the size that points are followed at.
        extrinsics: the calibration should hold world-to-camera in OpenCV axes; else camera-to-world in OpenGL axes.
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
    """How many of the followed points a fixed place in space explains, by the cameras' poses."""
    pairs = zip(tracks, cameras, strict=True)
    return sum(int((static_error(all_rays(found, camera)) <= STATIC_ERROR).sum()) for found, camera in pairs)


def _best(readings: Sequence[Reading], tracks: Sequence[Tracks]) -> tuple[Reading, int]:
    """The reading by which most points hold still, and their number."""
    counts = [still_points(tracks, reading.cameras) for reading in readings]
    most = max(counts)
    return readings[counts.index(most)], most
