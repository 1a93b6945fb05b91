"""Clocks that run at slightly different rates: lags in windows of time, and a rate per camera fitted to them."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor
from torch.nn.functional import pad

from syncnerf.sync.frame_products import FrameProducts
from syncnerf.sync.landscape import lag_deviation, refine
from syncnerf.sync.locking import UnlockedFit, fit_without_locking
from syncnerf.sync.solve import Lags, connected, offset_design, robust_fit
from syncnerf.sync.uncertainty import LEAST_BLOCKS, MOST_BLOCKS, SYSTEMATIC, blended

MOST_WINDOWS = 12
"""Windows that a video is cut into."""
LEAST_WINDOW = 15
"""Samples that a window holds at least ..."""
LEAST_HALF = 10
"""... and where that leaves a single window, halves: a clock that jumps in a short video is told by nothing else."""
LEAST_SHARED = 8
"""Samples, informative in both videos, without which a window says nothing."""
LEAST_SAMPLES = 60
"""Shorter videos tell no rate worth having: two seconds are good for about a thousandth."""


@dataclass(frozen=True)
class WindowLags:
    """A pair's lags in windows of time.

    Attributes:
        times: middle of each window on the first camera's clock, seconds, float64, shape [W].
        lags: when the second camera's clock shows what the first's shows then, minus that; seconds, float64, shape [W];
            NaN for a window that says too little, or whose landscape has no peak within 6 samples of the whole videos'
            lag.
        deviations: standard errors up to a common factor, seconds, float64, shape [W].
        samples: seconds between samples if the lags are drawn to whole samples, else 0.
        length: samples in the whole video.
        meeting: a lag at which these samples of both come together, seconds, and how nearly all do, from 0 to 1.
    """

    times: Float64[Tensor, " W"]
    lags: Float64[Tensor, " W"]
    deviations: Float64[Tensor, " W"]
    samples: float
    length: int
    meeting: tuple[float, float] = (0.0, 1.0)


def window_lags(
    products: FrameProducts, samples: float = 0.0, meeting: tuple[float, float] = (0.0, 1.0)
) -> WindowLags:
    """Lags of a pair in windows of time.

    Args:
        products: what each frame contributes near the whole videos' lag.
        samples: see :class:`WindowLags`.
        meeting: likewise.
    """
    length, interval = len(products.values), products.interval
    count = min(MOST_WINDOWS, max(length // LEAST_WINDOW, min(2, length // LEAST_HALF)))
    window = torch.arange(length) * count // length
    rows = []
    for index, (values, shared) in enumerate(zip(*products.within(window, count), strict=True)):
        best = int(values.argmax())
        middle = float(products.times[window == index].mean())
        if not 2 <= best <= len(values) - 3 or shared[best] < LEAST_SHARED:
            rows.append((middle, math.nan, math.nan))
            continue
        place, height, bend = refine(values, best)
        lag = (products.whole + place - len(values) // 2) * interval
        rows.append((middle, lag, lag_deviation(height, bend, float(shared[best])) * interval))
    return WindowLags(*torch.tensor(rows, dtype=torch.float64).reshape(-1, 3).T, samples, length, meeting)


@dataclass(frozen=True)
class Clocks:
    """Each camera's clock: scene time is ``own time * (1 + rate) + offset``, own time counting from its frame 0.

    Attributes:
        known: which cameras are determined, bool, shape [C].
        offsets: seconds, NaN where not determined, float64, shape [C].
        offsets_stderr: in the free gauge, likewise; those of frame 0, at one end of what the rate was fitted to, and so
            two or three times as large as without rates.
        rates: against the reference's clock, no unit (1e-6: one part per million), likewise.
        rates_stderr: in the free gauge, likewise.
        covariance: of the K determined offsets, and after these of their rates, float64, shape [2 K, 2 K].
    """

    known: Bool[Tensor, " C"]
    offsets: Float64[Tensor, " C"]
    offsets_stderr: Float64[Tensor, " C"]
    rates: Float64[Tensor, " C"]
    rates_stderr: Float64[Tensor, " C"]
    covariance: Float64[Tensor, "K2 K2"]

    @property
    def correlations(self) -> Float64[Tensor, "C 2 C 2"]:
        """Of all cameras' errors of offset and rate, float64, shape [C, 2, C, 2]; none where not determined."""
        count, known = len(self.known), int(self.known.sum())
        errors = self.covariance.diagonal().sqrt()
        within = (self.covariance / torch.outer(errors, errors)).reshape(2, known, 2, known).permute(1, 0, 3, 2)
        every = torch.eye(2 * count, dtype=torch.float64).reshape(count, 2, count, 2)
        places = self.known.nonzero()[:, 0]
        every[places[:, None], :, places] = within.permute(0, 2, 1, 3)
        return every


