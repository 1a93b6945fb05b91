"""What a run found of the cameras' clocks: its ``offsets.json``, which scores, videos and the report go by."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import torch

from syncnerf.clock import Clock
from syncnerf.offset_fit import OffsetFit
from syncnerf.offsets_file import Estimates, read_errors, read_offsets, read_rate_errors, read_rates, write_offsets
from syncnerf.scene.scene import Scene

logger = logging.getLogger(__name__)


def write_estimates(path: Path, clock: Clock, scene: Scene, fits: list[OffsetFit]) -> None:
    """Write a run's ``offsets.json``: trained cameras, and the test cameras where a fit has determined them."""
    offsets = clock.offsets().detach().cpu().clone()
    errors = clock.stderr().cpu().clone()
    errors[scene.reference] = 0.0
    offsets[list(scene.test)] = torch.nan
    reasons = {scene.names[i]: "a test camera; fit it with --test-optim" for i in scene.test}
    for fit in fits:
        if fit.reason:
            reasons[scene.names[fit.camera]] = fit.reason
        else:
            offsets[fit.camera], errors[fit.camera] = fit.seconds, fit.stderr
    source = "test-optim" if fits else "joint"
    reference = scene.names[scene.reference]
    further = _further(clock, scene, fits)
    write_offsets(
        path, Estimates(scene.names, reference, offsets, errors, source, reasons, further, clock.reckoned)
    )


def _further(clock: Clock, scene: Scene, fits: list[OffsetFit]) -> dict[str, dict[str, float]]:
    """By camera name what its clock has beside an offset: a rate in parts per million, a learned readout time."""
    columns = {}
    if clock.rates().detach().any():
        columns["rate_ppm"] = 1e6 * clock.rates().detach()
    if "skews" in clock.unknowns:
        columns["rate_ppm_stderr"] = 1e6 * clock.rates_stderr()
    if "row_times" in clock.unknowns:
        columns |= {"row_time": clock.row_times.detach(), "row_time_stderr": clock.readout_stderr}
    entries: dict[str, dict[str, float]] = {name: {} for name in scene.names}
    for key, values in columns.items():
        for index, value in enumerate(values.tolist()):
            if math.isfinite(value) and (index in scene.train or key == "rate_ppm"):
                entries[scene.names[index]][key] = value
    for fit in fits:
        if "skews" in clock.unknowns and not fit.reason and math.isfinite(fit.rate_stderr):
            entries[scene.names[fit.camera]]["rate_ppm_stderr"] = 1e6 * fit.rate_stderr
    return entries


def recall_estimates(path: Path, clock: Clock, scene: Scene) -> list[OffsetFit]:
    """Fits of test cameras that a run has left in its ``offsets.json``, put into the clock; others stand at 0.

    Every test camera's estimate is said, with its source.
    """
    found = []
    if not clock.learned:
        return found
    stored = path.exists()
    unknown = torch.full((len(scene.cameras),), torch.nan, dtype=torch.float64)
    offsets = read_offsets(path, scene.names) if stored else unknown
    errors = read_errors(path, scene.names) if stored else unknown
    rates = read_rates(path, scene.names) if stored else unknown
    rate_errors = read_rate_errors(path, scene.names) if stored else unknown
    nothing = torch.empty(0, dtype=torch.float64)
    for index in scene.test:
        name, offset = scene.names[index], offsets[index].item()
        if math.isnan(offset):
            clock.set_camera(index, 0.0)
            logger.info("%s", _not_fitted(clock, scene, index))
            continue
        told = (offset, errors[index].item(), rates[index].item(), rate_errors[index].item())
        fit = OffsetFit(index, *told, nothing, nothing, 0)
        clock.set_camera(index, fit.seconds, fit.rate)
        logger.info("%s: offset %.5f s +- %.5f, as it was fitted before (%s)", name, fit.seconds, fit.stderr, path)
        found.append(fit)
    return found


def _not_fitted(clock: Clock, scene: Scene, index: int) -> str:
    """That a test camera (global index) is shown at 0, as it is scored without a fit."""
    name, known = scene.names[index], clock.prior.offset_of(index, clock.reference)
    if known is None:
        return f"{name}: no offset is known of this test camera; it is shown at 0 (fit it with --test-optim)"
    return (
        f"{name}: the offset of this test camera was not fitted, and it is shown at 0, as it is scored; its motion "
        f"says {known[0]:+.4f} s +- {known[1]:.4f} (fit it with --test-optim)"
    )
