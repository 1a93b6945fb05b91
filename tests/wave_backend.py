"""A field in closed form that trains like any other: waves over directions and time, and a scene that it took."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from evaluation_fixtures import ArraySource, ring_of_cameras, span_of
from torch import Tensor, nn

from syncnerf.backend import Backend
from syncnerf.batch import RayBatch
from syncnerf.clock import Clock
from syncnerf.clock_prior import ClockStart
from syncnerf.config import OffsetsConfig
from syncnerf.questions import RayQuestion, Rendering, ViewQuestion
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.ray_batches import RayBatches
from syncnerf.scene.frame_cache import FrameCache
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend
from syncnerf.training.options import TrainingConfig
from syncnerf.training.plan import Plan
from syncnerf.training.trainer import Trainer

FREQUENCIES = (2.1, 3.3, 1.4)
"""Radians per second of the colour channels: unequal, so that no two moments look alike."""


def wave_colours(directions: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The field in numpy: colours [N, 3] of unit directions [N, 3] at times [N] in seconds."""
    phases = 5.0 * directions + np.array([0.0, 1.0, 2.0]) + np.array(FREQUENCIES) * times[:, None]
    return 0.5 + 0.35 * np.sin(phases)


class WaveBackend(Backend):
    """The same with torch. ``gain`` is a weight to train (1 is right), ``clock`` a shift of the field's own time.

    Args:
        span: seconds at which the field's time is -1 and 1, shape [2].
        learn_clock: train that shift.
    """

    def __init__(self, span: Tensor, learn_clock: bool = False):
        super().__init__()
        self.span = span
        self.gain = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.clock = nn.Parameter(torch.zeros((), dtype=torch.float64), requires_grad=learn_clock)
        self.dropout = nn.Dropout(0.5)  # tells whether evaluation mode is set
        self.asked: list[Tensor] = []

    def render_rays(self, question: RayQuestion, generator: torch.Generator | None = None) -> Rendering:
        """Waves; every time that is asked for is noted in ``asked``, in seconds."""
        times = self.span[0] + (question.times + 1.0) / 2.0 * (self.span[1] - self.span[0])
        self.asked.append(times.detach().clone())
        frequencies = torch.tensor(FREQUENCIES, dtype=torch.float64)
        offsets = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
        phases = 5.0 * question.rays.directions.double() + offsets + frequencies * (times + self.clock)[:, None]
        rgb = (0.5 + 0.35 * self.gain * torch.sin(phases)).float()
        return Rendering(rgb, torch.full_like(rgb[:, 0], 3.0), torch.ones_like(rgb[:, 0]))

    def losses(self, rendering: Rendering, batch: RayBatch, step: int) -> dict[str, Tensor]:
        """The photometric loss alone."""
        return {"photometric": (rendering.rgb - batch.rgb).square().mean()}

    def param_groups(self, base_lr: float) -> list[dict[str, Any]]:
        """All weights."""
        return [{"name": "waves", "params": [self.gain, self.clock], "lr": base_lr}]


class WaveViews(WaveBackend):
    """The waves, drawn picture by picture; how many pictures is noted."""

    times_at_once = 64

    def __init__(self, span: Tensor):
        super().__init__(span)
        self.drawn = 0

    def render_views(self, question: ViewQuestion, generator: torch.Generator | None = None) -> Rendering:
        """Whole pictures of the waves."""
        self.drawn += len(question)
        rays = question.through_rays()
        shape = (len(question), question.views.height, question.views.width)
        rgb = WaveBackend.render_rays(self, RayQuestion(rays.rays, rays.times)).rgb
        return Rendering(rgb.reshape(*shape, 3))


def wave_scene(
    folder: Path,
    true_offsets: list[float],
    frame_count: int = 20,
    side: int = 12,
    test: tuple[int, ...] = (0,),
    noise: float = 0.0,
    row_times: list[float] | None = None,
) -> Scene:
    """A scene at 10 frames per second whose frames are the waves at the true offsets, with noise (of 1) if asked.

    Rows are read within ``row_times`` seconds, of which the cameras say nothing.
    """
    names = [f"cam{i:02d}" for i in range(len(true_offsets))]
    cameras = ring_of_cameras(len(true_offsets), side, side, frame_count, names)
    generator, sources = np.random.default_rng(0), {}
    rows = ((np.arange(side) + 0.5) / side - 0.5).repeat(side)
    for camera, offset, row_time in zip(cameras, true_offsets, row_times or [0.0] * len(cameras), strict=True):
        directions = camera.all_rays(2.0, 6.0).directions.numpy()
        times = camera.frame_times.numpy() + offset
        images = np.stack([wave_colours(directions, time + rows * row_time) for time in times])
        images = images + noise * generator.standard_normal(images.shape)
        pixels = (images.reshape(frame_count, side, side, 3) * 255).round().clip(0, 255).astype(np.uint8)
        sources[camera.name] = ArraySource(folder / f"{camera.name}.mp4", pixels)
    return Scene(
        root=folder,
        format="blender-video",
        cameras=cameras,
        frame_cache=FrameCache(folder / "cache", sources),
        test=test,
        bounds=torch.tensor([[-1.3] * 3, [1.3] * 3]),
        near=2.0,
        far=6.0,
        true_offsets=torch.tensor(true_offsets, dtype=torch.float64),
    )


def synced_waves(
    scene: Scene,
    config: OffsetsConfig | None = None,
    steps: int = 100,
    initial: list[float] | None = None,
    learn_clock: bool = False,
) -> SyncedBackend:
    """The waves behind a clock for the scene's cameras."""
    clock = clock_of(scene, config or OffsetsConfig(), steps, initial)
    return SyncedBackend(clock, WaveBackend(clock.range, learn_clock))


def clock_of(
    scene: Scene, config: OffsetsConfig, steps: int = 100, initial: list[float] | None = None, errors: float = 0.0
) -> Clock:
    """A clock for a scene's cameras that starts at offsets in seconds, if given; with errors of them if not 0.

    Of a camera whose offset is nan nothing is known.
    """
    start = None
    if initial is not None:
        offsets = torch.tensor(initial, dtype=torch.float64)
        covariance = errors**2 * torch.eye(len(initial), dtype=torch.float64)
        covariance[offsets.isnan()] = covariance[:, offsets.isnan()] = torch.nan
        start = ClockStart(offsets, covariance=covariance if errors else None)
    return Clock(config, span_of(scene), scene.reference, steps, start, scene.test)


def trainer_of(scene: Scene, synced: SyncedBackend, folder: Path, steps: int, **options) -> Trainer:
    """A trainer of the waves on rays of the scene, with options of the training other than the usual ones."""
    folder.mkdir(parents=True, exist_ok=True)
    config = TrainingConfig(
        **{"steps": steps, "lr": 1e-3, "warmup_steps": 1, "log_every": 1000, "save_every": 0, "image_every": 0}
        | options
    )
    batches = RayBatches(scene, SamplingConfig(batch_size=256))
    return Trainer(synced, batches, Plan(config, folder, "waves", scene.names, scene.frame_interval))
