"""After the solve: what speaks for and against each camera's offset, in one verdict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.sync.comparison import Comparison
from syncnerf.sync.explained import alternatives, explained_share
from syncnerf.sync.halves import LARGEST_CHANGE, SURE, Windows, half_differences, slight_drifts, usual_unevenness
from syncnerf.sync.misfits import GOOD_FIT, at_equal_places, largest_rival_group, misfits
from syncnerf.sync.result import Check, PairLag, SyncResult

LEAST_AGREEING = 2 / 3
"""Share of a camera's pairs with a distinct lag that must agree with the solution."""
LARGEST_ERROR = 0.3
"""Frames of standard error beyond which an offset is not sure."""
LARGEST_CADENCE_ERROR = 0.25
"""Frames that three standard errors may reach where frames were dropped at equal places, or are shown twice."""
LOOK = "look at frames.png of --plots"
Doubt = tuple[str, str]
"""What speaks against a camera's offset, and what to do about it."""
AT_EQUAL_PLACES: Doubt = (
    "its video agrees with others at equal places of the files, on wrong lines as on right ones",
    "key frames or counters may pass as motion: use the original recordings",
)


def with_checks(
    result: SyncResult,
    comparisons: Sequence[Comparison],
    windows: Windows,
    frame_interval: float,
    hint: str = "",
    cadences: Mapping[str, str] | None = None,
    fit: Callable[[int], float] | None = None,
) -> SyncResult:
    """The result with a verdict for each camera, and with wider errors where clocks run unevenly.

    Args:
        result: what was solved.
        comparisons: of all pairs.
        windows: lags in windows of time of the used pairs; empty for tracks.
        frame_interval: seconds per frame.
        hint: what is wrong with the calibration, and what to do; empty if nothing seems to be.
        cadences: what is wrong with the frames of some cameras' videos, by name; None if nothing is.
        fit: how far a camera's motion fits its pose, asked where little of it is explained; None where nothing tells.
    """
    halves, halves_error = half_differences(result, windows)
    uneven = usual_unevenness(halves, halves_error, frame_interval)
    drifts = slight_drifts(halves, halves_error, frame_interval)
    result = replace(
        result,
        stderr=torch.hypot(result.stderr, torch.hypot(drifts, torch.full_like(drifts, uneven))),
        remarks={**_drift_remarks(result, drifts), **result.remarks},
    )
    checks = {}
    shares = [explained_share(result, comparisons, camera) for camera in range(len(result.names))]
    usual = float(torch.tensor(shares).nanmedian())
    unfit, rivals = misfits(result, torch.tensor(shares), fit), largest_rival_group(result)
    for camera, name in enumerate(result.names):
        if name in result.reasons:
            checks[name] = Check("undetermined", reason=result.reasons[name], advice=hint)
            continue
        own = [pair for pair in result.pairs if camera in (pair.first, pair.second)]
        check = Check(
            "sure",
            explained=shares[camera],
            agreeing=_agreeing(own),
            left_out=left_out_change(own, camera),
            halves=float(halves[camera]),
            alternatives=tuple(alternatives(result, comparisons, camera)),
        )
        error, halves_sure = float(result.stderr[camera]), SURE * float(halves_error[camera])
        doubts = [("the calibration does not fit the motion", hint)] if hint else []
        doubts += _doubts(check, own, len(result.names), error, halves_sure, frame_interval)
        if camera in unfit:
            share = f"{shares[camera] / usual:.0%} of what is usual here"
            doubts.append((f"its motion agrees with the others' by {share}", "is its pose that of another camera?"))
        if fit is not None and at_equal_places(own, frame_interval) and fit(camera) < GOOD_FIT:
            doubts.append(AT_EQUAL_PLACES)
        cadence = (cadences or {}).get(name) if 3 * error > LARGEST_CADENCE_ERROR * frame_interval else None
        doubts += _common_doubts(result, uneven, cadence, rivals)
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
    check: Check, own: list[PairLag], cameras: int, error: float, halves_sure: float, interval: float
) -> list[Doubt]:
    """What a determined camera's own figures say against it.

    Args:
        check: these figures.
        own: the camera's pairs.
        cameras: how many there are.
        error: the offset's standard error, seconds.
        halves_sure: seconds from which on a change between the halves of the time is no chance.
        interval: seconds per frame.
    """
    doubts = []
    if check.alternatives:
        listed = ", ".join(f"{seconds:+.3f}" for seconds in check.alternatives)
        doubts.append((f"its motion repeats: {listed} s more explains nearly as much", "give --max-offset"))
    if check.agreeing < LEAST_AGREEING:
        doubts.append((f"only {check.agreeing:.0%} of its pairs agree", f"{LOOK}, or leave it out (--exclude-cameras)"))
    if sum(pair.used for pair in own) == 1 and cameras > 2:
        doubts.append(("it rests on a single pair", LOOK))
    if abs(check.left_out) > max(LARGEST_CHANGE * interval, SURE * error):
        doubts.append((f"without one of the other cameras it would be {check.left_out:+.3f} s off", LOOK))
    if abs(check.halves) > max(LARGEST_CHANGE * interval, halves_sure):
        doubts.append((f"the second half of the time says {check.halves:+.3f} s more than the first", "try --drift"))
    # After the others, whose advice is to the point where they have made it large.
    if error > LARGEST_ERROR * interval:
        doubts.append((f"its error is {error / interval:.1f} frames", "longer videos with more motion help"))
    return doubts


def _common_doubts(result: SyncResult, uneven: float, cadence: str | None, rivals: int) -> list[Doubt]:
    """What the state of all cameras' videos says against each of them.

    Args:
        result: what was solved.
        uneven: seconds by which many cameras' halves differ; 0 where they do not.
        cadence: what is wrong with the order of this camera's frames.
        rivals: cameras that agree with each other, but with none that is determined.
    """
    doubts = []
    if uneven:
        reason = f"many cameras' second halves say something else than their first, by {uneven:.3f} s"
        doubts.append((reason, "did all recordings lose frames? use files with timestamps, or try --drift"))
    if cadence:
        doubts.append((cadence, "use the original recording"))
    if rivals >= len(result.names) - len(result.reasons):
        reason = f"{rivals} other cameras agree with each other, and with none of these"
        doubts.append((reason, "does one of the groups play too fast or too slow, or are its poses wrong?"))
    return doubts


def _drift_remarks(result: SyncResult, drifts: Float64[Tensor, " C"]) -> dict[str, str]:
    """By name, that a clock drifts by a little, which has made its error wider."""
    told = "its clock drifts, by {:.3f} s from half to half: its error is wider, and --drift finds its rate"
    pairs = zip(result.names, drifts.tolist(), strict=True)
    return {name: told.format(drift) for name, drift in pairs if drift and name not in result.reasons}


def _agreeing(own: list[PairLag]) -> float:
    """Share of a camera's pairs with a distinct lag that the solution rests on; 1 where there are none."""
    contradicting = sum(pair.contradicts for pair in own)
    used = sum(pair.used for pair in own)
    return used / (used + contradicting) if used + contradicting else 1.0


def left_out_change(own: list[PairLag], camera: int) -> float:
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
