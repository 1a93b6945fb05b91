"""What sound adds to motion: cameras that motion cannot place, and a second opinion on those that it does."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from syncnerf.scene import Scene
from syncnerf.sync.prior import PriorLag
from syncnerf.sync.result import SyncResult

CONTRADICTION = 5.0
"""Standard errors by which sound and motion must differ to contradict each other."""
RATE_ERROR, UNKNOWN_RATE = 3e-6, 5e-5
"""Standard errors of a rate that sound tells, and of one that nothing tells: what quartz clocks differ by."""
FROM_SOUND = "from its sound alone: no motion that others see as well"


def with_sound(scene: Scene, result: SyncResult, lags: Sequence[PriorLag]) -> SyncResult:
    """The result with cameras placed by their sound where motion says nothing, and with contradictions as warnings.

    Sound is off by the way from its source to each camera, which does not average out over pairs: a camera that it
    places, at the median of what all its pairs say, has the standard error of the best of them. Where motion places a
    camera, sound does not move it.

    Args:
        scene: of the result.
        result: from motion.
        lags: from :func:`~syncnerf.sync.sound.sound_lags`.
    """
    offsets, stderr = result.offsets.clone(), result.stderr.clone()
    rates, rates_stderr = (None, None) if result.rates is None else (result.rates.clone(), result.rates_stderr.clone())
    correlations = None if result.correlations is None else result.correlations.clone()
    together = None if result.clock_correlations is None else result.clock_correlations.clone()
    result = result.warned(
        {
            scene.names[camera]: f"its sound says {seconds:+.3f} s more than its motion"
            for camera, seconds in _contradictions(result, lags).items()
        }
    )
    reasons, warnings = dict(result.reasons), dict(result.warnings)
    known = (~offsets.isnan()).tolist()
    while True:
        found = _nearest(lags, known, stderr)
        if found is None:
            break
        camera, other, error, rate = found
        offsets[camera], stderr[camera] = _middle(lags, known, offsets, camera), error
        if rates is not None:
            rates[camera] = rates[other] + (rate or 0.0)
            own = UNKNOWN_RATE if rate is None else RATE_ERROR
            rates_stderr[camera] = math.hypot(own, float(rates_stderr[other].nan_to_num(0.0)))
        if correlations is not None:
            correlations[camera], correlations[:, camera], correlations[camera, camera] = 0.0, 0.0, 1.0
        if together is not None:
            together[camera], together[:, :, camera] = 0.0, 0.0
            together[camera, :, camera] = torch.eye(2, dtype=torch.float64)
        known[camera] = True
        reasons.pop(scene.names[camera], None)
        warnings[scene.names[camera]] = FROM_SOUND
    return replace(
        result, offsets=offsets, stderr=stderr, rates=rates, rates_stderr=rates_stderr, reasons=reasons,
        warnings=warnings, correlations=correlations, clock_correlations=together,
    )  # fmt: skip


def _contradictions(result: SyncResult, lags: Sequence[PriorLag]) -> dict[int, float]:
    """Seconds that sound adds to a camera's offset, by camera, where its pairs' median contradicts the motion."""
    opinions: dict[int, list[tuple[float, float]]] = {}
    for lag in lags:
        first, second = lag.first, lag.second
        apart = float(result.offsets[first] - result.offsets[second])
        if math.isnan(apart):
            continue
        error = math.hypot(lag.deviation, float(result.stderr[first]), float(result.stderr[second]))
        opinions.setdefault(first, []).append((lag.lag - apart, error))
        opinions.setdefault(second, []).append((apart - lag.lag, error))
    opinions.pop(result.reference, None)
    found = {}
    for camera, own in opinions.items():
        seconds, errors = torch.tensor(own, dtype=torch.float64).unbind(1)
        if abs(float(seconds.median())) > CONTRADICTION * float(errors.max()):
            found[camera] = float(seconds.median())
    return found


def _nearest(
    lags: Sequence[PriorLag], known: Sequence[bool], stderr: Tensor
) -> tuple[int, int, float, float | None] | None:
    """The undetermined camera that sound places best, the known one it is placed by, the error and relative rate."""
    choices = []
    for lag in lags:
        for camera, other, sign in ((lag.first, lag.second, 1), (lag.second, lag.first, -1)):
            if known[other] and not known[camera]:
                error = math.hypot(lag.deviation, float(stderr[other].nan_to_num(0.0)))
                rate = None if lag.rate is None else sign * lag.rate
                choices.append((camera, other, error, rate))
    return min(choices, key=lambda choice: choice[2]) if choices else None


def _middle(lags: Sequence[PriorLag], known: Sequence[bool], offsets: Tensor, camera: int) -> float:
    """The median of what all pairs with known cameras say of a camera's offset, seconds."""
    said = []
    for lag in lags:
        for own, other, sign in ((lag.first, lag.second, 1), (lag.second, lag.first, -1)):
            if own == camera and known[other]:
                said.append(float(offsets[other]) + sign * lag.lag)
    return float(torch.tensor(said, dtype=torch.float64).quantile(0.5))
