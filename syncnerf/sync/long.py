"""Long recordings: a pass over the whole at a low rate, then windows at the full one.

The pass finds the offsets to a fraction of a second. In windows of time spread over what all cameras filmed they are
found anew as in a short recording; a line through a camera's offsets is its clock. Memory does not grow with the
recordings' length, and time by one decoding of every video.

The pass is of cameras that stand still. Those that move are placed by their sound, or sought within the largest offset.
"""

import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.scene import Scene
from syncnerf.scene.camera import Camera
from syncnerf.scene.excerpts import Excerpt
from syncnerf.scene.frame_cache import FrameCache
from syncnerf.sync.prior import PriorLag
from syncnerf.sync.result import Check, SyncResult
from syncnerf.sync.sound_prior import with_sound

logger = logging.getLogger(__name__)

LONG = 240.0
"""Seconds from which a recording is long."""
COARSE_RATE, COARSE_FRAMES, COARSE_SIDE = 5.0, 4500, 48
"""Frames per second of the pass over the whole, how many there are at most, and pixels of their larger side."""
MARGIN = 1.5
"""Largest error of the pass, and drift over the recording, in seconds: what a window is searched for."""
OUTLYING = 4.0
"""Standard errors from the line beyond which a window's offset does not count."""
LEAST_WINDOWS = 3
"""Windows that must tell a camera's offset."""
JUMPING_SHARE = 0.25
"""Share of windows off the line from which the clock is said to jump."""

TELLING_DRIFT = 0.3
"""Frames over the recording from which a clock's rate is worth a warning."""


@dataclass(frozen=True)
class Windows:
    """Excerpts of the recordings, spread over them.

    Attributes:
        seconds: length of each.
        count: number of them.
        margin: seconds around the coarse offsets that each is searched in.
    """

    seconds: float
    count: int
    margin: float = MARGIN


STILL, MOVING = Windows(20.0, 10), Windows(6.0, 6)
"""Of cameras that stand still, and of scenes in which some move: following points takes long."""

Short = Callable[..., SyncResult]
"""Synchronises a short scene, with the largest lag that is considered, and ``priors`` of what else tells lags."""


def is_long(scene: Scene) -> bool:
    """Whether a scene is too long to be looked at frame by frame."""
    return scene.duration > LONG


def synchronize_long(
    scene: Scene,
    short: Short,
    max_offset: float | None,
    drift: bool,
    priors: Sequence[PriorLag] = (),
    sounds: Sequence[PriorLag] = (),
) -> SyncResult:
    """Offsets of long recordings, and with ``drift`` rates.

    Args:
        scene: at the size that windows are compared at.
        short: synchronises a short scene.
        max_offset: largest lag between two cameras that is considered, seconds; None for what the videos allow.
        drift: give each clock a rate as well.
        priors: lags that something else tells; they decide between the pass's equal peaks.
        sounds: those of the cameras' sound, which place cameras for the windows that the pass does not.

    Returns:
        Offsets with standard errors; the pairs and landscapes are those of the pass over the whole.

    Raises:
        UserError: what ``short`` raises, no window tells anything, or nothing places cameras that move.
    """
    if any(camera.is_moving for camera in scene.cameras):
        coarse, placed, windows = _placed_by_sound(scene, max_offset, sounds)
    else:
        coarse, windows = _coarse_pass(scene, short, max_offset, priors), STILL
        placed = with_sound(scene, coarse, sounds).offsets
    rows, checks = [], []
    for start in _window_starts(scene, placed, windows):
        frames = [
            _inside(camera, start - offset, windows.seconds)
            for camera, offset in zip(scene.cameras, placed.tolist(), strict=True)
        ]
        present = [index for index, own in enumerate(frames) if len(own)]
        part = replace(scene, cameras=tuple(scene.cameras[index] for index in present), test=(), _frames={})
        with excerpts(part, [frames[index] for index in present]) as window:
            *told, own_checks = _offsets_in(window, partial(short, max_offset=windows.margin), scene, present, frames)
        rows.append(told)
        checks.append(own_checks)
        logger.info("window at %.0f s: %d of %d cameras", start, int(rows[-1][1].isfinite().sum()), len(scene.cameras))
    result = _clocks(scene, coarse, *(torch.stack(column) for column in zip(*rows, strict=True)), drift)
    return replace(result, checks={name: _judged([own[name] for own in checks if name in own]) for name in scene.names})


