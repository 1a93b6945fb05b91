"""Videos without scores: camera paths through the scene, and test views of a finished run."""

from __future__ import annotations

from pathlib import Path

import torch

from syncnerf.clock import Clock
from syncnerf.evaluation.camera_paths import smooth_path
from syncnerf.evaluation.shots import Shot, evaluated_frames, own_pace, render_shot
from syncnerf.evaluation.videos import video_writer
from syncnerf.scene.scene import Scene
from syncnerf.seen import seen_span
from syncnerf.synced import SyncedBackend

PATH_FPS = 15.0
"""Frames per second of the path through a standing moment, and the least of one in moving time."""


def render_paths(synced: SyncedBackend, scene: Scene, renders: Path, frame_count: int) -> list[Path]:
    """Film the scene along a smooth camera path, at a fixed moment and in moving time.

    The moments are those that all training cameras have seen. Moving time runs at the pace of the scene as far as
    the number of frames allows between 15 and 60 frames per second.

    Args:
        synced: the offsets and the field.
        scene: whose cameras the path is fitted to.
        renders: folder for ``path_fixed_moment.mp4`` and ``path_moving.mp4``.
        frame_count: frames of each.

    Returns:
        The two videos.
    """
    first, last = common_moments(synced.clock, scene)
    moving_fps = min(max(PATH_FPS, frame_count / (last - first)), 60.0) if last > first else PATH_FPS
    videos = []
    for name, times, fps in (
        ("path_fixed_moment", torch.full((frame_count,), (first + last) / 2, dtype=torch.float64), PATH_FPS),
        ("path_moving", torch.linspace(first, last, frame_count, dtype=torch.float64), moving_fps),
    ):
        shot = Shot(name, smooth_path(scene, frame_count, fps), range(frame_count), times, scene.near, scene.far)
        videos.append(_film(synced, shot, renders / f"{name}.mp4", fps))
    return videos


def render_test_videos(synced: SyncedBackend, scene: Scene, renders: Path, test_frames: int) -> list[Path]:
    """Film the test cameras at their current offsets: ``test_<camera>.mp4``, as an evaluation does on its way.

    Args:
        synced: the offsets and the field.
        scene: whose test cameras are rendered.
        renders: folder of the videos.
        test_frames: how many evenly spaced frames of each; 0 for all.

    Returns:
        The videos, one for each test camera.
    """
    videos = []
    for index in scene.test:
        camera = scene.cameras[index]
        frames = evaluated_frames(camera.frame_count, test_frames)
        shot = Shot.of_camera(scene, index, frames)
        videos.append(_film(synced, shot, renders / f"test_{camera.name}.mp4", own_pace(camera, frames)))
    return videos


def common_moments(clock: Clock, scene: Scene) -> tuple[float, float]:
    """First and last scene time in seconds that every training camera has seen, as the clock has them now.

    Where there is none, or little, it is what the reference camera has seen.
    """
    spans = [seen_span(clock, scene, [camera]) for camera in scene.train]
    first, last = max(first for first, _ in spans), min(last for _, last in spans)
    begun, ended = seen_span(clock, scene, [scene.reference])
    return (first, last) if last - first > 0.2 * (ended - begun) else (begun, ended)


def _film(synced: SyncedBackend, shot: Shot, path: Path, fps: float) -> Path:
    """Render a shot into a video; its path."""
    with video_writer(path, fps) as writer:
        for view in render_shot(synced, shot):
            writer.write(view.rgb)
    return path
