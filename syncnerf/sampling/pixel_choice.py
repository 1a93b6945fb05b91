"""Which pixels a step sees when all of a pixel's frames come together."""

from __future__ import annotations

import numpy as np
import torch

from syncnerf.config import SamplingConfig
from syncnerf.sampling.permutation import EpochOrder
from syncnerf.sampling.rays import BACKGROUND_TOLERANCE
from syncnerf.sampling.statistics import pixel_statistics
from syncnerf.scene.scene import Scene


class PixelChoice:
    """Pixels over all training cameras: a share of those that change, the rest in an order that repeats none.

    Args:
        scene: the scene.
        config: batch size, shares.
    """

    def __init__(self, scene: Scene, config: SamplingConfig):
        self.config = config
        every = max(1, round(1.0 / config.empty_share)) if config.empty_share > 0 else 0
        uniform, changing = [], []
        for index in scene.train:
            statistics = pixel_statistics(scene, index)
            changes = statistics.deviation.reshape(-1) > config.dynamic_threshold
            changing.append(np.flatnonzero(changes))
            plain = np.zeros_like(changes)
            if scene.background is not None and every != 1:
                distance = np.abs(statistics.mean - np.asarray(scene.background, dtype=np.float32)).max(axis=-1)
                plain = (distance.reshape(-1) < BACKGROUND_TOLERANCE) & ~changes
            filled, empty = np.flatnonzero(~plain), np.flatnonzero(plain)
            uniform.append(np.concatenate([filled, empty[::every]]) if every else filled)
        self.uniform, self.changing = _Listed(uniform), _Listed(changing)

    def draw(self, generator: torch.Generator, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Local camera (place among the training cameras) and pixel (row * width + column), both int64, shape [N].

        Args:
            generator: its seed orders the epochs of the uniform share, its state draws the other.
            step: decides the place in the epoch.
        """
        size = self.config.batch_size
        wanted = round(self.config.dynamic_share * size) if self.changing.size else 0
        draws = torch.rand(wanted, generator=generator, dtype=torch.float64).numpy()
        rest = size - wanted
        order = EpochOrder(self.uniform.size, generator.initial_seed())
        places = (self.uniform.at(order[step * rest : (step + 1) * rest]), self.changing.at(draws * self.changing.size))
        local, pixels = (np.concatenate(parts) for parts in zip(*places, strict=True))
        return local, pixels


class _Listed:
    """Pixels of several cameras, one after the other."""

    def __init__(self, pixels: list[np.ndarray]):
        self.pixels = np.concatenate(pixels)
        self.ends = np.array([len(part) for part in pixels]).cumsum()
        self.size = len(self.pixels)

    def at(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Camera and pixel at places, which are cut to whole numbers."""
        whole = places.astype(np.int64)
        return np.searchsorted(self.ends, whole, side="right"), self.pixels[whole]
