"""Clocks of long recordings' cameras: a line, or a constant, through the offsets that windows have told."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.scene import Scene
from syncnerf.sync.result import Check, SyncResult

OUTLYING = 4.0
"""Standard errors from the line beyond which a window's offset does not count."""
LEAST_WINDOWS = 3
"""Windows that must tell a camera's offset."""
JUMPING_SHARE = 0.25
"""Share of windows off the line from which the clock is said to jump."""

TELLING_DRIFT = 0.3
"""Frames over the recording from which a clock's rate is worth a warning."""


def judged(checks: Sequence[Check]) -> Check:
    """One check of a camera's in all windows: what most of them doubt is doubtful."""
    told = [check for check in checks if check.verdict != "undetermined"]
    if not told:
        return Check("undetermined")
    explained = torch.tensor([check.explained for check in told]).nanmedian()
    doubtful = [check for check in told if check.verdict == "check"]
    most = doubtful[0] if 2 * len(doubtful) > len(told) else Check("sure")
    return replace(most, explained=float(explained), halves=math.nan)


def camera_clocks(
    scene: Scene,
    coarse: SyncResult,
    offsets: Float64[Tensor, "W C"],
    errors: Float64[Tensor, "W C"],
    times: Float64[Tensor, "W C"],
    drift: bool,
) -> SyncResult:
    """A clock for each camera from its offsets in the windows.

    Args:
        scene: the whole recordings.
        coarse: what is known of them beside the windows.
        offsets: in each window, seconds, float64, shape [W, C]; NaN where it tells nothing.
        errors: their standard errors, shape [W, C].
        times: of the windows' middles on each camera's own clock, seconds, shape [W, C].
        drift: give each clock a rate as well.

    Raises:
        UserError: no window tells anything.
    """
    reference = coarse.reference
    relative = offsets - offsets[:, reference : reference + 1]
    count = len(scene.cameras)
    found, stderr, rates, rates_stderr = torch.full((4, count), torch.nan, dtype=torch.float64)
    together = torch.eye(2 * count, dtype=torch.float64).reshape(count, 2, count, 2)
    reasons, warnings = dict(coarse.reasons), {}
    for camera, name in enumerate(scene.names):
        told = relative[:, camera].isfinite() & errors[:, camera].isfinite()
        if int(told.sum()) < LEAST_WINDOWS:
            reasons.setdefault(name, f"only {int(told.sum())} of {len(told)} windows tell its offset")
            continue
        values, own = relative[told, camera], times[told, camera]
        deviations = errors[told, camera].clamp_min(1e-5)
        line, covariance, kept = fit_line(own, values, deviations, drift)
        found[camera], stderr[camera] = line[0], covariance[0, 0].sqrt()
        if drift:
            rates[camera], rates_stderr[camera] = line[1], covariance[1, 1].sqrt()
            shared = covariance[0, 1] / (stderr[camera] * rates_stderr[camera])
            together[camera, 0, camera, 1], together[camera, 1, camera, 0] = shared, shared
        remark = _remark(own, values, deviations, kept, drift, scene.frame_interval)
        if remark:
            warnings[name] = remark
            stderr[camera] = torch.hypot(stderr[camera], (values - line[0] - (line[1] * own if drift else 0)).std())
    if bool(found.isnan().all()):
        raise UserError(f"{scene.root}: no window tells any offset; the videos need shared motion")
    return replace(
        coarse,
        names=scene.names,
        offsets=found,
        stderr=stderr,
        rates=rates if drift else None,
        rates_stderr=rates_stderr if drift else None,
        reasons={name: reason for name, reason in reasons.items() if bool(found[scene.index_of(name)].isnan())},
        warnings=warnings,
        correlations=None,
        clock_correlations=together if drift else None,
    )


def _remark(times: Tensor, values: Tensor, deviations: Tensor, kept: Tensor, drift: bool, interval: float) -> str:
    """What speaks against a camera's one offset, or one line; empty if nothing does."""
    if drift:
        jumps = float((~kept).double().mean()) >= JUMPING_SHARE
        return "its clock jumps (frames lost?): its offsets do not lie on a line" if jumps else ""
    line, covariance, _ = fit_line(times, values, deviations, True)
    gained, error = abs(float(line[1])), float(covariance[1, 1].sqrt())
    if gained > OUTLYING * error and gained * float(times.max() - times.min()) > TELLING_DRIFT * interval:
        return gaining(float(line[1]), "the reference's")
    return ""


def gaining(rate: float, whose: str) -> str:
    """Says that a clock runs faster than others by a rate (1e-6: one part per million)."""
    return f"its clock gains {rate * 1e6:+.0f} parts per million on {whose}; use --drift"


def fit_line(
    times: Float64[Tensor, " W"], values: Float64[Tensor, " W"], deviations: Float64[Tensor, " W"], sloped: bool
) -> tuple[Float64[Tensor, " P"], Float64[Tensor, "P P"], Bool[Tensor, " W"]]:
    """Weighted least squares of a line (or a constant), without values far off it.

    Args:
        times: float64, shape [W].
        values: shape [W].
        deviations: standard errors of the values, shape [W].
        sloped: a line; else a constant.

    Returns:
        Intercept (and slope), shape [P]; their covariance [P, P], scaled up where the values scatter more than they
        claim; which values counted, bool, shape [W].
    """
    start = torch.stack([torch.zeros_like(values[0]), _median_slope(times, values) if sloped else values[0] * 0])
    design = torch.stack([torch.ones_like(times), times], dim=1)
    start[0] = (values - design @ start).median()
    off = (values - design @ start) / deviations
    kept = off.abs() <= OUTLYING * max(1.0, 1.4826 * float(off.abs().median()))
    design = design if sloped else design[:, :1]
    rows, seen = design[kept] / deviations[kept, None], values[kept] / deviations[kept]
    inverse = torch.linalg.inv(rows.T @ rows)
    line = inverse @ rows.T @ seen
    free = max(1, int(kept.sum()) - design.shape[1])
    excess = float((rows @ line - seen).square().sum()) / free
    return line, inverse * max(1.0, excess), kept


def _median_slope(times: Tensor, values: Tensor) -> Tensor:
    """The median of the slopes between all pairs (Theil and Sen)."""
    first, second = torch.triu_indices(len(times), len(times), 1)
    return ((values[second] - values[first]) / (times[second] - times[first])).median()
