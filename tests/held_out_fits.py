"""Fits of a test camera's clock in the field of waves."""

import torch
from torch import Tensor
from wave_backend import WaveBackend, clock_of

from syncnerf.config import HeldOutConfig, OffsetsConfig
from syncnerf.held_out import HeldOutOptimizer
from syncnerf.offset_fit import OffsetFit
from syncnerf.scene import Scene
from syncnerf.synced import SyncedBackend


def whole(scene: Scene, camera: int = 0) -> Tensor:
    """All pixels of a camera's pictures, bool [height, width]."""
    size = scene.cameras[camera].intrinsics
    return torch.ones(size.height, size.width, dtype=torch.bool)


def fit(scene: Scene, synced: SyncedBackend, camera: int = 0, mask: Tensor | None = None, **options) -> OffsetFit:
    """A camera's clock fitted on all pixels, or those of a mask, with options of the fit other than the usual ones."""
    optimizer = HeldOutOptimizer(synced, scene, HeldOutConfig(**options))
    return optimizer.fit(camera, whole(scene, camera) if mask is None else mask)


def known_waves(scene: Scene, offsets: list[float], error: float) -> SyncedBackend:
    """The waves, their clock started from offsets that were known with errors, the test camera's too."""
    clock = clock_of(scene, OffsetsConfig(), 100, offsets, error)
    return SyncedBackend(clock, WaveBackend(clock.range))