def _coarse_pass(scene: Scene, short: Short, max_offset: float | None, priors: Sequence[PriorLag]) -> SyncResult:
    """Offsets from the whole recordings at a low rate and size."""
    rate = min(COARSE_RATE, COARSE_FRAMES / scene.duration)
    # On the cameras' own clocks the first frame need not be at 0.
    first = torch.stack([camera.frame_times[0] for camera in scene.cameras])
    shifted = [replace(p, lag=p.lag + float(first[p.first] - first[p.second])) for p in priors]
    with excerpts(scene, [_thinned(camera, rate) for camera in scene.cameras], rate) as whole:
        coarse = short(whole, max_offset, priors=shifted)
    return replace(coarse, offsets=coarse.offsets - first + first[coarse.reference])


def _placed_by_sound(
    scene: Scene, max_offset: float | None, sounds: Sequence[PriorLag]
) -> tuple[SyncResult, Tensor, Windows]:
    """Nothing from motion, coarse offsets from sound (else 0), and windows that are searched as far as these may err.

    Raises:
        UserError: sound places not all cameras, and no largest offset is given.
    """
    offsets = torch.full((len(scene.cameras),), torch.nan, dtype=torch.float64)
    offsets[scene.reference] = 0.0
    reasons = {name: "no window tells its offset" for name in scene.names if name != scene.names[scene.reference]}
    nothing = SyncResult(scene.names, scene.reference, "tracks", offsets, offsets * 0.0, [], [], reasons=reasons)
    placed = with_sound(scene, nothing, sounds).offsets
    lost = placed.isnan()
    if not lost.any():
        return nothing, placed, MOVING
    if max_offset is None:
        name = scene.names[int(lost.nonzero()[0])]
        raise UserError(
            f"{scene.root}: cameras move, and no sound places '{name}' in recordings of {scene.duration:.0f} s; give "
            "--max-offset SECONDS, or cut them to their common time"
        )
    # What is that far apart must still share the usual length.
    wider = replace(MOVING, seconds=MOVING.seconds + max_offset, margin=max(MARGIN, max_offset))
    return nothing, placed.nan_to_num(nan=0.0), wider


def _thinned(camera: Camera, rate: float) -> list[int]:
    """Indices of the frames next after every moment of a low rate."""
    moments = torch.arange(int((camera.duration - float(camera.frame_times[0])) * rate) + 1, dtype=torch.float64) / rate
    return (
        torch.searchsorted(camera.frame_times, moments + camera.frame_times[0] - 1e-6)
        .clamp_max(camera.frame_count - 1)
        .tolist()
    )


def _inside(camera: Camera, begin: float, seconds: float) -> list[int]:
    """Indices of the frames within a window that begins at ``begin`` on the camera's clock; none if that is NaN."""
    if math.isnan(begin):
        return []
    first, end = torch.searchsorted(camera.frame_times, torch.tensor([begin, begin + seconds], dtype=torch.float64))
    return list(range(int(first), int(end)))


@contextmanager
def excerpts(scene: Scene, frames: list[list[int]], rate: float | None = None) -> Iterator[Scene]:
    """The scene with some frames of each camera, decoded to a passing cache; clocks begin at 0 with the first of them.

    Args:
        scene: of any cameras.
        frames: of each camera, in order.
        rate: what the frames are thinned to, per second: they are small then, and may be others shortly after.
    """
    cameras, sources = [], {}
    for camera, own in zip(scene.cameras, frames, strict=True):
        if camera.is_moving:
            camera = replace(camera, camera_to_world=camera.camera_to_world[own])
        if rate is None:
            times = None if camera.given_times is None else camera.given_times[own] - camera.given_times[own[0]]
            changed = replace(camera, frame_count=len(own), given_times=times, exposure=0.0)
        else:
            side = COARSE_SIDE / max(camera.intrinsics.width, camera.intrinsics.height)
            size = [max(1, round(side * length)) for length in (camera.intrinsics.width, camera.intrinsics.height)]
            small = camera.resized(*size) if side < 1 else camera
            changed = replace(small, frame_count=len(own), fps=rate, given_times=None, exposure=0.0)
        cameras.append(changed)
        sources[camera.name] = Excerpt(scene.frame_cache.sources[camera.name], tuple(own), rate is None)
    scene.frame_cache.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="excerpt-", dir=scene.frame_cache.directory) as folder:
        cache = FrameCache(Path(folder), sources)
        yield replace(scene, cameras=tuple(cameras), frame_cache=cache, true_offsets=None, _frames={})


