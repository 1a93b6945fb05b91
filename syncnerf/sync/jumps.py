"""Clocks that jump: frames lost without a trace, found by offsets that differ from window to window of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from syncnerf.scene import Scene
from syncnerf.sync.comparison import Comparison
from syncnerf.sync.drift import WindowLags
from syncnerf.sync.ends import end_changes
from syncnerf.sync.far_jumps import far_jumps, likely_change
from syncnerf.sync.leaps import Leap
from syncnerf.sync.result import SyncResult
from syncnerf.sync.solve import Lags, connected, offset_design, robust_fit
from syncnerf.sync.window_clocks import LEAST_WINDOWS, fit_line, gaining

LEAST_JUMP = 0.6
"""Samples by which an offset must differ in a window; frames are lost whole."""
SURE = 4.0
"""Standard errors by which it must, as well."""
MANY = 0.2
"""If this share of the clocks jumps, the others' steadiness, which is judged against them, is not sure either."""
MANY_JUMPING, LEAST_JUMPING = 1 / 4, 3
"""So it is as well where this share of the clocks, and so many, are seen to jump by whichever sign: what takes frames
from them takes some from the others too, too few or too near an end to be seen there."""
MANY_LOST = 1.5
"""Frames that seem to be lost at one place from which on it may be any number: how far all moves tells no more."""
MOST_TOLD = 4
"""Places at which a video lacks frames that are named."""


def with_jumps(
    scene: Scene,
    result: SyncResult,
    windows: list[tuple[int, int, WindowLags]],
    comparisons: Sequence[Comparison] = (),
    leaps: Sequence[Sequence[Leap]] = (),
) -> SyncResult:
    """The result with wider errors, and a warning, for cameras whose offset differs from window to window of time.

    Args:
        scene: the cameras.
        result: their offsets.
        windows: lags in windows of time of the used pairs, with the cameras' indices.
        comparisons: of all pairs, where they know what their lags leave unexplained.
        leaps: of each camera's video; empty where nothing is known of that.
    """
    known = ~result.offsets.isnan()
    leaping = torch.tensor([bool(own) for own in leaps] or [False] * len(known)) & known
    few = 2 * int(leaping.sum()) < int(known.sum())
    found, wander = _wander_in_windows(result, windows, leaping & few, scene.frame_interval)
    wander = torch.maximum(wander, far_jumps(result, comparisons).abs())
    for camera in leaping.nonzero()[:, 0].tolist():
        lost, fps = [leap.steps - 1 for leap in leaps[camera]], scene.cameras[camera].fps
        told = float(wander[camera])
        if not told and max(lost) > MANY_LOST:
            told = abs(likely_change(result.offsets, comparisons, camera))
        wander[camera] = max(told, sum(lost) / fps)
    wander = torch.maximum(wander, _moved_ends(result, comparisons, wander > 0, scene.frame_interval))
    jumping = (wander > 0) & known
    if not few or int(jumping.sum()) >= max(LEAST_JUMPING, MANY_JUMPING * int(known.sum())):
        wander = torch.where(wander > 0, wander, wander[jumping].square().mean().sqrt())
    if not wander.any():
        return result
    warnings = {
        name: _remark(found, camera, float(wander[camera]), leaps[camera] if leaping[camera] else ())
        for camera, name in enumerate(scene.names)
        if wander[camera] > 0 and known[camera]
    }
    stderr = torch.hypot(result.stderr, wander)
    rates_stderr = result.rates_stderr
    if rates_stderr is not None:
        rates_stderr = torch.hypot(rates_stderr, wander / (0.5 * min(camera.duration for camera in scene.cameras)))
    return replace(result, stderr=stderr, rates_stderr=rates_stderr, warnings=warnings)


def _moved_ends(
    result: SyncResult, comparisons: Sequence[Comparison], jumping: Bool[Tensor, " C"], interval: float
) -> Float64[Tensor, " C"]:
    """How far beginnings and ends of videos lie from the whole ones, seconds; ``jumping`` clocks are known as such."""
    used = {(pair.first, pair.second) for pair in result.pairs if pair.used}
    near = [c.near for c in comparisons if c.near is not None and (c.first, c.second) in used]
    # Where as many jump as do not, it is not known whose doing anything is.
    apart = jumping if 2 * int(jumping.sum()) < int((~result.offsets.isnan()).sum()) else None
    return end_changes(result.offsets, near, interval, result.rates, apart).abs()


