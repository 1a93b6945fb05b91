"""After the solve: what speaks for and against each camera's offset, in one verdict."""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.sync.comparison import Comparison
from syncnerf.sync.drift import WindowLags
from syncnerf.sync.jumps import window_lags_between, window_offsets
from syncnerf.sync.landscape import NEIGHBOURHOOD, Landscape
from syncnerf.sync.result import Check, PairLag, SyncResult
from syncnerf.sync.solve import Lags

NEARLY = 0.8
"""Another offset whose agreement rises this share as high above the usual explains nearly as much."""
COMPARABLE = 0.5
"""Such an offset must leave this share of the samples, and of the pairs, to compare."""
MOST_ALTERNATIVES = 4
"""Alternatives listed for a camera."""
LEAST_AGREEING = 2 / 3
"""Share of a camera's pairs with a distinct lag that must agree with the solution."""
LEAST_EXPLAINED = 0.3
"""Share of what is usual among the cameras that the explained part of a camera's motion must reach to fit its pose:
that of swapped, copied and mirrored videos is 0.01 to 0.2 of it, of others that suffered 0.6 and more."""
LARGEST_ERROR = 0.3
"""Frames of standard error beyond which an offset is not sure."""
LARGEST_CADENCE_ERROR = 0.25
"""Frames that three standard errors may reach where frames were dropped at equal places."""
LARGEST_CHANGE = 0.3
"""Frames by which halves of the time, or what is left without one other camera, may differ ..."""
SURE = 4.0
"""... if it is more than this many standard errors."""
LOOK = "look at frames.png of --plots"

Windows = Sequence[tuple[int, int, WindowLags]]


def with_checks(
    result: SyncResult,
    comparisons: Sequence[Comparison],
    windows: Windows,
    frame_interval: float,
    hint: str = "",
    dropped: Collection[str] = (),
) -> SyncResult:
    """The result with a verdict for each camera.

    Args:
        result: what was solved.
        comparisons: of all pairs.
        windows: lags in windows of time of the used pairs; empty for tracks.
        frame_interval: seconds per frame.
        hint: what is wrong with the calibration, and what to do; empty if nothing seems to be.
        dropped: names of cameras whose videos lack frames at equal places.
    """
    halves, halves_error = half_differences(result, windows)
    checks = {}
    shares = [explained_share(result, comparisons, camera) for camera in range(len(result.names))]
    usual = float(torch.tensor(shares).nanmedian())
    for camera, name in enumerate(result.names):
        if name in result.reasons:
            checks[name] = Check("undetermined", reason=result.reasons[name], advice=hint)
            continue
        own = [pair for pair in result.pairs if camera in (pair.first, pair.second)]
        check = Check(
            "sure",
            explained=shares[camera],
            agreeing=_agreeing(own),
            left_out=left_out_change(result, own, camera),
            halves=float(halves[camera]),
            alternatives=tuple(alternatives(result, comparisons, camera)),
        )
        doubts = list(_doubts(result, check, own, camera, frame_interval, float(halves_error[camera])))
        if shares[camera] < LEAST_EXPLAINED * usual:
            share = f"{shares[camera] / usual:.0%} of what is usual here"
            doubts.append((f"its motion agrees with the others' by {share}", "is its pose that of another camera?"))
        if name in dropped and 3 * float(result.stderr[camera]) > LARGEST_CADENCE_ERROR * frame_interval:
            doubts.append(("frames were dropped from its video at equal places", "use the original recording"))
        if hint:
            doubts.insert(0, ("the calibration does not fit the motion", hint))
        if doubts:
            reasons, advice = zip(*doubts, strict=True)
            check = replace(check, verdict="check", reason="; ".join(reasons), advice=advice[0])
        checks[name] = check
    return replace(result, checks=checks)


def reviewed(result: SyncResult) -> SyncResult:
    """The result with checks that know of its warnings, and of cameras that other things than motion determined."""
    checks, alone = {}, len(result.reasons) == len(result.names) - 1
    for name in result.names:
        check = result.checks.get(name, Check("sure"))
        if name in result.reasons or alone:
            reason = result.reasons.get(name, "no other camera's offset is determined")
            check = Check("undetermined", reason=reason, advice=check.advice)
        elif check.verdict == "undetermined":
            check = Check("sure")
        warning = result.warnings.get(name)
        if warning and name not in result.reasons:
            reason = f"{warning}; {check.reason}" if check.reason else warning
            check = replace(check, verdict="check", reason=reason, advice=check.advice or LOOK)
        checks[name] = check
    return replace(result, checks=checks)


