"""Pairwise lags of static cameras from motion along epipolar lines (Pundik & Moses, ECCV 2010)."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.scene import Camera, Scene
from syncnerf.sync.coincidence import coincidence, grid_begin, is_in_step
from syncnerf.sync.comparison import Comparison
from syncnerf.sync.correlation import (
    COARSE_LINES,
    DETREND,
    MOST_LINE_SHIFT,
    SHARP_DETREND,
    Informative,
    condition,
    correlate,
    levelled,
    line_slices,
)
from syncnerf.sync.drift import window_lags
from syncnerf.sync.energies import motion_energies
from syncnerf.sync.energy import MotionEnergy
from syncnerf.sync.far_jumps import rest_landscape
from syncnerf.sync.frame_products import FrameProducts, frame_products, told_by_both
from syncnerf.sync.landscape import Landscape, Peak, better_beyond, find_peak
from syncnerf.sync.pencils import FINE_LINE_WIDTH, LEAST_BASELINE, LINE_WIDTH, PencilView, line_signals, pencil_view
from syncnerf.sync.prior import PriorLag
from syncnerf.sync.resampling import resample

logger = logging.getLogger(__name__)

Expected = Mapping[tuple[int, int], PriorLag]
"""What something else than motion says, by a pair's global indices."""


LEAST_TOGETHER = 0.1
"""Share of their frames that come together at some lag, without which lags are not drawn there."""
GAP = 1.5
"""Frame intervals from which on two frames are too far apart for what changes between them to tell when."""


@dataclass(frozen=True)
class EpipolarCameras:
    """The moving pixels of every camera, ready to be compared pair by pair.

    Attributes:
        energies: each camera's motion energy.
        views: each camera's rays through the moving pixels.
        rates: intervals of its energy per second of each camera's own clock.
        times: where they begin, and the last ends, on that clock, seconds, float64, shape [T] each.
        least_baseline: cameras nearer to each other than this (scene units) share no epipolar planes.
        exact: whether the poses are so exact that equal lines of two cameras show the same.
        whole: whether so little is missing from the videos that finer signals do not feel its edges.
    """

    energies: list[MotionEnergy]
    views: list[PencilView]
    rates: list[float]
    times: list[Float64[Tensor, " _"]]
    least_baseline: float
    exact: bool = False
    whole: bool = False

    @property
    def aligned(self) -> bool:
        """Whether equal lines of two cameras may be compared as they are, at the finest scale."""
        return self.exact and self.whole

    def informative(self, camera: int) -> Bool[Tensor, " I"]:
        """Which intervals between a camera's frames say something about time, bool, shape [T - 1]."""
        gaps = self.times[camera].diff() * self.rates[camera] > GAP
        return self.energies[camera].informative & ~gaps

    def step(self, first: int, second: int) -> float:
        """Seconds per step on which two cameras are compared: the longer of their intervals."""
        return 1 / min(self.rates[camera] for camera in (first, second))

    def begins(self, first: int, second: int) -> tuple[float, float]:
        """Where these steps begin on each of the two cameras' own clocks, seconds."""
        step = self.step(first, second)
        return grid_begin(self.times[first], step), grid_begin(self.times[second], step)

    def signals(
        self, first: int, second: int, line_width: float = LINE_WIDTH
    ) -> tuple[tuple[Float[Tensor, "L T1"], Float[Tensor, "L T2"]], Informative, float]:
        """Energy per line of two cameras on common time steps, shapes [L, T1] and [L, T2], and seconds per step.

        Sample m of either covers m to m + 1 steps from where its steps begin, see :meth:`begins`, by its own clock. In
        between: which samples say something; those in gaps between frames do not.
        """
        pair, step = (first, second), self.step(first, second)
        energies = tuple(self.energies[camera] for camera in pair)
        lines = line_signals(*(self.views[camera] for camera in pair), energies, line_width)
        grids = [(self.times[camera], step, begin) for camera, begin in zip(pair, self.begins(*pair), strict=True)]
        signals = tuple(resample(signal, *grid) for signal, grid in zip(lines, grids, strict=True))
        # A step is informative where all of it is.
        silent = [(~self.informative(camera)).float()[None] for camera in pair]
        lost = [resample(mask, *grid)[0] for mask, grid in zip(silent, grids, strict=True)]
        return signals, tuple(share < 1e-3 for share in lost), step


def prepare_cameras(scene: Scene) -> EpipolarCameras:
    """Motion energy and rays of every camera of a scene.

    Raises:
        UserError: a camera moves, or nothing moves in front of any.
    """
    for camera in scene.cameras:
        if camera.is_moving:
            raise UserError(f"{scene.root}: camera '{camera.name}' moves; synchronise this scene with --method tracks")

    energies = motion_energies(scene)
    if not any(len(energy.pixels) for energy in energies):
        raise UserError(f"{scene.root}: nothing moves in any of the videos; synchronising them needs motion")
    views = [pencil_view(camera, energy) for camera, energy in zip(scene.cameras, energies, strict=True)]
    rates = [camera.fps * energy.pace for camera, energy in zip(scene.cameras, energies, strict=True)]
    times = [_edges(*each) for each in zip(scene.cameras, energies, rates, strict=True)]
    return EpipolarCameras(energies, views, rates, times, least_baseline(views))


def least_baseline(views: list[PencilView]) -> float:
    """Distance below which two of the cameras count as standing in one place, in scene units."""
    centres = torch.stack([view.centre for view in views])
    return LEAST_BASELINE * float(torch.pdist(centres).max()) if len(centres) > 1 else 0.0


