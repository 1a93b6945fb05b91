"""Clocks against ground truth."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from syncnerf.camera_times import CameraTimes
from syncnerf.scene.scene import Scene
from syncnerf.scene.true_offsets import PARTS_PER_MILLION


def align_gauge(offsets: Float[Tensor, " C"], truth: Float[Tensor, " C"]) -> Float[Tensor, " C"]:
    """Errors against ground truth after subtracting the median difference, same shape as ``offsets``.

    A common shift of all cameras is unobservable, so only this difference means anything. NaN marks cameras to ignore.
    """
    difference = offsets - truth
    known = difference[~difference.isnan()]
    return difference - (known.quantile(0.5) if len(known) else 0.0)


def aligned_errors(offsets: Float[Tensor, " C"], scene: Scene) -> tuple[Float64[Tensor, " C"], float]:
    """Each camera's error in seconds after gauge alignment over the training cameras.

    Only training cameras decide the common shift, so a test camera's error never hides in the gauge.

    Args:
        offsets: seconds by global camera index, shape [C]; NaN marks cameras to ignore.
        scene: with ``true_offsets``.

    Returns:
        Errors, float64, shape [C], and the shift in seconds that was subtracted.
    """
    difference = offsets.detach().double().cpu() - scene.true_offsets
    training = list(scene.train)
    aligned = align_gauge(offsets.detach().double().cpu()[training], scene.true_offsets[training])
    shift = (difference[training] - aligned).nanmedian().item()
    return difference - shift, shift


def offset_errors(offsets: Float[Tensor, " C"], scene: Scene) -> dict[str, Any] | None:
    """The ``offsets`` part of ``metrics.json``, or None where the scene has no ground truth.

    Mean, median and largest absolute error over the training cameras, in frames (of the scene's median frame rate)
    and in seconds, and under ``cameras`` and ``test`` each camera's signed error.
    """
    if scene.true_offsets is None:
        return None
    errors, shift = aligned_errors(offsets, scene)
    size = errors[list(scene.train)].abs()
    interval = scene.frame_interval
    summary = {"mae": size.mean().item(), "median": size.quantile(0.5).item(), "max": size.max().item()}

    def signed(cameras: tuple[int, ...]) -> dict[str, dict[str, float]]:
        return {
            scene.names[i]: {"error_seconds": errors[i].item(), "error_frames": errors[i].item() / interval}
            for i in cameras
        }

    return {
        **{f"{name}_frames": value / interval for name, value in summary.items()},
        **{f"{name}_seconds": value for name, value in summary.items()},
        "alignment": "median difference of the training cameras subtracted",
        "shift_seconds": shift,
        "cameras": signed(scene.train),
        "test": signed(scene.test),
    }


def relative_rates(rates: Float64[Tensor, " C"], reference: int) -> Float64[Tensor, " C"]:
    """How much faster than the reference's (global index) clocks run of which it is known against true time."""
    pace = 1.0 + rates
    return pace / pace[reference] - 1.0


def further_errors(times: CameraTimes, scene: Scene) -> dict[str, dict[str, float]]:
    """Mean and largest absolute error of the training cameras' rates and readout times, each where its truth is known.

    Rates are compared against the reference's (parts per million), readout times as they are (seconds), whether they
    were learned, stated or left out.
    """
    training, errors = list(scene.train), {}
    if scene.true_rates is not None:
        wrong = times.rates().detach().cpu() - relative_rates(scene.true_rates, scene.reference)
        errors["rates_ppm"] = wrong / PARTS_PER_MILLION
    if scene.true_row_times is not None:
        errors["row_times_seconds"] = times.row_times.detach().cpu() - scene.true_row_times
    sizes = {name: values[training].abs() for name, values in errors.items()}
    return {name: {"mae": size.mean().item(), "max": size.max().item()} for name, size in sizes.items()}


def without_offset(offsets: Float[Tensor, " C"], cameras: tuple[int, ...]) -> Float[Tensor, " C"]:
    """A copy of the offsets with those of ``cameras`` at exactly 0."""
    copy = offsets.detach().clone()
    copy[torch.tensor(cameras, dtype=torch.long)] = 0.0
    return copy
