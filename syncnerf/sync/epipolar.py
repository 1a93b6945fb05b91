"""Pairwise lags of static cameras from motion along epipolar lines (Pundik & Moses, ECCV 2010)."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.scene import Scene
from syncnerf.sync.comparison import Comparison
from syncnerf.sync.correlation import Informative, condition, correlate, line_slices
from syncnerf.sync.drift import window_lags
from syncnerf.sync.energy import MotionEnergy, motion_energy
from syncnerf.sync.frame_products import frame_products
from syncnerf.sync.landscape import Landscape, better_beyond, find_peak
from syncnerf.sync.pencils import LEAST_BASELINE, View, line_signals, view_of
from syncnerf.sync.workers import in_parallel

logger = logging.getLogger(__name__)

Expected = Mapping[tuple[int, int], tuple[float, float]]
"""Lag and standard error in seconds, by a pair's global indices."""


@dataclass(frozen=True)
class EpipolarCameras:
    """The moving pixels of every camera, ready to be compared pair by pair.

    Attributes:
        energies: each camera's motion energy.
        views: each camera's rays through the moving pixels.
        rates: frames per second of each camera.
        least_baseline: cameras nearer to each other than this (scene units) share no epipolar planes.
    """

    energies: list[MotionEnergy]
    views: list[View]
    rates: list[float]
    least_baseline: float

    def signals(self, first: int, second: int) -> tuple[tuple[Tensor, Tensor], Informative, float]:
        """Energy per line of two cameras on common time steps, shapes [L, T1] and [L, T2], and seconds per step.

        Sample m of either covers m to m + 1 steps of that camera's own clock. In between: which samples say something.
        """
        pair = (first, second)
        lines = line_signals(*(self.views[camera] for camera in pair), tuple(self.energies[camera] for camera in pair))
        step = 1 / min(self.rates[camera] for camera in pair)
        ratios = [step * self.rates[camera] for camera in pair]
        signals = tuple(resample(signal, ratio) for signal, ratio in zip(lines, ratios, strict=True))
        # A step is informative where all of it is.
        silent = [(~self.energies[camera].informative[None]).float() for camera in pair]
        lost = [resample(mask, ratio)[0] for mask, ratio in zip(silent, ratios, strict=True)]
        return signals, tuple(share < 1e-3 for share in lost), step


def resample(signals: Tensor, ratio: float) -> Tensor:
    """Sum signals over time steps of another length, preserving their totals.

    Args:
        signals: amounts per frame interval, shape [L, T].
        ratio: length of the new steps, in frame intervals.

    Returns:
        Amounts per new step, shape [L, floor(T / ratio)].
    """
    if abs(ratio - 1) < 1e-6:
        return signals
    count = math.floor(signals.shape[1] / ratio + 1e-6)
    running = torch.nn.functional.pad(signals.cumsum(1), (1, 0))
    edges = torch.arange(count + 1, dtype=torch.float64) * ratio
    lower = edges.long().clamp_max(signals.shape[1] - 1)
    share = (edges - lower).to(signals.dtype)
    return (running[:, lower] * (1 - share) + running[:, lower + 1] * share).diff(dim=1)


def prepare_cameras(scene: Scene) -> EpipolarCameras:
    """Motion energy and rays of every camera of a scene.

    Raises:
        UserError: a camera moves, or nothing moves in front of any.
    """
    for camera in scene.cameras:
        if camera.is_moving:
            raise UserError(f"{scene.root}: camera '{camera.name}' moves; synchronise this scene with --method tracks")
    # Opened one by one rather than kept by the scene, so that mapped frames do not pile up in memory.
    energies = in_parallel(
        lambda camera: motion_energy(scene.frame_cache.open(camera)), scene.cameras, "motion energy", "camera"
    )
    if not any(len(energy.pixels) for energy in energies):
        raise UserError(f"{scene.root}: nothing moves in any of the videos; synchronising them needs motion")
    views = [view_of(camera, energy) for camera, energy in zip(scene.cameras, energies, strict=True)]
    centres = torch.stack([view.centre for view in views])
    typical = float(torch.pdist(centres).median()) if len(centres) > 1 else 0.0
    span = max(typical, float(torch.pdist(centres).max()) if len(centres) > 1 else 0.0)
    return EpipolarCameras(energies, views, [camera.fps for camera in scene.cameras], LEAST_BASELINE * span)


def compare_pair(
    cameras: EpipolarCameras, first: int, second: int, max_offset: float | None, expected: Expected | None = None
) -> Comparison:
    """The landscape of two static cameras.

    Where fine signals (a line per pixel, changes from frame to frame) show no distinct peak, as in strongly compressed
    videos, coarse ones are tried, which are less precise.

    Args:
        cameras: of the scene.
        first: global index of the one camera.
        second: global index of the other.
        max_offset: largest lag between two cameras that is considered, seconds; None for what the videos allow.
        expected: lags that something else says; a peak there is preferred (see :func:`find_peak`).
    """
    views = cameras.views
    if float((views[first].centre - views[second].centre).norm()) <= cameras.least_baseline:
        return Comparison(first, second, None, None, "no baseline (both cameras stand in the same place)")
    for camera in (first, second):
        if len(cameras.energies[camera].pixels) == 0:
            return Comparison(first, second, None, None, "nothing moves in one of the videos")
    lines, informative, step = cameras.signals(first, second)
    if len(lines[0]) == 0 or not all(signal.any() for signal in lines):
        return Comparison(first, second, None, None, "no epipolar line with motion in both")
    most = None if max_offset is None else math.ceil(max_offset / step)
    tried = []
    for coarse in (False, True):
        signals = [condition(signal, coarse, known) for signal, known in zip(lines, informative, strict=True)]
        everything = correlate(*signals, informative)
        considered = everything if most is None else everything.within(most)
        found = find_peak(considered, step, (expected or {}).get((first, second)))
        if found is None:
            return Comparison(first, second, None, None, "too few frames with motion in common")
        peak, values = found
        landscape = Landscape(first, second, considered.shifts * step, values, considered.overlap)
        at_lines = everything.values[peak.line_shift + len(everything.values) // 2]
        whole = Landscape(first, second, everything.shifts * step, at_lines, everything.overlap)
        reason = peak.reason_to_reject or better_beyond(whole, max_offset)
        tried.append(Comparison(first, second, landscape, peak, reason, whole=whole))
        if not reason:
            break
    else:
        return tried[0]
    one, two = line_slices(len(signals[0]), peak.line_shift)
    products = frame_products(signals[0][one], signals[1][two], peak.lag, step, informative)
    pull = products.pull(torch.full((len(products.values),), peak.lag, dtype=torch.float64))
    # Coarse signals are smooth enough between samples; with unequal frame rates the samples never coincide for long.
    locked = not coarse and cameras.rates[first] == cameras.rates[second]
    samples = step if locked else 0.0
    return replace(tried[-1], sensitivity=pull, windows=window_lags(products, samples), samples=samples)
