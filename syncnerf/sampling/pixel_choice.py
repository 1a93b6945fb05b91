"""Which pixels are worth looking at: those that change, and the others without too much plain background."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64

from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.permutation import EpochOrder
from syncnerf.sampling.statistics import pixel_statistics
from syncnerf.scene.scene import Scene

logger = logging.getLogger(__name__)

NOTHING_CHANGES = "no pixel changes by more than dynamic_threshold = %g: all rays are drawn uniformly"
"""Said where a dynamic share was asked for in vain."""
BACKGROUND_TOLERANCE = 10 / 255
"""A pixel whose mean differs less from the background, and which never changes, is plain background."""


def classify_pixels(
    scene: Scene, camera: int, config: SamplingConfig
) -> tuple[Int64[np.ndarray, " changing"], Int64[np.ndarray, " uniform"]]:
    """Pixels (row * width + column) of a camera that change, and those for uniform draws, both int64 and ascending.

    The latter are all, or all but some of the plain background where that is thinned out (``empty_share``).
    """
    statistics = pixel_statistics(scene, camera)
    changes = statistics.deviation.reshape(-1) > config.dynamic_threshold
    if not thins_background(scene, config):
        return np.flatnonzero(changes), np.arange(len(changes))
    difference = np.abs(statistics.mean - np.asarray(scene.background, dtype=np.float32)).max(axis=-1).reshape(-1)
    plain = (difference < BACKGROUND_TOLERANCE) & ~changes
    if config.empty_share > 0:
        plain[np.flatnonzero(plain)[:: max(1, round(1.0 / config.empty_share))]] = False
    return np.flatnonzero(changes), np.flatnonzero(~plain)


def thins_background(scene: Scene, config: SamplingConfig) -> bool:
    """Whether plain background is known and drawn more rarely than its share."""
    return scene.background is not None and config.empty_share < 1.0


class PixelChoice:
    """Pixels over all training cameras: a share of those that change, the rest in an order that repeats none.

    Args:
        scene: the scene.
        config: batch size, shares.
    """

    def __init__(self, scene: Scene, config: SamplingConfig):
        self.config = config
        classified = [classify_pixels(scene, index, config) for index in scene.train]
        changing, uniform = zip(*classified, strict=True)
        self.uniform, self.changing = _Listed(uniform), _Listed(changing)
        if config.dynamic_share > 0 and not self.changing.size:
            logger.warning(NOTHING_CHANGES, config.dynamic_threshold)

    def draw(self, generator: torch.Generator, step: int) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
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

    def __init__(self, pixels: Sequence[np.ndarray]):
        self.pixels = np.concatenate(pixels)
        self.ends = np.array([len(part) for part in pixels]).cumsum()
        self.size = len(self.pixels)

    def at(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Camera and pixel at places, which are cut to whole numbers."""
        whole = places.astype(np.int64)
        return np.searchsorted(self.ends, whole, side="right"), self.pixels[whole]
