"""Long recordings: a pass over the whole at a low rate, then windows at the full one.

The pass finds the offsets to a fraction of a second. In windows of time spread over what all cameras filmed they are
found anew as in a short recording; a line through a camera's offsets is its clock. Memory does not grow with the
recordings' length, and time by one decoding of every video.

The pass is of cameras that stand still. Those that move are placed by their sound, or sought within the largest offset.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.scene import Scene
from syncnerf.scene.camera import Camera
from syncnerf.sync.prior import PriorLag
from syncnerf.sync.result import Check, SyncResult
from syncnerf.sync.shortened import excerpts, thinned
from syncnerf.sync.sound_prior import with_sound
from syncnerf.sync.window_clocks import camera_clocks, judged

logger = logging.getLogger(__name__)

LONG = 240.0
"""Seconds from which a recording is long."""
COARSE_RATE, COARSE_FRAMES = 5.0, 4500
"""Frames per second of the pass over the whole, and how many there are at most."""
MARGIN = 1.5
"""Largest error of the pass, and drift over the recording, in seconds: what a window is searched for."""


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
    result = camera_clocks(scene, coarse, *(torch.stack(column) for column in zip(*rows, strict=True)), drift)
    return replace(result, checks={name: judged([own[name] for own in checks if name in own]) for name in scene.names})


def _coarse_pass(scene: Scene, short: Short, max_offset: float | None, priors: Sequence[PriorLag]) -> SyncResult:
    """Offsets from the whole recordings at a low rate and size."""
    rate = min(COARSE_RATE, COARSE_FRAMES / scene.duration)
    # On the cameras' own clocks the first frame need not be at 0.
    first = torch.stack([camera.frame_times[0] for camera in scene.cameras])
    shifted = [replace(p, lag=p.lag + float(first[p.first] - first[p.second])) for p in priors]
    with excerpts(scene, [thinned(camera, rate) for camera in scene.cameras], rate) as whole:
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


def _inside(camera: Camera, begin: float, seconds: float) -> list[int]:
    """Indices of the frames within a window that begins at ``begin`` on the camera's clock; none if that is NaN."""
    if math.isnan(begin):
        return []
    first, end = torch.searchsorted(camera.frame_times, torch.tensor([begin, begin + seconds], dtype=torch.float64))
    return list(range(int(first), int(end)))


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
