"""Videos without scores: camera paths through the scene, and test views of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from syncnerf.config import EvaluationConfig
from syncnerf.evaluation.camera_paths import smooth_path
from syncnerf.evaluation.videos import video_writer
from syncnerf.evaluation.views import (
    RenderRays,
    at_own_clock,
    at_scene_time,
    evaluated_frames,
    evaluation_mode,
    own_pace,
    render_views,
)
from syncnerf.scene.camera import Camera
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend

PATH_FPS = 15.0
"""Frames per second of the path through a standing moment, and the least of one in moving time."""


@dataclass(frozen=True)
class Shot:
    """What a video shows.

    Attributes:
        name: the video's file name, without ``.mp4``.
        render: answers the rays.
        camera: intrinsics and poses.
        frames: the camera's frames whose poses are taken.
        times: seconds at which they are rendered, float64, shape [F].
        fps: frames per second of the video.
    """

    name: str
    render: RenderRays
    camera: Camera
    frames: Sequence[int]
    times: Tensor
    fps: float


def render_paths(
    synced: SyncedBackend,
    scene: Scene,
    renders: Path,
    *,
    settings: EvaluationConfig,
    device: torch.device | str = "cpu",
) -> list[Path]:
    """Film the scene along a smooth camera path, at a fixed moment and in moving time.

    The moments are those that all training cameras have seen. Moving time runs at the pace of the scene as far as
    the number of frames allows between 15 and 60 frames per second.

    Args:
        synced: the offsets and the field, on ``device``.
        scene: whose cameras the path is fitted to.
        renders: folder for ``path_fixed_moment.mp4`` and ``path_moving.mp4``.
        settings: ``render_frames`` and ``render_chunk``.
        device: where rays are rendered.

    Returns:
        The two videos.
    """
    first, last = common_moments(synced.clock.offsets(), scene)
    count = settings.render_frames
    moving_fps = min(max(PATH_FPS, count / (last - first)), 60.0) if last > first else PATH_FPS
    shots = []
    for name, times, fps in (
        ("path_fixed_moment", torch.full((count,), (first + last) / 2, dtype=torch.float64), PATH_FPS),
        ("path_moving", torch.linspace(first, last, count, dtype=torch.float64), moving_fps),
    ):
        camera = smooth_path(scene, count, fps)
        shots.append(Shot(name, at_scene_time(synced), camera, range(count), times, fps))
    return _film(shots, synced, scene, renders, settings, device, times_at_once=1)


def render_test_videos(
    synced: SyncedBackend,
    scene: Scene,
    renders: Path,
    *,
    settings: EvaluationConfig,
    device: torch.device | str = "cpu",
    times_at_once: int = 1,
) -> list[Path]:
    """Film the test cameras at their current offsets: ``test_<camera>.mp4``, as an evaluation does on its way.

    Args:
        synced: the offsets and the field, on ``device``.
        scene: whose test cameras are rendered.
        renders: folder of the videos.
        settings: ``test_frames`` and ``render_chunk``.
        device: where rays are rendered.
        times_at_once: moments asked of a ray in one call.

    Returns:
        The videos, one for each test camera.
    """
    shots = []
    for index in scene.test:
        camera = scene.cameras[index]
        frames = evaluated_frames(camera.frame_count, settings.test_frames)
        times = camera.frame_times[frames]
        fps = own_pace(camera, frames)
        shots.append(Shot(f"test_{camera.name}", at_own_clock(synced, index), camera, frames, times, fps))
    return _film(shots, synced, scene, renders, settings, device, times_at_once)


def common_moments(offsets: Tensor, scene: Scene) -> tuple[float, float]:
    """First and last scene time in seconds that every training camera has seen.

    Where there is none, or little, it is what the reference camera has seen.
    """
    offsets = offsets.detach().cpu().double()
    first = max(offsets[i].item() for i in scene.train)
    last = min(offsets[i].item() + scene.cameras[i].duration for i in scene.train)
    reference = scene.cameras[scene.reference]
    return (first, last) if last - first > 0.2 * reference.duration else (0.0, reference.duration)


def _film(
    shots: list[Shot],
    synced: SyncedBackend,
    scene: Scene,
    renders: Path,
    settings: EvaluationConfig,
    device: torch.device | str,
    times_at_once: int,
) -> list[Path]:
    """Render and write each shot; the videos' paths."""
    videos = []
    for shot in shots:
        views = render_views(
            shot.render,
            shot.camera,
            shot.frames,
            shot.times,
            scene.near,
            scene.far,
            chunk=settings.render_chunk,
            device=device,
            times_at_once=times_at_once,
            description=shot.name,
        )
        videos.append(renders / f"{shot.name}.mp4")
        with evaluation_mode(synced), video_writer(videos[-1], shot.fps) as writer:
            for view in views:
                writer.write(view.rgb)
    return videos
