"""What a field, held as it is, says of the clock of a camera that it was trained with."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn.functional import pad

from syncnerf.camera_pixels import choose_pixels
from syncnerf.photometry import ClockFit, linear_fit
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend

FRAMES = 24
"""Frames of a camera that are enough where each must be rendered whole, or to see how a field errs between them."""


def trained_clock(
    synced: SyncedBackend,
    scene: Scene,
    camera: int,
    count: int,
    seed: int,
    unknowns: tuple[str, ...],
    most_frames: int | None = None,
) -> tuple[Float64[Tensor, " P"], ClockFit | None, float]:
    """Where a camera's frames put its clock, from where that is by now: a single step of least squares.

    Args:
        synced: clock and field, frozen.
        scene: cameras and frames.
        camera: global index of a camera that is trained.
        count: pixels to look at, about.
        seed: choice of the pixels.
        unknowns: of :data:`syncnerf.camera_pixels.UNKNOWNS`, those of the clock first.
        most_frames: frames at most, with as many more pixels in each: training sees all of them, and what a few err by
            alone is no part of its error. None for any number, and few pixels in each.

    Returns:
        The clock's own unknowns, a change of what else is asked for starting from 0, seconds, float64, shape [P]; the
        fit, None where the field shows changing pixels no better than their mean colours do; and the share of the
        camera's frames that was looked at.
    """
    clock, size = synced.clock, scene.cameras[camera].intrinsics
    everywhere = torch.ones(size.height, size.width, dtype=torch.bool)
    row_time = clock.row_times[camera].item()
    pixels = choose_pixels(scene, camera, row_time, everywhere, count, seed, unknowns, most_frames=most_frames)
    if synced.backend.renders_views:
        pixels = pixels[:FRAMES]
    start = pad(clock.middle_values()[camera], (0, len(unknowns) - clock.unknown_count)).to(synced.device)
    fit = linear_fit(synced, pixels.to(synced.device), start, scene.frame_interval)
    return start, fit, len(pixels.frames) / scene.cameras[camera].frame_count
