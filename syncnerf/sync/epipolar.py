"""Pairwise lags of static cameras from motion along epipolar lines (Pundik & Moses, ECCV 2010)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from syncnerf.sync.coincidence import coincidence, is_in_step
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
from syncnerf.sync.ends import near_lags
from syncnerf.sync.epipolar_cameras import EpipolarCameras, unfit_pair
from syncnerf.sync.far_jumps import rest_landscape
from syncnerf.sync.frame_products import FrameProducts, frame_products, told_by_both
from syncnerf.sync.landscape import Landscape, Peak, better_beyond, find_peak
from syncnerf.sync.pencils import FINE_LINE_WIDTH, LINE_WIDTH
from syncnerf.sync.pieces import Pieces, pieces_of
from syncnerf.sync.prior import PriorLag

Expected = Mapping[tuple[int, int], PriorLag]
"""Lags known from sound, timecodes or creation times, by the pair's global indices."""

LEAST_TOGETHER = 0.1
"""How nearly two cameras' frames must coincide at some lag, from 0 to 1, for their lag to be drawn there."""


@dataclass(frozen=True)
class _Signals:
    """What two cameras are compared by, on common steps of time.

    Attributes:
        lines: energy per line of either camera, shape [L, T] each.
        conditioned: the same without slow trends, as it is correlated; fewer lines where it is coarse.
        informative: which samples of either say something.
        step: seconds per sample.
        begins: where the steps begin on either camera's own clock, seconds.
        coarse: whether lines are joined and smoothed.
        aligned: whether equal lines show the same, so that the pencils are not moved against each other.
    """

    lines: tuple[Tensor, Tensor]
    conditioned: tuple[Tensor, Tensor]
    informative: Informative
    step: float
    begins: tuple[float, float]
    coarse: bool
    aligned: bool

    @property
    def lead(self) -> float:
        """Seconds to add to a lag between the samples for the lag between the cameras' clocks."""
        return self.begins[1] - self.begins[0]


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
    in_step = all(is_in_step(cameras.times[camera], step) for camera in (first, second))
    # Exact poses have a last step of their own; of intervals that are missing, or shared out, no level is known.
    level = not cameras.aligned and in_step and all(bool(known.all()) for known in informative)
    tried = []
    for coarse in (False, True):
        wanted = lines if coarse or not level else tuple(levelled(signal, LINE_WIDTH) for signal in lines)
        conditioned = tuple(condition(signal, coarse, known) for signal, known in zip(wanted, informative, strict=True))
        signals = _Signals(wanted, conditioned, informative, step, begins, coarse, cameras.aligned)
        found, peak = _search((first, second), signals, max_offset, (expected or {}).get((first, second)))
        if peak is None:
            return found
        found = replace(found, pieces=_pieces((first, second), signals, peak.line_shift))
        if not found.reason:
            return _measured(cameras, signals, found, peak)
        tried.append(found)
    return tried[0]


def _search(
    pair: tuple[int, int], signals: _Signals, max_offset: float | None, said: PriorLag | None
) -> tuple[Comparison, Peak | None]:
    """Two cameras' landscape by their signals, and its peak by the samples; None where too little can be compared."""
    step, lead = signals.step, signals.lead
    said = said and replace(said, lag=said.lag - lead)
    most = None if max_offset is None else math.ceil(max_offset / step)
    everything = correlate(*signals.conditioned, signals.informative, 0 if signals.aligned else MOST_LINE_SHIFT)
    considered = everything if most is None else everything.within(most)
    found = find_peak(considered, step, said)
    if found is None:
        unlimited = most is None or find_peak(everything, step) is None
        why = "too few frames with motion in common" if unlimited else "too few lags within --max-offset to compare"
        return Comparison(*pair, None, None, why), None
    peak, values = found
    landscape = Landscape(*pair, considered.shifts.double() * step + lead, values, considered.overlap)
    at_lines = everything.values[peak.line_shift + len(everything.values) // 2]
    all_lags = Landscape(*pair, everything.shifts.double() * step + lead, at_lines, everything.overlap)
    reason = better_beyond(all_lags, max_offset) or peak.reason_to_reject
    return Comparison(*pair, landscape, replace(peak, lag=peak.lag + lead), reason, whole=all_lags), peak


def _measured(cameras: EpipolarCameras, signals: _Signals, found: Comparison, peak: Peak) -> Comparison:
    """An accepted comparison with what the surroundings of its peak tell: a finer scale, windows of time, the rest.

    Args:
        cameras: of the scene.
        signals: in which the peak was found.
        found: the comparison.
        peak: its peak, whose lag is that between the samples.
    """
    first, second, step, informative = found.first, found.second, signals.step, signals.informative
    if signals.aligned and not signals.coarse:
        products = _sharp_products(cameras, first, second, peak.lag)
        coarser, peak = peak.lag, products.refined(peak)
        rescaled = peak.lag - coarser
    else:
        products = _products_at(signals.conditioned, peak, peak.line_shift, step, informative)
        rescaled = _finer_products(signals, peak).refined(peak).lag - products.refined(peak).lag
    pull = products.pull(torch.full((len(products.values),), peak.lag, dtype=torch.float64))
    meeting = coincidence(cameras.times[first], cameras.times[second], step)
    # Coarse signals are smooth enough between samples; those of unequal rates never come together for long.
    samples = 0.0 if signals.coarse or meeting[1] < LEAST_TOGETHER else step
    windows = window_lags(products, samples, meeting)
    rest = rest_landscape((first, second), signals.conditioned, informative, peak, products)
    lead = signals.lead
    return replace(
        found,
        peak=replace(peak, lag=peak.lag + lead),
        sensitivity=pull,
        windows=replace(windows, times=windows.times + signals.begins[0], lags=windows.lags + lead),
        samples=samples,
        rescaled=rescaled,
        meeting=meeting,
        rest=rest and replace(rest, lags=rest.lags + lead),
        near=near_lags((first, second), products, signals.begins),
    )


def _pieces(pair: tuple[int, int], signals: _Signals, line_shift: int) -> tuple[Pieces, ...]:
    """How pieces of either camera's video agree with the other's, the second pencil moved by so many lines."""
    lines = line_slices(len(signals.conditioned[0]), line_shift)
    one, two = (signal[slices] for signal, slices in zip(signals.conditioned, lines, strict=True))
    known, step, lead = signals.informative, signals.step, signals.lead
    found = (
        pieces_of(pair, one, two, known, step, lead),
        pieces_of(pair[::-1], two, one, known[::-1], step, -lead),
    )
    return tuple(each for each in found if each is not None)


def _products_at(
    signals: tuple[Tensor, Tensor], peak: Peak, line_shift: int, step: float, informative: Informative
) -> FrameProducts:
    """Products around a peak with the second pencil moved by so many lines."""
    one, two = line_slices(len(signals[0]), line_shift)
    return frame_products(signals[0][one], signals[1][two], peak.lag, step, informative)


def _finer_products(signals: _Signals, peak: Peak) -> FrameProducts:
    """Products around a peak of signals one scale finer than those that it was found with."""
    detrend = DETREND if signals.coarse else SHARP_DETREND
    finer = tuple(
        condition(lines, informative=known, detrend=detrend)
        for lines, known in zip(signals.lines, signals.informative, strict=True)
    )
    line_shift = peak.line_shift * (COARSE_LINES if signals.coarse else 1)
    return _products_at(finer, peak, line_shift, signals.step, signals.informative)


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