def _window_starts(scene: Scene, offsets: Tensor, windows: Windows) -> list[float]:
    """Beginnings of the windows in scene time, over what all cameras filmed that the pass placed.

    Raises:
        UserError: that is less than a window.
    """
    spans = [
        (offset + float(camera.frame_times[0]), offset + camera.duration)
        for camera, offset in zip(scene.cameras, offsets.tolist(), strict=True)
        if not math.isnan(offset)
    ]
    begin = max(first for first, _ in spans) + windows.margin
    end = min(last for _, last in spans) - windows.margin - windows.seconds
    if end < begin:
        least = windows.seconds + 2 * windows.margin
        raise UserError(f"{scene.root}: the cameras share less than {least:.0f} s; cut the videos to that")
    return torch.linspace(begin, end, windows.count, dtype=torch.float64).tolist()


def _offsets_in(
    window: Scene, short: Short, scene: Scene, present: list[int], frames: list[list[int]]
) -> tuple[Tensor, Tensor, Tensor, dict[str, Check]]:
    """Offsets of a window's cameras on their own clocks against the first of them, standard errors, times, and checks.

    The times are those of the window's middle on each camera's clock; NaN where the window tells nothing.
    """
    count = len(scene.cameras)
    offsets, errors, times = torch.full((3, count), torch.nan, dtype=torch.float64)
    try:
        result = short(window)
    except UserError as error:  # nothing moves there
        logger.info("%s", error)
        return offsets, errors, times, {}
    for place, camera in enumerate(present):
        begin = float(scene.cameras[camera].frame_times[frames[camera][0]])
        offsets[camera] = result.offsets[place] - begin
        errors[camera] = result.stderr[place]
        times[camera] = begin + 0.5 * window.cameras[place].duration
    return offsets, errors, times, result.checks


def _judged(checks: Sequence[Check]) -> Check:
    """One check of a camera's in all windows: what most of them doubt is doubtful."""
    told = [check for check in checks if check.verdict != "undetermined"]
    if not told:
        return Check("undetermined")
    explained = torch.tensor([check.explained for check in told]).nanmedian()
    doubtful = [check for check in told if check.verdict == "check"]
    judged = doubtful[0] if 2 * len(doubtful) > len(told) else Check("sure")
    return replace(judged, explained=float(explained), halves=math.nan)


def _clocks(
    scene: Scene, coarse: SyncResult, offsets: Tensor, errors: Tensor, times: Tensor, drift: bool
) -> SyncResult:
    """A clock for each camera from its offsets in the windows, all float64, shape [W, C]."""
    reference = coarse.reference
    relative = offsets - offsets[:, reference : reference + 1]
    count = len(scene.cameras)
    found, stderr, rates, rates_stderr = torch.full((4, count), torch.nan, dtype=torch.float64)
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
    )


def _remark(times: Tensor, values: Tensor, deviations: Tensor, kept: Tensor, drift: bool, interval: float) -> str:
    """What speaks against a camera's one offset, or one line; empty if nothing does."""
    if drift:
        jumps = float((~kept).double().mean()) >= JUMPING_SHARE
        return "its clock jumps (frames lost?): its offsets do not lie on a line" if jumps else ""
    line, covariance, _ = fit_line(times, values, deviations, True)
    gained, error = abs(float(line[1])), float(covariance[1, 1].sqrt())
    if gained > OUTLYING * error and gained * float(times.max() - times.min()) > TELLING_DRIFT * interval:
        return f"its clock gains {float(line[1]) * 1e6:+.0f} parts per million on the reference's; use --drift"
    return ""


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