def only_sure(result: SyncResult) -> SyncResult:
    """The result with the cameras that are not sure as undetermined ones; the reference's offset stays 0."""
    doubtful = [
        camera
        for camera, name in enumerate(result.names)
        if result.verdicts.get(name) == "check" and camera != result.reference
    ]
    offsets, stderr = result.offsets.clone(), result.stderr.clone()
    offsets[doubtful], stderr[doubtful] = torch.nan, torch.nan
    reasons = {result.names[camera]: result.checks[result.names[camera]].reason for camera in doubtful}
    return replace(result, offsets=offsets, stderr=stderr, reasons=result.reasons | reasons)


def _doubts(
    result: SyncResult, check: Check, own: list[PairLag], camera: int, interval: float, halves_error: float
) -> list[tuple[str, str]]:
    """What speaks against a determined camera, and what to do about it."""
    error = float(result.stderr[camera])
    doubts = []
    if check.alternatives:
        listed = ", ".join(f"{seconds:+.3f}" for seconds in check.alternatives)
        doubts.append((f"its motion repeats: {listed} s more explains nearly as much", "give --max-offset"))
    if check.agreeing < LEAST_AGREEING:
        doubts.append((f"only {check.agreeing:.0%} of its pairs agree", f"{LOOK}, or leave it out (--exclude-cameras)"))
    if sum(pair.used for pair in own) == 1 and len(result.names) > 2:
        doubts.append(("it rests on a single pair", LOOK))
    if error > LARGEST_ERROR * interval:
        doubts.append((f"its error is {error / interval:.1f} frames", "longer videos with more motion help"))
    if abs(check.left_out) > max(LARGEST_CHANGE * interval, SURE * error):
        doubts.append((f"without one of the other cameras it would be {check.left_out:+.3f} s off", LOOK))
    if abs(check.halves) > max(LARGEST_CHANGE * interval, SURE * halves_error):
        doubts.append((f"the second half of the time says {check.halves:+.3f} s more than the first", "try --drift"))
    return doubts


def _agreeing(own: list[PairLag]) -> float:
    """Share of a camera's pairs with a distinct lag that the solution rests on; 1 where there are none."""
    contradicting = sum(pair.contradicts for pair in own)
    used = sum(pair.used for pair in own)
    return used / (used + contradicting) if used + contradicting else 1.0


def explained_share(result: SyncResult, comparisons: Sequence[Comparison], camera: int) -> float:
    """Share of a camera's motion that the found offsets explain by the other cameras': mean squared correlation."""
    shares = [float(values[0].clamp_min(0).square()) for values, _ in _curves(result, comparisons, camera, [0.0])]
    return sum(shares) / len(shares) if shares else math.nan


def left_out_change(result: SyncResult, own: list[PairLag], camera: int) -> float:
    """Seconds by which a camera's offset changes most when one of its used pairs is left out; 0 with a single one."""
    used = [pair for pair in own if pair.used]
    if len(used) < 2:
        return 0.0
    signs = torch.tensor([1.0 if pair.first == camera else -1.0 for pair in used], dtype=torch.float64)
    moved = signs * torch.tensor([pair.residual for pair in used], dtype=torch.float64)
    weights = torch.tensor([pair.deviation for pair in used], dtype=torch.float64).clamp_min(1e-9) ** -2
    without = ((weights * moved).sum() - weights * moved) / (weights.sum() - weights).clamp_min(1e-30)
    change = without - (weights * moved).sum() / weights.sum()
    return float(change[change.abs().argmax()])


