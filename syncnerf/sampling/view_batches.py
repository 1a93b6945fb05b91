"""Batches of whole views: pictures of cameras at some of their frames, or parts of one size of them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from syncnerf.batch import ViewBatch
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.statistics import pixel_statistics
from syncnerf.scene.camera import intrinsics_table
from syncnerf.scene.scene import Scene
from syncnerf.scene.views import Views

VIEWS, SIDE_UNIT, LEAST_SIDE = 4, 8, 32
"""Views in a batch where their size is free; the side of such a part, in pixels, is a multiple of the second number and
at least the third (structural similarity looks at 11).

As many pixels of several cameras and moments tell a step more than those of one: with four parts the demo comes out at
36.0 dB, with one whole picture at 34.8, after as many steps and in the same time."""


class ViewBatches:
    """Draws views over all training cameras and frames, each frame with the same chance.

    All views of a batch have one size: the whole picture, or a part of ``view_side`` pixels a side at most (0: so many
    that four fit a batch) that lies anywhere in it with the same chance. Their number is what ``batch_size`` pixels
    have room for, one at least.

    Args:
        scene: the scene.
        config: pixels of a batch, side of a part.
    """

    def __init__(self, scene: Scene, config: SamplingConfig):
        self.scene = scene
        sizes = [scene.cameras[i].intrinsics for i in scene.train]
        side = config.view_side or max(LEAST_SIDE, math.isqrt(config.batch_size // VIEWS) // SIDE_UNIT * SIDE_UNIT)
        self.width, self.height = min(side, *(s.width for s in sizes)), min(side, *(s.height for s in sizes))
        self.count = max(1, config.batch_size // (self.width * self.height))
        self.intrinsics = intrinsics_table([scene.cameras[i] for i in scene.train])
        self.frame_counts = torch.tensor([scene.cameras[i].frame_count for i in scene.train])
        self.statistics = [pixel_statistics(scene, i) for i in scene.train]

    def draw(self, generator: torch.Generator, step: int) -> ViewBatch:
        """One batch of B views, sorted by camera and frame; a function of the generator alone.

        Args:
            generator: a CPU one.
            step: the training step.
        """
        draws = torch.rand(self.count, 3, generator=generator, dtype=torch.float64)
        ends = self.frame_counts.cumsum(0)
        every = (draws[:, 0] * ends[-1]).long().sort().values
        local = torch.searchsorted(ends, every, right=True)
        frames = every - (ends - self.frame_counts)[local]
        room = self.intrinsics[local, :2] - torch.tensor([self.width, self.height])
        corners = (draws[:, 1:] * (room + 1)).long()
        cameras = [self.scene.cameras[self.scene.train[place]] for place in local.tolist()]
        poses = torch.stack([camera.pose(frame) for camera, frame in zip(cameras, frames.tolist(), strict=True)])
        views = Views(
            poses, self.intrinsics[local], corners, self.width, self.height, self.scene.near, self.scene.far
        )
        times = [camera.frame_times[frame] for camera, frame in zip(cameras, frames.tolist(), strict=True)]
        return ViewBatch(
            views, torch.tensor(self.scene.train)[local], torch.stack(times), *self._recorded(local, frames, corners)
        )

    def _recorded(self, local: Tensor, frames: Tensor, corners: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """True colours of the views' pixels, and their statistics over the video."""
        rgb = np.empty((len(local), self.height, self.width, 3), dtype=np.uint8)
        mean = np.empty(rgb.shape, dtype=np.float32)
        deviation = np.empty(rgb.shape[:3], dtype=np.float32)
        for place, (camera, frame) in enumerate(zip(local.tolist(), frames.tolist(), strict=True)):
            column, row = corners[place].tolist()
            part = np.s_[row : row + self.height, column : column + self.width]
            rgb[place] = self.scene.frames(self.scene.train[camera])[frame][part]
            mean[place], deviation[place] = self.statistics[camera].mean[part], self.statistics[camera].deviation[part]
        colours = torch.from_numpy(rgb).float() / 255.0
        return colours, {"mean": torch.from_numpy(mean), "deviation": torch.from_numpy(deviation)}