def _wander_in_windows(
    result: SyncResult, windows: list[tuple[int, int, WindowLags]], leaping: Tensor, interval: float
) -> tuple[WindowOffsets, Tensor]:
    """Offsets in windows of time, and how far apart each camera's are, seconds, shape [C].

    What differs in the pairs of a clock that is known to jump (``leaping``) is no other camera's doing: the others are
    judged without them.
    """
    rates = torch.zeros_like(result.offsets) if result.rates is None else result.rates
    found = offsets_in_windows(windows, result.offsets, rates, interval)
    wander = clock_wander(found, result.offsets, interval)
    if leaping.any():
        steady = [(i, j, lags) for i, j, lags in windows if not (leaping[i] or leaping[j])]
        found = offsets_in_windows(steady, result.offsets, rates, interval)
        wander = torch.where(leaping, wander, clock_wander(found, result.offsets, interval))
    return found, wander


@dataclass(frozen=True)
class WindowOffsets:
    """What cameras' offsets are in windows of time, more than in the whole.

    Attributes:
        times: of the windows' middles, on the cameras' own clocks on the average, seconds, float64, shape [W].
        found: seconds, float64, shape [W, C]; 0 where not determined, and in windows where no camera stands out.
        errors: their standard errors, likewise.
    """

    times: Float64[Tensor, " W"]
    found: Float64[Tensor, "W C"]
    errors: Float64[Tensor, "W C"]


def offsets_in_windows(
    pairs: list[tuple[int, int, WindowLags]],
    offsets: Float64[Tensor, " C"],
    rates: Float64[Tensor, " C"],
    interval: float,
) -> WindowOffsets:
    """Cameras' offsets in windows of time, fitted to all pairs' lags anew in each.

    Robustly, so that it is the camera that stands out, not those it is compared with.

    Args:
        pairs: camera indices and window lags.
        offsets: of the cameras, seconds, float64, shape [C]; NaN cameras stay out.
        rates: of their clocks, no unit, float64, shape [C].
        interval: seconds per sample.
    """
    count = max((len(windows.times) for *_, windows in pairs), default=0)
    found, errors = torch.zeros(2, count, len(offsets), dtype=torch.float64)
    times = torch.zeros(count, dtype=torch.float64)
    for index in range(count):
        own = [windows.times[index] for *_, windows in pairs if index < len(windows.times)]
        times[index] = torch.stack(own).mean()
        lags = window_lags_between(pairs, index, offsets, rates)
        if _suspicious(lags, len(offsets), 0.5 * LEAST_JUMP * interval):
            found[index], errors[index] = window_offsets(lags, len(offsets))
    return WindowOffsets(times, found, errors)


def clock_wander(
    windows: WindowOffsets, offsets: Float64[Tensor, " C"], interval: float
) -> Float64[Tensor, " C"]:
    """How far apart each camera's offset is in different windows of time, where that is sure.

    A clock that lost frames has no one offset.

    Args:
        windows: see :func:`offsets_in_windows`.
        offsets: of the cameras in the whole, seconds, float64, shape [C]; NaN cameras stay out.
        interval: seconds per sample.

    Returns:
        Seconds, float64, shape [C]; 0 for a clock that does not jump. Where many jump, the others get what is usual
        among those.
    """
    jumped = (windows.found.abs() > LEAST_JUMP * interval) & (windows.found.abs() > SURE * windows.errors)
    none = torch.zeros(1, len(offsets), dtype=torch.float64)
    apart = torch.cat([none, torch.where(jumped, windows.found, 0.0)])
    wander = apart.amax(dim=0) - apart.amin(dim=0)
    jumping = wander > 0
    if jumping.sum() >= MANY * (~offsets.isnan()).sum():
        wander = torch.where(jumping, wander, wander[jumping].square().mean().sqrt())
    return wander


