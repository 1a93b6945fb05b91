"""The public entry: a scene in, offsets with standard errors out."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from syncnerf.errors import UserError
from syncnerf.scene import Scene
from syncnerf.scene.origin import moved
from syncnerf.sync.alignment import are_exact, are_whole
from syncnerf.sync.comparison import Comparison, compare_all
from syncnerf.sync.conventions import convention_hint
from syncnerf.sync.creation_time import creation_lags
from syncnerf.sync.drift import WindowLags, fit_clocks
from syncnerf.sync.epipolar import compare_pair
from syncnerf.sync.epipolar_cameras import prepare_cameras
from syncnerf.sync.exchanges import with_exchanges
from syncnerf.sync.faults import faults
from syncnerf.sync.interlacing import with_interlacing
from syncnerf.sync.jumps import with_jumps
from syncnerf.sync.long import is_long, synchronize_long
from syncnerf.sync.looping import with_loops
from syncnerf.sync.pose_fit import pose_fit
from syncnerf.sync.prior import PriorLag
from syncnerf.sync.resolve import resolve
from syncnerf.sync.result import SyncResult
from syncnerf.sync.scales import viewing_directions
from syncnerf.sync.self_check import reviewed, with_checks
from syncnerf.sync.shared_tangents import SharedTangent, shared_tangents
from syncnerf.sync.sound import sound_lags
from syncnerf.sync.sound_prior import with_sound
from syncnerf.sync.speeds import blurring_speeds, filmed_speeds, rates_with_speeds, scene_at_speeds, with_speeds
from syncnerf.sync.tangent_clocks import with_tangent_clocks
from syncnerf.sync.tangent_offsets import by_tangents
from syncnerf.sync.timecode import timecode_lags
from syncnerf.sync.track_pairs import compare_tracks, prepare_tracks
from syncnerf.sync.trails import with_trails

logger = logging.getLogger(__name__)

WORKING_SIDE = 320
"""Larger frames are averaged down to this many pixels a side."""
METHODS = ("auto", "epipolar", "tracks")
AUDIO = ("auto", "off")


def synchronize(
    scene: Scene,
    method: str = "auto",
    max_offset: float | None = None,
    drift: bool = False,
    tracks: Path | None = None,
    audio: str = "auto",
) -> SyncResult:
    """Time offsets of a scene's cameras from motion, and from sound where motion says nothing.

    Args:
        scene: calibrated cameras and their frames, of any size; more than 320 pixels a side are not needed.
        method: ``epipolar`` (static cameras), ``tracks`` (moving ones too), or ``auto``: epipolar where all cameras
            stand still.
        max_offset: largest lag between two cameras that is considered, seconds; None for what the videos allow.
        drift: give each clock a rate as well as an offset; cameras that move need recordings of over four minutes.
        tracks: file, or folder of ``<camera>.npz`` files, for the method ``tracks`` (see :func:`read_tracks`); None
            for Lucas-Kanade tracks of the frames.
        audio: ``auto``: the videos' sound, where they have any, places cameras that motion does not, and is compared
            with what motion says; ``off``: motion alone.

    Returns:
        Offsets with standard errors; cameras that could not be determined hold NaN and a reason. They are against the
        scene's reference, or where that shares no motion with most cameras, against the first one that does.

    Raises:
        UserError: fewer than two cameras, no motion at all, no two cameras in different places, or a method that the
            scene does not allow.
    """
    check_scene(scene, method, max_offset)
    sounds = sound_lags(scene, max_offset) if audio == "auto" else []
    # Where several tell a pair's lag, the last one counts.
    priors = [*creation_lags(scene), *timecode_lags(scene), *sounds]
    moving = any(camera.is_moving for camera in scene.cameras)
    if tracks is None and is_long(scene) and method != ("epipolar" if moving else "tracks"):
        short = partial(from_motion, method=method)
        result = synchronize_long(scene, short, max_offset, drift, priors, sounds)
    else:
        result = from_motion(scene, max_offset, method, drift, tracks, priors)
    if result.reference != scene.reference:
        names = scene.names[result.reference], scene.names[scene.reference]
        logger.warning("%s: offsets are against %s; %s shares no motion with most cameras", scene.root, *names)
    for name, said in result.remarks.items():
        logger.warning("camera %s: %s", name, said)
    return reviewed(with_interlacing(scene, with_sound(scene, result, sounds)))


def from_motion(
    scene: Scene,
    max_offset: float | None,
    method: str = "auto",
    drift: bool = False,
    tracks: Path | None = None,
    priors: Sequence[PriorLag] = (),
) -> SyncResult:
    """The offsets of :func:`synchronize`, all frames looked at, from motion; ``priors`` decide between equal peaks.

    Raises:
        UserError: as :func:`synchronize`.
    """
    if tracks is None:
        scene = scene.resized(WORKING_SIDE)
        scene.frame_cache.prepare(scene.cameras)
    if method == "auto":
        moving = any(camera.is_moving for camera in scene.cameras)
        method = "tracks" if moving or tracks is not None else "epipolar"
    if method == "epipolar":
        return _from_lines(scene, max_offset, drift, priors)
    if drift:
        raise UserError(f"{scene.root}: --drift needs the method epipolar, and that needs cameras that stand still")
    comparisons = _compared(scene, partial(compare_tracks, prepare_tracks(scene, tracks), max_offset=max_offset))
    return with_checks(resolve(scene, method, comparisons), comparisons, [], scene.frame_interval)


def _from_lines(
    scene: Scene, max_offset: float | None, drift: bool, priors: Sequence[PriorLag], again: int = 2
) -> SyncResult:
    """The offsets of cameras that stand still, from motion along epipolar lines and from outlines' tangents.

    With ``drift``, where clocks run so differently that whole videos do not agree at any lag, it is done ``again`` by
    the times that their rates make, so many times at most.
    """
    prepared = prepare_cameras(scene)
    prepared = replace(prepared, exact=are_exact(prepared), whole=are_whole(prepared))
    expected = {(prior.first, prior.second): prior for prior in priors}
    comparisons = _compared(scene, partial(compare_pair, prepared, max_offset=max_offset, expected=expected))
    directions = viewing_directions(scene.cameras) if prepared.aligned else None
    seen = shared_tangents(scene, prepared) if prepared.exact else []
    refine = partial(by_tangents, seen, 1 / torch.tensor(prepared.rates, dtype=torch.float64)) if seen else None
    result = resolve(scene, "epipolar", comparisons, directions, refine)
    used = {(pair.first, pair.second) for pair in result.pairs if pair.used}
    windows = [(c.first, c.second, c.windows) for c in comparisons if (c.first, c.second) in used]
    leaps = [energy.leaps for energy in prepared.energies]
    result = with_drift(scene, result, windows, seen) if drift else result
    result = with_jumps(scene, result, windows, comparisons, leaps)
    found = faults(prepared.energies)
    wider = torch.tensor([fault.error for fault in found], dtype=torch.float64) * scene.frame_interval
    result = with_loops(scene, replace(result, stderr=torch.hypot(result.stderr, wider)))
    # A wrong convention of poses refers to the origin of their files, so cameras are moved back there.
    written = [moved(camera, scene.origin) for camera in scene.cameras]
    hint = convention_hint(written, prepared, comparisons)
    cadences = {name: fault.remark for name, fault in zip(scene.names, found, strict=True) if fault.remark}
    fit = partial(pose_fit, prepared, result)
    checked = with_checks(result, comparisons, windows, scene.frame_interval, hint, cadences, fit)
    if not hint:
        speeds = filmed_speeds(scene.cameras, prepared, checked)
        if drift and again and (speeds := speeds or blurring_speeds(scene.cameras, checked)):
            found = _from_lines(scene_at_speeds(scene, speeds), max_offset, drift, priors, again - 1)
            return rates_with_speeds(found, scene.cameras, speeds)
        checked = with_speeds(scene.cameras, with_exchanges(scene.cameras, prepared, checked), speeds)
    remarks = {
        name: f"something burned in ({energy.burned_share:.1%} of its picture) changes by itself; left out"
        for name, energy in zip(scene.names, prepared.energies, strict=True)
        if energy.burned
    }
    return replace(with_trails(scene, checked), remarks=checked.remarks | remarks)


def _compared(scene: Scene, compare: Callable[[int, int], Comparison]) -> list[Comparison]:
    """What all pairs of cameras say of their lags; UserError where no two cameras stand apart."""
    comparisons = compare_all(len(scene.cameras), compare)
    if all(comparison.reason.startswith("no baseline") for comparison in comparisons):
        raise UserError(
            f"{scene.root}: all cameras stand in the same place; synchronising needs cameras apart (are the poses "
            "world-to-camera?)"
        )
    return comparisons


def with_drift(
    scene: Scene,
    result: SyncResult,
    windows: list[tuple[int, int, WindowLags]],
    tangents: Sequence[SharedTangent] = (),
) -> SyncResult:
    """The result with a rate for each clock, from the pairs' lags in windows of time and from what tangents say.

    Raises:
        UserError: the videos are too short to tell a rate.
    """
    clocks = fit_clocks(windows, result.offsets, result.reference)
    if clocks is None:
        raise UserError(f"{scene.root}: the videos are too short to estimate clock rates; leave out --drift")
    clocks = with_tangent_clocks(clocks, tangents, result.reference, scene.frame_interval)
    reasons = {
        name: result.reasons.get(name, "too little shared motion to estimate its clock's rate")
        for name, known in zip(scene.names, clocks.known.tolist(), strict=True)
        if not known
    }
    return replace(
        result,
        offsets=clocks.offsets,
        stderr=clocks.offsets_stderr,
        rates=clocks.rates,
        rates_stderr=clocks.rates_stderr,
        clock_correlations=clocks.correlations,
        reasons=reasons,
    )


def check_scene(scene: Scene, method: str, max_offset: float | None) -> None:
    """Raise UserError where the request makes no sense."""
    if method not in METHODS:
        raise UserError(f"no synchronisation method '{method}' (known: {', '.join(METHODS)})")
    if max_offset is not None and not max_offset > 0:
        raise UserError(f"--max-offset {max_offset:g}: should be a positive number of seconds")
    if len(scene.cameras) < 2:
        raise UserError(f"{scene.root}: has one camera; synchronising needs at least two")
