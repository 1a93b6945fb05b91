"""Batches of single rays: a pixel of a camera at one of its frames."""

import itertools

import numpy as np
import torch
from torch import Tensor

from syncnerf.backend import RayBatch
from syncnerf.config import SamplingConfig
from syncnerf.sampling.statistics import pixel_statistics
from syncnerf.scene.camera import intrinsics_table, pixel_rays
from syncnerf.scene.scene import Scene

BACKGROUND_TOLERANCE = 10 / 255
"""A pixel whose mean differs less from the background, and which never changes, is plain background."""


class RaySampler:
    """Draws rays over all training cameras: a share on pixels that change over the video, the rest anywhere.

    Args:
        scene: the scene.
        config: batch size and shares.
    """

    def __init__(self, scene: Scene, config: SamplingConfig):
        self.scene, self.config = scene, config
        self.cameras = torch.tensor(scene.train)
        self.frame_counts = torch.tensor([scene.cameras[i].frame_count for i in scene.train])
        self.fps = torch.tensor([scene.cameras[i].fps for i in scene.train], dtype=torch.float64)
        self.intrinsics = intrinsics_table([scene.cameras[i] for i in scene.train])
        self.poses = [scene.cameras[i].camera_to_world for i in scene.train]
        self.frames = [scene.frames(i) for i in scene.train]
        self.dynamic, self.uniform = [], []
        for index in scene.train:
            dynamic, uniform = self._pixel_classes(index)
            self.dynamic.append(dynamic)
            self.uniform.append(uniform)

    def _pixel_classes(self, camera: int) -> tuple[Tensor, Tensor | int]:
        """Indices of the changing pixels, and of the pixels for uniform draws (or their number, where all are)."""
        statistics = pixel_statistics(self.scene, camera)
        changes = torch.from_numpy(statistics.deviation.reshape(-1) > self.config.dynamic_threshold)
        dynamic = changes.nonzero()[:, 0]
        background = self.scene.background
        if background is None or self.config.empty_share >= 1.0:
            return dynamic, changes.numel()
        difference = np.abs(statistics.mean - np.asarray(background, dtype=np.float32)).max(axis=-1).reshape(-1)
        plain = torch.from_numpy(difference < BACKGROUND_TOLERANCE) & ~changes
        filled, empty = (~plain).nonzero()[:, 0], plain.nonzero()[:, 0]
        every = max(1, round(1.0 / self.config.empty_share)) if self.config.empty_share > 0 else 0
        return dynamic, torch.cat([filled, empty[::every]]) if every else filled

    def draw(self, generator: torch.Generator) -> RayBatch:
        """One batch of ``batch_size`` rays; ``generator`` is a CPU one."""
        size = self.config.batch_size
        local = torch.randint(len(self.cameras), (size,), generator=generator).sort().values
        place = torch.rand(size, generator=generator, dtype=torch.float64)
        frame_place = torch.rand(size, generator=generator, dtype=torch.float64)
        wants_dynamic = torch.rand(size, generator=generator) < self.config.dynamic_share
        frames = (frame_place * self.frame_counts[local]).long()
        pixels = torch.empty(size, dtype=torch.int64)
        rgb = torch.empty(size, 3)
        poses = torch.empty(size, 4, 4, dtype=torch.float64)
        starts = torch.searchsorted(local, torch.arange(len(self.cameras) + 1)).tolist()
        for camera, (start, end) in enumerate(itertools.pairwise(starts)):
            if start == end:
                continue
            part = slice(start, end)
            pixels[part] = self._choose(camera, place[part], wants_dynamic[part])
            video = self.frames[camera]
            flat = video.reshape(len(video), -1, 3)
            rgb[part] = torch.from_numpy(flat[frames[part].numpy(), pixels[part].numpy()]).float() / 255.0
            pose = self.poses[camera]
            poses[part] = pose[frames[part]] if pose.ndim == 3 else pose
        rays = pixel_rays(self.intrinsics, poses, local, pixels, self.scene.near, self.scene.far)
        return RayBatch(rays, self.cameras[local], frames / self.fps[local], rgb)

    def _choose(self, camera: int, place: Tensor, wants_dynamic: Tensor) -> Tensor:
        dynamic, uniform = self.dynamic[camera], self.uniform[camera]
        chosen = (place * uniform).long() if isinstance(uniform, int) else uniform[(place * len(uniform)).long()]
        if len(dynamic):
            chosen = torch.where(wants_dynamic, dynamic[(place * len(dynamic)).long()], chosen)
        return chosen