def half_differences(result: SyncResult, windows: Windows) -> tuple[Float64[Tensor, " C"], Float64[Tensor, " C"]]:
    """What each camera's offset is in the second half of the time, less what it is in the first, and the error of that.

    Returns:
        Seconds, float64, shape [C] each; NaN where a half says nothing.
    """
    count = len(result.names)
    nothing = torch.full((count,), torch.nan, dtype=torch.float64)
    rates = torch.zeros_like(result.offsets) if result.rates is None else result.rates
    longest = max((len(lags.times) for *_, lags in windows), default=0)
    if longest < 2:
        return nothing, nothing
    found, errors = [], []
    for part in (range(longest // 2), range(longest - longest // 2, longest)):
        pieces = [window_lags_between(windows, index, result.offsets, rates) for index in part]
        columns = ([getattr(piece, field) for piece in pieces] for field in ("first", "second", "values", "deviations"))
        offsets, error = window_offsets(Lags(*map(torch.cat, columns)), count)
        found.append(torch.where(error > 0, offsets, torch.nan))
        errors.append(error)
    return found[1] - found[0], torch.hypot(*errors)


def alternatives(result: SyncResult, comparisons: Sequence[Comparison], camera: int) -> list[float]:
    """Changes of a camera's offset after which its pairs would agree nearly as well, the best first.

    The pairs' landscapes, each shifted to the lag that the solution gives it, are averaged: what all see at the right
    offset adds up, chance does not, and motion that repeats rises again after each period.

    Returns:
        Seconds to add to the offset, at most 4.
    """
    landscapes = _landscapes(result, comparisons, camera)
    if not landscapes:
        return []
    step = max(float(land.lags[1] - land.lags[0]) for land, _ in landscapes)
    reach = max(float(land.lags[-1] - land.lags[0]) for land, _ in landscapes)
    half = math.ceil(reach / step)
    changes = torch.arange(-half, half + 1, dtype=torch.float64) * step
    total, seen = torch.zeros_like(changes), torch.zeros_like(changes)
    for values, comparable in _curves(result, comparisons, camera, changes.tolist()):
        total += torch.where(comparable, values, 0.0)
        seen += comparable
    telling = seen >= COMPARABLE * len(landscapes)
    profile = torch.where(telling, total / seen.clamp_min(1), -torch.inf)
    centre = half - 1 + int(profile[half - 1 : half + 2].argmax())
    usual = float(profile[telling].median())
    left, right = centre, centre
    while left > 0 and profile[left - 1] < profile[left]:
        left -= 1
    while right < len(profile) - 1 and profile[right + 1] < profile[right]:
        right += 1
    best = float(profile[centre])
    profile[max(0, min(left, centre - NEIGHBOURHOOD)) : max(right, centre + NEIGHBOURHOOD) + 1] = -torch.inf
    tops = (profile[1:-1] >= profile[:-2]) & (profile[1:-1] >= profile[2:])
    high = (profile[1:-1] - usual > NEARLY * (best - usual)) & tops
    places = high.nonzero()[:, 0] + 1
    order = profile[places].argsort(descending=True)[:MOST_ALTERNATIVES]
    return changes[places[order]].tolist()


def _landscapes(result: SyncResult, comparisons: Sequence[Comparison], camera: int) -> list[tuple[Landscape, float]]:
    """A camera's landscapes with determined cameras and, for each, the sign with which its offset enters the lag."""
    found = []
    for comparison in comparisons:
        pair, land = (comparison.first, comparison.second), comparison.whole
        if camera in pair and land is not None and not result.offsets[list(pair)].isnan().any():
            found.append((land, 1.0 if camera == comparison.first else -1.0))
    return found


def _curves(
    result: SyncResult, comparisons: Sequence[Comparison], camera: int, changes: Sequence[float]
) -> list[tuple[Tensor, Tensor]]:
    """Each pair's agreement if the camera's offset changed, and where that compares enough; shapes [S]."""
    changes = torch.tensor(changes, dtype=torch.float64)
    curves = []
    for land, sign in _landscapes(result, comparisons, camera):
        lag = float(result.offsets[land.first] - result.offsets[land.second])
        step = float(land.lags[1] - land.lags[0])
        place = (lag + sign * changes - float(land.lags[0])) / step
        inside = (place >= 0) & (place <= len(land.lags) - 1)
        lower = place.floor().long().clamp(0, len(land.lags) - 2)
        share = (place - lower).clamp(0, 1)
        # A peak between two samples is higher than both: their larger one is nearer to it than their mean.
        values = torch.maximum(land.values[lower], land.values[lower + 1])
        overlap = land.overlap[lower] * (1 - share) + land.overlap[lower + 1] * share
        nearest = min(max(round((lag - float(land.lags[0])) / step), 0), len(land.lags) - 1)
        enough = overlap >= COMPARABLE * float(land.overlap[nearest])
        curves.append((values, inside & enough & (overlap > 0)))
    return curves
