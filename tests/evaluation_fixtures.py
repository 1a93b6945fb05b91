"""A field in closed form, and a scene that it took itself: what evaluation should find is then known."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from syncnerf.backend import Backend
from syncnerf.batch import RayBatch
from syncnerf.camera_times import ClockSpan
from syncnerf.clock import Clock
from syncnerf.clock_prior import ClockStart
from syncnerf.config import OffsetsConfig
from syncnerf.questions import RayQuestion, Rendering
from syncnerf.scene.camera import Camera, Intrinsics
from syncnerf.scene.frame_cache import FrameCache
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend

FPS = 10.0


class PatternBackend(Backend):
    """Waves over the directions that travel with time; depth grows with the time, opacity is 1.

    Args:
        span: seconds at which the field's time is -1 and 1, shape [2]; None where it is asked in seconds.
    """

    def __init__(self, span: Tensor | None = None):
        super().__init__()
        self.span = torch.tensor([-1.0, 1.0]) if span is None else span
        self.speed = nn.Parameter(torch.tensor(2.0))
        self.part = nn.Dropout(0.5)
        self.shapes: list[torch.Size] = []
        self.decompositions = 0

    times_at_once = 8

    def render_rays(self, question: RayQuestion, generator: torch.Generator | None = None) -> Rendering:
        assert not self.part.training
        rays, parts = question.rays, question.wanted.parts
        times = self.span[0] + (question.times + 1.0) / 2.0 * (self.span[1] - self.span[0])
        self.shapes.append(times.shape)
        directions = rays.directions if times.ndim == 1 else rays.directions[:, None]
        phases = torch.tensor([0.0, 1.0, 2.0], device=times.device)
        waves = torch.sin(6.0 * directions + phases + (self.speed * times).float()[..., None])
        rgb = 0.5 + 0.4 * waves
        depth = 3.0 + times.float()
        extras = {"static_rgb": rays.directions.abs(), "dynamic_rgb": rgb} if parts else {}
        self.decompositions += parts
        return Rendering(rgb, depth, torch.ones_like(depth), extras)

    def losses(self, rendering: Rendering, batch: RayBatch, step: int) -> dict[str, Tensor]:
        return {}

    def param_groups(self, base_lr: float) -> list[dict[str, Any]]:
        return []


@dataclass(frozen=True)
class ArraySource:
    """Frames that are already decoded."""

    path: Path
    images: np.ndarray

    def fingerprint(self) -> str:
        return "array"

    def decode(self, intrinsics: Intrinsics) -> Iterator[np.ndarray]:
        yield from self.images


def look_from(position: list[float], target: Tensor | None = None) -> Tensor:
    """Pose of a camera at ``position`` that looks at ``target`` (the origin), +Z up, float64, shape [4, 4]."""
    place = torch.tensor(position, dtype=torch.float64)
    backward = nn.functional.normalize(place - (torch.zeros_like(place) if target is None else target), dim=0)
    right = nn.functional.normalize(torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]).double(), backward), dim=0)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3] = torch.stack([right, torch.linalg.cross(backward, right), backward, place], dim=1)
    return pose


def ring_of_cameras(count: int, width: int, height: int, frame_count: int, names: list[str]) -> tuple[Camera, ...]:
    """Cameras on a ring around the origin, at 30 degrees of elevation and a distance of 4."""
    intrinsics = Intrinsics(width, height, 1.2 * width, 1.2 * width, width / 2, height / 2)
    angles = torch.arange(count) * 2 * torch.pi / count
    poses = [look_from([3.46 * float(a.cos()), 3.46 * float(a.sin()), 2.0]) for a in angles]
    return tuple(Camera(name, intrinsics, pose, FPS, frame_count) for name, pose in zip(names, poses, strict=True))


def pattern_scene(
    folder: Path,
    true_offsets: list[float] | None,
    width: int = 17,
    height: int = 13,
    frame_count: int = 6,
    names: list[str] | None = None,
) -> Scene:
    """A scene whose frames are what :class:`PatternBackend` renders at the true offsets; camera 0 is the test view."""
    offsets = [0.0, 0.0, 0.0] if true_offsets is None else true_offsets
    names = names or [f"cam_{i:02d}" for i in range(len(offsets))]
    cameras = ring_of_cameras(len(offsets), width, height, frame_count, names)
    backend, sources = PatternBackend().eval(), {}
    for camera, offset in zip(cameras, offsets, strict=True):
        rays = camera.all_rays(2.0, 6.0)
        with torch.no_grad():
            images = [backend(RayQuestion(rays, (t + offset).expand(len(rays)))).rgb for t in camera.frame_times]
        pixels = (torch.stack(images).reshape(frame_count, height, width, 3) * 255).round().byte().numpy()
        sources[camera.name] = ArraySource(folder / f"{camera.name}.mp4", pixels)
    return Scene(
        root=folder,
        format="blender-video",
        cameras=cameras,
        frame_cache=FrameCache(folder / "cache", sources),
        test=(0,),
        bounds=torch.tensor([[-1.3] * 3, [1.3] * 3]),
        near=2.0,
        far=6.0,
        background=(1.0, 1.0, 1.0),
        true_offsets=None if true_offsets is None else torch.tensor(true_offsets, dtype=torch.float64),
    )


def span_of(scene: Scene) -> ClockSpan:
    """From when to when a scene's cameras filmed."""
    times = [camera.frame_times for camera in scene.cameras]
    return ClockSpan(torch.stack([t[0] for t in times]), torch.stack([t[-1] for t in times]), scene.frame_interval)


def synced_pattern(
    scene: Scene, offsets: list[float] | None = None, mode: str = "learn", rates: str = "off", readouts: str = "given"
) -> SyncedBackend:
    """The field behind learned offsets in seconds (relative to the reference camera's; zero if None)."""
    start = None if offsets is None else ClockStart(torch.tensor(offsets, dtype=torch.float64))
    row_times = torch.tensor([camera.row_time for camera in scene.cameras], dtype=torch.float64)
    config = OffsetsConfig(offset_mode=mode, offset_rates=rates, rolling_shutter=readouts)
    clock = Clock(config, span_of(scene), scene.reference, 100, start, scene.test, row_times)
    return SyncedBackend(clock, PatternBackend(clock.range))