def fit_clocks(
    pairs: list[tuple[int, int, WindowLags]], offsets: Float64[Tensor, " C"], reference: int
) -> Clocks | None:
    """Offsets and rates from all pairs' window lags, robustly.

    At time u of camera i's clock and v = u + lag of camera j's, both see the same: ``lag = offset_i - offset_j +
    rate_i u - rate_j v`` to first order. Errors within a window of scene time are alike in all pairs of a camera, so
    the standard errors come from leaving out stretches of scene time, as those of offsets alone do.

    Args:
        pairs: camera indices and window lags.
        offsets: without drift, seconds, float64, shape [C]; NaN cameras stay out.
        reference: global index of the camera whose offset and rate are zero.

    Returns:
        None where the windows do not determine any rate.
    """
    pairs = [pair for pair in pairs if pair[2].length >= LEAST_SAMPLES]
    measured = [
        (i, j, windows.samples, *values, *windows.meeting)
        for i, j, windows in pairs
        for values in zip(windows.times.tolist(), windows.lags.tolist(), windows.deviations.tolist(), strict=True)
        if math.isfinite(values[1])
    ]
    count = len(offsets)
    table = torch.tensor(measured, dtype=torch.float64).reshape(-1, 8)
    pair, (samples, times, values, deviations) = table[:, :2].long(), table[:, 2:6].T
    lags = Lags(pair[:, 0], pair[:, 1], values, deviations, samples, table[:, 6:])
    stretch = _stretches(times + offsets[lags.first])
    inside = _spread_in_time(lags, stretch, count)
    known = connected(lags.first[inside], lags.second[inside], count, reference)
    inside &= known[lags.first]
    lags, times, stretch = lags.keep(inside), times[inside], stretch[inside]
    if int(known.sum()) < 2:
        return None
    # Rates enter as seconds over the whole span, so that all unknowns have one unit.
    span = float(times.max() - times.min())
    start = offsets[known].nan_to_num(0.0)
    plain = offset_design(lags, count)[:, known]
    drifting = plain.clamp_min(0) * times[:, None] + plain.clamp_max(0) * (times + lags.values)[:, None]
    design = torch.cat([plain, drifting / span], dim=1)
    ones, zeros = torch.ones_like(start), torch.zeros_like(start)
    gauge = torch.stack([torch.cat([ones, zeros]), torch.cat([start, span * ones])])
    fit = robust_fit(design, lags.values, lags.deviations, gauge, torch.cat([start, zeros]))
    # Lags that drift pass by whole samples: what draws them there changes on the way, and would pass for a rate.
    unlocked = fit_without_locking(lags.keep(fit.used), fit, design[fit.used], gauge)
    covariance = _covariance(unlocked, stretch[fit.used], gauge, SYSTEMATIC * float(lags.samples.max()))
    seconds = torch.cat([ones, ones / span])
    covariance = covariance * torch.outer(seconds, seconds)
    return referred(unlocked.unknowns * seconds, covariance, known, int(known[:reference].sum()))


def _covariance(fit: UnlockedFit, stretch: Tensor, gauge: Tensor, systematic: float) -> Tensor:
    """Covariance of offsets and rates from leaving out stretches of scene time, shape [U, U].

    Args:
        fit: whose errors they are.
        stretch: of each of its lags, int64, shape [M].
        gauge: what no lag sees, shape [G, U].
        systematic: error that no stretch shows, added to each unknown, seconds.
    """
    rows, left, gauge = fit.design / fit.deviations[:, None], fit.residuals / fit.deviations, pad(gauge, (0, 1))
    # The last row, what is known of the locking, counts always.
    parts = [pad(stretch != without, (0, 1), value=True) for without in stretch.unique().tolist()]
    moved = torch.stack([_solution(rows[part], left[part], gauge) for part in parts], dim=1)[:-1]
    half = len(moved) // 2
    each = slice(0, half), slice(half, None)
    variances = torch.cat([blended(moved[part], fit.covariance[part, part]).diagonal() for part in each])
    together = blended(moved, fit.covariance)
    scale = ((variances + systematic**2) / together.diagonal()).sqrt()
    return together * torch.outer(scale, scale)


def _stretches(times: Tensor) -> Tensor:
    """Which stretch of scene time each lag belongs to, int64, shape [M]."""
    if len(times) == 0:
        return times.long()
    since = times - times.min()
    return (since / since.max().clamp_min(1e-9) * MOST_BLOCKS).long().clamp_max(MOST_BLOCKS - 1)


def _spread_in_time(lags: Lags, stretch: Tensor, count: int) -> Tensor:
    """Which lags are between cameras whose lags lie in enough stretches of time to tell rates, bool, shape [M]."""
    inside = torch.ones(len(stretch), dtype=torch.bool)
    while True:
        seen = torch.zeros(count, MOST_BLOCKS, dtype=torch.bool)
        seen[lags.first[inside], stretch[inside]] = True
        seen[lags.second[inside], stretch[inside]] = True
        enough = seen.sum(1) >= LEAST_BLOCKS
        kept = inside & enough[lags.first] & enough[lags.second]
        if torch.equal(kept, inside):
            return inside
        inside = kept


def _solution(rows: Tensor, seen: Tensor, gauge: Tensor) -> Tensor:
    """Least squares in the inner gauge, whose directions these rows hardly see, shape [U]."""
    fixed = torch.linalg.qr(gauge.T)[0].T * torch.linalg.matrix_norm(rows)
    return torch.linalg.pinv(torch.cat([rows, fixed]))[:, : len(rows)] @ seen


def referred(
    unknowns: Float64[Tensor, " K2"], covariance: Float64[Tensor, "K2 K2"], known: Bool[Tensor, " C"], reference: int
) -> Clocks:
    """Clocks of all cameras, against the reference's.

    Args:
        unknowns: offsets of the K determined cameras, seconds, and after these their rates, float64, shape [2 K].
        covariance: of these in the free gauge, shape [2 K, 2 K].
        known: which cameras they are, bool, shape [C].
        reference: which of the K it is.
    """
    offsets, rates = unknowns.chunk(2)
    scale = 1 + rates[reference]
    offsets, rates = (offsets - offsets[reference]) / scale, (rates - rates[reference]) / scale
    errors = covariance.diagonal().sqrt().chunk(2)
    columns = []
    for values in (offsets, errors[0], rates, errors[1]):
        column = torch.full((len(known),), torch.nan, dtype=torch.float64)
        column[known] = values
        columns.append(column)
    return Clocks(known, *columns, covariance)