def _remark(windows: WindowOffsets, camera: int, wander: float, leaps: Sequence[Leap]) -> str:
    """What a clock does that has no one offset: it jumps, or runs at another rate than the others'."""
    if leaps:
        return (
            f"after {_frames(leaps)} everything in its video moves too far at once: its clock jumps by {wander:.3f} s "
            "(frames lost, or its file joined of pieces?)"
        )
    told = windows.errors[:, camera] > 0
    if int(told.sum()) >= LEAST_WINDOWS:
        rate = steady_rate(windows.times[told], windows.found[told, camera], windows.errors[told, camera])
        if rate:
            return gaining(rate, "the others'")
    return (
        f"its clock jumps, or another's that it is compared with, by {wander:.3f} s (frames lost, or its file joined "
        "of pieces?)"
    )


def _frames(leaps: Sequence[Leap]) -> str:
    """The frames after which some are lost, in words."""
    told = [str(leap.interval) for leap in leaps[:MOST_TOLD]]
    more = f" and {len(leaps) - MOST_TOLD} more" if len(leaps) > MOST_TOLD else ""
    return f"frame{'s' if len(leaps) > 1 else ''} {', '.join(told)}{more}"


def steady_rate(times: Float64[Tensor, " W"], values: Float64[Tensor, " W"], errors: Float64[Tensor, " W"]) -> float:
    """The slope of a line through a clock's offsets in windows; 0 if a step explains them as well, or nothing does."""
    line, covariance, _ = fit_line(times, values, errors, True)
    weights = errors**-2

    def rest(part: Tensor, fitted: Tensor) -> Tensor:
        return (weights[part] * (values[part] - fitted).square()).sum()

    def level(part: Tensor) -> Tensor:
        return rest(part, (weights[part] * values[part]).sum() / weights[part].sum())

    after = [times >= begin for begin in times.sort().values[1:]]
    step = min(float(level(part) + level(~part)) for part in after)
    straight = float(rest(torch.ones_like(times).bool(), line[0] + line[1] * times))
    sure = abs(float(line[1])) > SURE * float(covariance[1, 1].sqrt())
    return float(line[1]) if sure and straight < step else 0.0


def window_lags_between(
    pairs: Sequence[tuple[int, int, WindowLags]],
    index: int,
    offsets: Float64[Tensor, " C"],
    rates: Float64[Tensor, " C"],
) -> Lags:
    """What the pairs' lags of one window are more than the clocks say; the arguments as of :func:`clock_wander`."""
    rows = [
        (i, j, windows.lags[index], windows.deviations[index], windows.times[index])
        for i, j, windows in pairs
        if windows.lags[index : index + 1].isfinite().any()
    ]
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 5)
    lags = Lags(table[:, 0].long(), table[:, 1].long(), table[:, 2], table[:, 3])
    drifted = rates[lags.first] * table[:, 4] - rates[lags.second] * (table[:, 4] + lags.values)
    residuals = lags.values - (offsets[lags.first] - offsets[lags.second]) - drifted
    return Lags(lags.first, lags.second, residuals, lags.deviations)


def _suspicious(lags: Lags, count: int, least: float) -> bool:
    """Whether for any camera half of the lags are larger than ``least``: a quick look, most windows are quiet."""
    large = (lags.values.abs() > least).double()
    ones = torch.ones_like(large)
    total, off = (
        torch.zeros(count, dtype=torch.float64).index_add_(0, lags.first, v).index_add_(0, lags.second, v)
        for v in (ones, large)
    )
    return bool((off[total > 0] >= 0.5 * total[total > 0]).any())


def window_offsets(lags: Lags, count: int) -> tuple[Float64[Tensor, " {count}"], Float64[Tensor, " {count}"]]:
    """Offsets of the cameras in one window, from their median, and standard errors; 0 where not determined."""
    found, errors = torch.zeros(2, count, dtype=torch.float64)
    if len(lags.values) == 0:
        return found, errors
    start = int(torch.cat([lags.first, lags.second]).mode().values)
    known = connected(lags.first, lags.second, count, start)
    lags = lags.keep(known[lags.first])
    cameras = int(known.sum())
    if len(lags.values) < cameras:
        return found, errors  # nothing to spare
    gauge = torch.ones(1, cameras, dtype=torch.float64)
    zeros = torch.zeros(cameras, dtype=torch.float64)
    fit = robust_fit(offset_design(lags, count)[:, known], lags.values, lags.deviations, gauge, zeros)
    found[known] = fit.unknowns - fit.unknowns.median()
    errors[known] = fit.covariance.diagonal().sqrt()
    return found, errors