def _edges(camera: Camera, energy: MotionEnergy, rate: float) -> Tensor:
    """Where the intervals of a camera's energy begin, and the last ends: at its frames, or at those put back."""
    if energy.pace == 1:
        return camera.frame_times + energy.late
    steps = torch.arange(energy.values.shape[1] + 1, dtype=torch.float64) - energy.delay
    return camera.frame_times[0] + steps / rate + energy.late


def unfit_pair(cameras: EpipolarCameras, first: int, second: int) -> str:
    """Why two cameras share no epipolar lines with motion, whatever their lag; empty if they may."""
    views = cameras.views
    if float((views[first].centre - views[second].centre).norm()) <= cameras.least_baseline:
        return "no baseline (both cameras stand in the same place)"
    if min(len(cameras.energies[camera].pixels) for camera in (first, second)) == 0:
        return "nothing moves in one of the videos"
    return ""


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
    unfit = unfit_pair(cameras, first, second)
    if unfit:
        return Comparison(first, second, None, None, unfit)
    lines, informative, step = cameras.signals(first, second)
    if len(lines[0]) == 0 or not all(signal.any() for signal in lines):
        return Comparison(first, second, None, None, "no epipolar line with motion in both")
    begins = cameras.begins(first, second)
    lead = begins[1] - begins[0]
    said = (expected or {}).get((first, second))
    said = said and replace(said, lag=said.lag - lead)
    most = None if max_offset is None else math.ceil(max_offset / step)
    in_step = all(is_in_step(cameras.times[camera], step) for camera in (first, second))
    # Exact poses have a last step of their own; of intervals that are missing, or shared out, no level is known.
    level = not cameras.aligned and in_step and all(bool(known.all()) for known in informative)
    tried = []
    for coarse in (False, True):
        wanted = lines if coarse or not level else tuple(levelled(signal, LINE_WIDTH) for signal in lines)
        signals = [condition(signal, coarse, known) for signal, known in zip(wanted, informative, strict=True)]
        everything = correlate(*signals, informative, 0 if cameras.aligned else MOST_LINE_SHIFT)
        considered = everything if most is None else everything.within(most)
        found = find_peak(considered, step, said)
        if found is None:
            unlimited = most is None or find_peak(everything, step) is None
            why = "too few frames with motion in common" if unlimited else "too few lags within --max-offset to compare"
            return Comparison(first, second, None, None, why)
        peak, values = found
        landscape = Landscape(first, second, considered.shifts.double() * step + lead, values, considered.overlap)
        at_lines = everything.values[peak.line_shift + len(everything.values) // 2]
        all_lags = Landscape(first, second, everything.shifts.double() * step + lead, at_lines, everything.overlap)
        reason = peak.reason_to_reject or better_beyond(all_lags, max_offset)
        tried.append(Comparison(first, second, landscape, replace(peak, lag=peak.lag + lead), reason, whole=all_lags))
        if not reason:
            break
    else:
        return tried[0]
    if cameras.aligned and not coarse:
        products = _sharp_products(cameras, first, second, peak.lag)
        found, peak = peak.lag, products.refined(peak)
        rescaled = peak.lag - found
    else:
        products = _products_at(signals, peak, peak.line_shift, step, informative)
        finer = _finer_products(wanted, coarse, peak, step, informative)
        rescaled = finer.refined(peak).lag - products.refined(peak).lag
    pull = products.pull(torch.full((len(products.values),), peak.lag, dtype=torch.float64))
    meeting = coincidence(cameras.times[first], cameras.times[second], step)
    # Coarse signals are smooth enough between samples; those of unequal rates never come together for long.
    samples = 0.0 if coarse or meeting[1] < LEAST_TOGETHER else step
    windows = window_lags(products, samples, meeting)
    rest = rest_landscape((first, second), tuple(signals), informative, peak, products)
    rest = rest and replace(rest, lags=rest.lags + lead)
    windows = replace(windows, times=windows.times + begins[0], lags=windows.lags + lead)
    peak = replace(peak, lag=peak.lag + lead)
    final = replace(tried[-1], peak=peak, sensitivity=pull, windows=windows, samples=samples, rescaled=rescaled)
    return replace(final, meeting=meeting, rest=rest)


def _products_at(
    signals: list[Tensor], peak: Peak, line_shift: int, step: float, informative: Informative
) -> FrameProducts:
    """Products around a peak with the second pencil moved by so many lines."""
    one, two = line_slices(len(signals[0]), line_shift)
    return frame_products(signals[0][one], signals[1][two], peak.lag, step, informative)


def _finer_products(
    lines: tuple[Tensor, Tensor], coarse: bool, peak: Peak, step: float, informative: Informative
) -> FrameProducts:
    """Products around a peak of signals one scale finer than those that it was found with."""
    detrend = DETREND if coarse else SHARP_DETREND
    signals = [
        condition(signal, informative=known, detrend=detrend) for signal, known in zip(lines, informative, strict=True)
    ]
    return _products_at(signals, peak, peak.line_shift * (COARSE_LINES if coarse else 1), step, informative)


def _sharp_products(cameras: EpipolarCameras, first: int, second: int, lag: float) -> FrameProducts:
    """Products of finer lines, less faster trends, around a lag: less sure of the peak, but surer where exactly it is.

    Only where equal lines may be compared.
    """
    lines, informative, step = cameras.signals(first, second, FINE_LINE_WIDTH)
    told = told_by_both(informative, round(lag / step))
    signals = (
        condition(levelled(signal, FINE_LINE_WIDTH), informative=known, detrend=SHARP_DETREND) * both
        for signal, known, both in zip(lines, informative, told, strict=True)
    )
    return frame_products(*signals, lag, step, told)
