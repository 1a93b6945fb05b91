"""Videos that play faster or slower than they were filmed: frame rates stated wrongly, slow motion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import torch

from syncnerf.scene import Camera, Scene
from syncnerf.scene.frame_times import WHOLE_RATES
from syncnerf.sync.conventions import agreement
from syncnerf.sync.epipolar_cameras import EpipolarCameras
from syncnerf.sync.gains import (
    MOST_OTHERS,
    MOST_SUSPICIOUS,
    SUSPICIOUS,
    UPPER,
    Gains,
    explained_shares,
    gain_ratio,
    gains_over,
)
from syncnerf.sync.result import SyncResult
from syncnerf.sync.workers import in_parallel

RATES = (10, 12, 15, 20, *WHOLE_RATES)
"""Frames per second that cameras film at, the slow ones where it is dark."""
SAME = 0.02
"""Part by which two rates may differ and still be one (1000/1001 of a rate is the clock's own matter)."""
BETTER, AS_GOOD = 1.5, 0.5
"""How many times as well motion must agree at the best rate as at the stated one and at any other, and the share of the
other cameras' own agreement that it must reach then. Measured, in videos of 1.5 to 5 seconds: 1.9 to 5.4 times. Slower
videos have fewer shifts that agree by chance: at a wrong rate motion seems to agree up to 2.6 times as well as at the
stated one, but hardly better than at the next."""
BLURRING = 0.25
"""Frames by which a clock's rate moves either end of its video against the middle from which on lags of whole videos
are blurred, and videos are compared once more by the times that the rate makes."""
CORRECT = "correct its frame rate ('fps', or 'frame_times', in transforms.json)"
ADVICE = f"{CORRECT}, or give each clock a rate (sync --drift, train --offset-rates learn)"

Speeds = Mapping[int, float]
"""How many times as fast as its own clock says a camera filmed its frames, by its index."""


def filmed_speeds(cameras: Sequence[Camera], prepared: EpipolarCameras, result: SyncResult) -> Speeds:
    """Cameras that are not sure, and whose motion fits the others' clearly better at another usual frame rate.

    Args:
        cameras: of the scene, all static.
        prepared: their motion.
        result: with checks, which know how much of each camera's motion is explained.
    """
    shares = explained_shares(result)
    order, verdicts = shares.argsort().tolist(), result.verdicts
    least = SUSPICIOUS * float(shares.quantile(UPPER))
    moving = [camera for camera in order if len(prepared.energies[camera].pixels)]
    doubted = [camera for camera in moving if verdicts[result.names[camera]] != "sure" and shares[camera] < least]
    doubted = doubted[:MOST_SUSPICIOUS]
    others = [camera for camera in reversed(moving) if camera not in doubted][:MOST_OTHERS]

    @cache
    def given(camera: int, other: int) -> float:
        return agreement(prepared, camera, other)

    def gains_of(tried: tuple[int, float]) -> Gains:
        camera, speed = tried
        changed = at_speeds(prepared, {camera: speed})
        return gains_over(others, lambda other: (given(camera, other), agreement(changed, camera, other)))

    stated = {camera: cameras[camera].fps for camera in doubted} if len(others) > 1 else {}
    candidates = [(own, rate / fps) for own, fps in stated.items() for rate in RATES if abs(rate / fps - 1) > SAME]
    every = in_parallel(gains_of, candidates, "frame rates", "rate")
    found = {}
    for camera in stated:
        own = [(gains, speed) for gains, (tried, speed) in zip(every, candidates, strict=True) if tried == camera]
        (best, speed), (second, _) = sorted(own, key=lambda each: -gain_ratio(each[0]))[:2]
        reached = sum(after for _, after in best) / len(best)
        clearly = gain_ratio(best) > BETTER * max(gain_ratio(second), 1.0)
        if clearly and reached > AS_GOOD * usual_agreement(given, others):
            found[camera] = speed
    return found


def usual_agreement(given: Callable[[int, int], float], others: Sequence[int]) -> float:
    """How well the motion of some cameras agrees, each with the next, on the average."""
    pairs = list(pairwise(others))
    return sum(given(*pair) for pair in pairs) / len(pairs)


def blurring_speeds(cameras: Sequence[Camera], result: SyncResult) -> Speeds:
    """Cameras whose clocks' rates are so large that lags of whole videos are blurred by them."""
    if result.rates is None:
        return {}
    found = {}
    for index, (camera, rate) in enumerate(zip(cameras, result.rates.tolist(), strict=True)):
        if abs(rate) * 0.5 * camera.duration * camera.fps > BLURRING and 1 + rate > 0:
            found[index] = 1 / (1 + rate)
    return found


def at_speeds(prepared: EpipolarCameras, speeds: Speeds) -> EpipolarCameras:
    """The same motion on clocks by which some cameras filmed faster or slower."""
    factors = [speeds.get(index, 1.0) for index in range(len(prepared.times))]
    times = [own / factor for own, factor in zip(prepared.times, factors, strict=True)]
    return replace(prepared, times=times, rates=[own * by for own, by in zip(prepared.rates, factors, strict=True)])


def scene_at_speeds(scene: Scene, speeds: Speeds) -> Scene:
    """The same frames, of cameras by whose clocks some filmed faster or slower."""
    cameras = list(scene.cameras)
    for index, speed in speeds.items():
        own = cameras[index]
        begun = None if own.given_times is None else own.given_times / speed
        scaled = {"row_time": own.row_time / speed, "exposure": own.exposure / speed}
        cameras[index] = replace(own, fps=own.fps * speed, given_times=begun, **scaled)
    return replace(scene, cameras=tuple(cameras), _frames={})


def rates_with_speeds(result: SyncResult, cameras: Sequence[Camera], speeds: Speeds) -> SyncResult:
    """A result of cameras at other speeds as one of their own clocks, whose rates hold the speeds.

    Args:
        result: with rates, of :func:`scene_at_speeds`.
        cameras: of the scene as it was read.
        speeds: by which the result was found.
    """
    factors = torch.ones(len(cameras), dtype=torch.float64)
    factors[list(speeds)] = torch.tensor(list(speeds.values()), dtype=torch.float64)
    # Those of the reference's clock would make its rate other than 0: scene time is its own.
    pace = factors[result.reference]
    rates, offsets = (1 + result.rates) * pace / factors - 1, result.offsets * pace
    usual = float(factors.median())
    told = {
        result.names[camera]: f"its frames follow each other at {cameras[camera].fps * speed / usual:.4g} per second, "
        f"not at {cameras[camera].fps:.4g} as stated; its clock's rate says so"
        for camera, speed in speeds.items()
        if abs(speed / usual - 1) > SAME
    }
    errors = {"stderr": result.stderr * pace, "rates_stderr": result.rates_stderr * pace / factors}
    found = replace(result, offsets=offsets, rates=rates, remarks=result.remarks | told, **errors)
    reference = result.names[result.reference]
    doubt = {reference: "all times are told by its clock, whose frame rate is not the stated one"}
    return found.doubted(doubt if reference in told else {}, CORRECT)


def with_speeds(cameras: Sequence[Camera], result: SyncResult, speeds: Speeds) -> SyncResult:
    """The result with one reason for cameras that filmed at another rate than is stated; that explains all others."""
    checks, reasons, warnings = dict(result.checks), dict(result.reasons), dict(result.warnings)
    for camera, speed in speeds.items():
        name, stated = cameras[camera].name, cameras[camera].fps
        said = f"its motion fits the others' at {stated * speed:.4g} frames per second, not at {stated:.4g} as stated"
        checks[name] = replace(checks[name], reason=said, advice=ADVICE)
        warnings.pop(name, None)
        if name in reasons:
            reasons[name] = said
    return replace(result, checks=checks, reasons=reasons, warnings=warnings)
