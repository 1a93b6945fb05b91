"""Batches of pixel time-series: a pixel of a static camera with all, or some, of its frames."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, UInt8
from torch import Tensor

from syncnerf.batch import RayBatch
from syncnerf.errors import UserError
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.pixel_choice import PixelChoice
from syncnerf.sampling.pixel_reader import PixelReader
from syncnerf.sampling.ray_batches import RESIDENT_BYTES
from syncnerf.sampling.statistics import pixel_statistics
from syncnerf.scene.camera import intrinsics_table, pixel_rays, pixel_rows
from syncnerf.scene.frame_cache import release_pages
from syncnerf.scene.scene import Scene
from syncnerf.scene.still_views import StillDistances, StillView

CHANGE_STRIDE = 4
"""A frame's change is measured on every so many pixels of a row and rows of the image."""
CHANGE_FLOOR = 0.1
"""Smallest weight of a frame, as a share of the mean, when frames are drawn by change."""


class TimeSeriesBatches:
    """Draws pixels over all training cameras: a share of those that change, the rest anywhere, each with T frames.

    All pixels of a camera get the same frames in a step, so that a backend can answer their common moments at once.

    Args:
        scene: the scene.
        config: batch size, shares, number of frames and how they are chosen.
        still: what the training cameras see of the still scene, by global index; None for unknown.

    Raises:
        UserError: a camera moves, so that a pixel is not the same ray in all of its frames.
    """

    def __init__(self, scene: Scene, config: SamplingConfig, still: dict[int, StillView] | None = None):
        moving = [scene.names[i] for i in scene.train if scene.cameras[i].is_moving]
        if moving:
            raise UserError(
                f"camera {moving[0]} moves: this backend trains on all frames of a pixel at once, which needs static "
                "cameras; use --backend kplanes"
            )
        self.scene, self.config = scene, config
        self.choice = PixelChoice(scene, config)
        self.cameras = torch.tensor(scene.train)
        cameras = [scene.cameras[i] for i in scene.train]
        self.intrinsics = intrinsics_table(cameras)
        self.poses = torch.stack([camera.camera_to_world for camera in cameras])
        self.times = [camera.frame_times for camera in cameras]
        self.videos = [scene.frames(i) for i in scene.train]
        self.readers = None
        if sum(video.nbytes for video in self.videos) > RESIDENT_BYTES:
            paths = [scene.frame_cache.path_of(camera) for camera in cameras]
            self.readers = [PixelReader(path, video) for path, video in zip(paths, self.videos, strict=True)]
        self.still = None if still is None else StillDistances([still[i] for i in scene.train])
        shortest = min(camera.frame_count for camera in cameras)
        self.length = min(config.time_frames or shortest, shortest)
        statistics = [pixel_statistics(scene, i) for i in scene.train]
        self.means = [item.mean.reshape(-1, 3) for item in statistics]
        self.deviations = [nearby_maximum(item.deviation, config.dynamic_reach).reshape(-1) for item in statistics]
        self.changes = None
        if config.time_sampling == "change" and self.length < max(camera.frame_count for camera in cameras):
            self.changes = [frame_changes(scene.frames(i)) for i in scene.train]

    def draw(self, generator: torch.Generator, step: int) -> RayBatch:
        """One batch of ``batch_size`` pixels with T frames each, ascending.

        Args:
            generator: a CPU one; its seed orders the epochs of the uniform share, its state draws all else.
            step: the training step; decides the place in the epoch.
        """
        local, pixels = self.choice.draw(generator, step)
        order = np.lexsort((pixels, local))
        local, pixels = local[order], pixels[order]
        frames = [self._frames(camera, generator) for camera in range(len(self.videos))]
        count = len(local)
        rgb = np.empty((count, self.length, 3), dtype=np.uint8)
        times = torch.empty(count, self.length, dtype=torch.float64)
        mean, deviation = np.empty((count, 3), dtype=np.float32), np.empty(count, dtype=np.float32)
        for camera in np.unique(local).tolist():
            mine = np.flatnonzero(local == camera)
            chosen = frames[camera]
            rgb[mine] = self._read(camera, chosen.numpy(), pixels[mine])
            times[mine] = self.times[camera][chosen]
            mean[mine], deviation[mine] = self.means[camera][pixels[mine]], self.deviations[camera][pixels[mine]]
        cameras, place = torch.from_numpy(local), torch.from_numpy(pixels)
        rays = pixel_rays(self.intrinsics, self.poses[cameras], cameras, place, self.scene.near, self.scene.far)
        statistics = {"mean": torch.from_numpy(mean), "deviation": torch.from_numpy(deviation)}
        if self.still is not None:
            statistics["distance"] = self.still.of(cameras, place)
        rows = pixel_rows(self.intrinsics, cameras, place)
        return RayBatch(rays, self.cameras[cameras], times, rows, torch.from_numpy(rgb).float() / 255.0, statistics)

    def _frames(self, camera: int, generator: torch.Generator) -> Tensor:
        """Numbers of the frames that a camera's pixels show in a step, ascending, int64 [T]."""
        count = len(self.times[camera])
        if self.length == count:
            return torch.arange(count)
        if self.changes is None:
            return torch.randperm(count, generator=generator)[: self.length].sort().values
        return torch.multinomial(self.changes[camera], self.length, generator=generator).sort().values

    def _read(self, camera: int, frames: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Colours of pixels [P] at frames [T], uint8, shape [P, T, 3]."""
        if self.readers is None:
            video = self.videos[camera]
            return video.reshape(len(video), -1, 3)[frames, pixels[:, None]]
        # Frame by frame, as they lie on the disk.
        colours = self.readers[camera].read(np.repeat(frames, len(pixels)), np.tile(pixels, len(frames)))
        return colours.reshape(len(frames), len(pixels), 3).swapaxes(0, 1)


def nearby_maximum(values: Float[np.ndarray, "H W"], reach: int) -> Float32[np.ndarray, "H W"]:
    """Largest value within ``reach`` pixels along both axes, float32, shape [H, W] as given."""
    image = torch.from_numpy(values)[None, None]
    for kernel in ((1, 2 * reach + 1), (2 * reach + 1, 1)):
        padding = (kernel[0] // 2, kernel[1] // 2)
        image = torch.nn.functional.max_pool2d(image, kernel, stride=1, padding=padding)
    return image[0, 0].numpy()


def frame_changes(frames: UInt8[np.ndarray, "T height width 3"]) -> Float64[Tensor, " T"]:
    """How much each frame differs from the one before, as weights to draw frames by: float64, shape [T]."""
    differences = np.zeros(len(frames))
    before = None
    for number, frame in enumerate(frames):
        small = np.asarray(frame[::CHANGE_STRIDE, ::CHANGE_STRIDE], dtype=np.float32)
        if before is not None:
            differences[number] = np.abs(small - before).mean()
        before = small
    release_pages(frames)
    differences[0] = differences[1:2].sum()
    average = differences.mean()
    return torch.from_numpy(differences + CHANGE_FLOOR * average if average else differences + 1.0)
