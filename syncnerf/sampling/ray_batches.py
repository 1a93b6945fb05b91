"""Batches of single rays: a pixel of a camera at one of its frames."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import torch

from syncnerf.batch import RayBatch
from syncnerf.sampling.importance import ImportanceSettings, importance_weights, prepare_importance
from syncnerf.sampling.importance_draws import ImportanceDraws
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.permutation import EpochOrder
from syncnerf.sampling.pixel_choice import NOTHING_CHANGES, classify_pixels, thins_background
from syncnerf.sampling.pixel_reader import PixelReader, read_pixels
from syncnerf.scene.camera import intrinsics_table, pixel_rays, pixel_rows
from syncnerf.scene.scene import Scene
from syncnerf.scene.still_views import StillDistances, StillView

logger = logging.getLogger(__name__)

RESIDENT_BYTES = 2 * 2**30
"""Frames larger than this in all are read pixel by pixel instead of being mapped into the process's memory."""
TOGETHER = 4
"""So many rays of a batch come from one stretch of an image, so that they can be read together: reading is what a batch
takes longest for, from memory and all the more from a disk."""
STRETCH = 1024
"""Pixels of such a stretch; those drawn together uniformly are a quarter of it apart."""


class RayBatches:
    """Draws rays over all training cameras: a share where the video changes, the rest anywhere.

    The rest visits every pixel of every frame (but for three at most) once before any comes again. The other share is
    drawn from the pixels that change at all, or in proportion to an importance (:mod:`syncnerf.sampling.importance`).
    Uniform and important rays come in small groups from one stretch of an image; each by itself is as likely to be any
    as if it came alone.

    Args:
        scene: the scene.
        config: batch size, shares, importance.
        steps: length of the training, which decides when ISG gives way to IST.
        still: what the training cameras see of the still scene, by global index; None for unknown.
    """

    def __init__(
        self, scene: Scene, config: SamplingConfig, steps: int = 1, still: dict[int, StillView] | None = None
    ):
        self.scene, self.config = scene, config
        self.switch_step = round(config.importance_switch * steps)
        self.cameras = torch.tensor(scene.train)
        self.intrinsics = intrinsics_table([scene.cameras[i] for i in scene.train])
        # One after the other: a moving camera has a pose per frame, another a single one.
        poses = [scene.cameras[i].camera_to_world.reshape(-1, 4, 4) for i in scene.train]
        self.poses, self.first_poses = torch.cat(poses), _starts([len(part) for part in poses])
        self.moves = np.array([scene.cameras[i].is_moving for i in scene.train])
        self.times = torch.cat([scene.cameras[i].frame_times for i in scene.train])
        self.frames = [scene.frames(i) for i in scene.train]
        self.readers = None
        if sum(video.nbytes for video in self.frames) > RESIDENT_BYTES:
            paths = [scene.frame_cache.path_of(scene.cameras[i]) for i in scene.train]
            self.readers = [PixelReader(path, video) for path, video in zip(paths, self.frames, strict=True)]
        self.frame_counts = np.array([len(video) for video in self.frames])
        self.first_frames = _starts(self.frame_counts)
        self.pixel_counts = np.array([video.shape[1] * video.shape[2] for video in self.frames])
        self.still = None if still is None else StillDistances([still[i] for i in scene.train])
        self.uniform: list[np.ndarray | None] = [None] * len(self.frames)
        self.dynamic: list[np.ndarray] = []
        self.importance = self._prepare_importance()
        self._classify_pixels()
        draws = sum(draws.total for draws in self.importance.values()) or sum(map(len, self.dynamic))
        if config.dynamic_share > 0 and not draws:
            logger.warning(NOTHING_CHANGES, config.dynamic_threshold)
        counts = self.pixel_counts if self.uniform[0] is None else np.array([len(part) for part in self.uniform])
        self.uniform_ends = (self.frame_counts * counts).cumsum()

    def _prepare_importance(self) -> dict[str, ImportanceDraws]:
        """Draws by kind of importance, where the configuration asks for them."""
        config = self.config
        if config.importance == "changing" or config.dynamic_share == 0:
            return {}
        settings = [
            ImportanceSettings(kind, config.isg_gamma, config.ist_shift, config.ist_floor)
            for kind in config.importance.split("-")
        ]
        prepare_importance(self.scene, settings)
        weights = {item.kind: [importance_weights(self.scene, i, item) for i in self.scene.train] for item in settings}
        return {kind: ImportanceDraws(cameras) for kind, cameras in weights.items()}

    def _classify_pixels(self) -> None:
        """Find the pixels that change, and those for uniform draws where plain background is thinned out."""
        thins = thins_background(self.scene, self.config)
        if not thins and (self.importance or self.config.dynamic_share == 0):
            return
        for place, index in enumerate(self.scene.train):
            changing, kept = classify_pixels(self.scene, index, self.config)
            self.dynamic.append(changing)
            if thins:
                self.uniform[place] = kept

    def draw(self, generator: torch.Generator, step: int | None = None) -> RayBatch:
        """One batch of ``batch_size`` rays.

        Args:
            generator: a CPU one; its seed orders the epochs of the uniform share, its state draws the other.
            step: the training step; decides the place in the epoch, and ISG or IST. None for any place.
        """
        if step is None:
            step = int(torch.randint(2**31, (1,), generator=generator))
        size = self.config.batch_size
        wanted = round(self.config.dynamic_share * size)
        chosen = self._draw_dynamic(wanted, generator, step) if wanted else None
        rest = size if chosen is None else size - wanted
        parts = [self._uniform_places(self._uniform_indices(step * rest, (step + 1) * rest, generator.initial_seed()))]
        if chosen is not None:
            parts.append(chosen)
        local, frames, pixels = (np.concatenate(item) for item in zip(*parts, strict=True))
        # Neighbours in the batch are neighbours on the disk.
        by_camera = np.argsort((local * self.frame_counts.max() + frames) * self.pixel_counts.max() + pixels)
        return self._gather(local[by_camera], frames[by_camera], pixels[by_camera])

    def _uniform_indices(self, start: int, stop: int, seed: int) -> np.ndarray:
        """Positions start .. stop of the endless sequence of epochs; the last three pixels of all may be left out."""
        size = int(self.uniform_ends[-1])
        together = min(TOGETHER, size)
        order = EpochOrder(size // together, seed)[start // together : -(-stop // together)]
        indices = (order[:, None] * together + np.arange(together)).reshape(-1)
        indices = indices[start % together :][: stop - start]
        # Members of a group are taken from the quarters of a stretch; the incomplete stretch at the end stays in order.
        stretch, inside = np.divmod(indices, STRETCH)
        spread = stretch * STRETCH + inside % TOGETHER * (STRETCH // TOGETHER) + inside // TOGETHER
        return np.where((stretch + 1) * STRETCH <= size, spread, indices)

    def _uniform_places(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Local camera, frame and pixel of indices over all that may be drawn uniformly."""
        local = np.searchsorted(self.uniform_ends, indices, side="right")
        inside = indices - np.concatenate([[0], self.uniform_ends[:-1]])[local]
        counts = np.diff(self.uniform_ends, prepend=0) // self.frame_counts
        frames, pixels = np.divmod(inside, counts[local])
        for camera, listed in enumerate(self.uniform):
            if listed is not None:
                mine = local == camera
                pixels[mine] = listed[pixels[mine]]
        return local, frames, pixels

    def _draw_dynamic(
        self, size: int, generator: torch.Generator, step: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Local camera, frame and pixel of draws where the video changes; None where it never does."""
        draws = torch.rand(3, size, generator=generator, dtype=torch.float64).numpy()
        if self.importance:
            kinds = list(self.importance)
            return self._draw_important(self.importance[kinds[-1] if step >= self.switch_step else kinds[0]], draws)
        changing = np.array([camera for camera, pixels in enumerate(self.dynamic) if len(pixels)])
        if not len(changing):
            return None
        local = changing[(draws[0] * len(changing)).astype(np.int64)]
        counts = np.array([len(pixels) for pixels in self.dynamic])[local]
        places = (draws[1] * counts).astype(np.int64)
        pixels = np.empty(size, dtype=np.int64)
        for camera in changing:
            mine = local == camera
            pixels[mine] = self.dynamic[camera][places[mine]]
        return local, (draws[2] * self.frame_counts[local]).astype(np.int64), pixels

    def _draw_important(
        self, important: ImportanceDraws, draws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        if important.total == 0:
            return None
        # Cells of equal weight, as much as a stretch of the images has on average; a few draws from each chosen cell.
        cells = max(1, int(self.frame_counts @ self.pixel_counts) // STRETCH)
        chosen = np.repeat((draws[0, : -(-draws.shape[1] // TOGETHER)] * cells).astype(np.int64), TOGETHER)
        places = ((chosen[: draws.shape[1]] + draws[1]) * (important.total / cells)).astype(np.int64)
        local, flat = important.locate(np.sort(places.clip(max=important.total - 1)))
        frames, pixels = np.divmod(flat, self.pixel_counts[local])
        return local, frames, pixels

    def _gather(self, local: np.ndarray, frames: np.ndarray, pixels: np.ndarray) -> RayBatch:
        """Rays, times and colours; ``local`` is sorted."""
        if self.readers is None:
            rgb = np.empty((len(local), 3), dtype=np.uint8)
            starts = np.searchsorted(local, np.arange(len(self.frames) + 1)).tolist()
            for video, part in zip(self.frames, itertools.starmap(slice, itertools.pairwise(starts)), strict=True):
                rgb[part] = video.reshape(len(video), -1, 3)[frames[part], pixels[part]]
        else:
            rgb = read_pixels(self.readers, local, frames, pixels)
        times = self.times[torch.from_numpy(self.first_frames[local] + frames)]
        poses = self.poses[torch.from_numpy(self.first_poses[local] + frames * self.moves[local])]
        cameras, pixels = torch.from_numpy(local), torch.from_numpy(pixels)
        rays = pixel_rays(self.intrinsics, poses, cameras, pixels, self.scene.near, self.scene.far)
        rows = pixel_rows(self.intrinsics, cameras, pixels)
        colours = torch.from_numpy(rgb).float() / 255.0
        statistics = {} if self.still is None else {"distance": self.still.where_shown(cameras, pixels, colours)}
        return RayBatch(rays, self.cameras[cameras], times, rows, colours, statistics)


def _starts(counts: list[int] | np.ndarray) -> np.ndarray:
    """Where each part begins when parts of these lengths are laid end to end."""
    return np.cumsum([0, *counts])[:-1]
