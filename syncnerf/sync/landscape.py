"""Correlation of two cameras' line signals against their time shift, its peak between frames, and how sure it is."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, conv1d, pad

DETREND = 1.5
"""Deviation, in samples, of the smooth trend that is taken out: what is left carries the timing."""
COARSE_LINES, COARSE_BLUR, COARSE_DETREND = 3, 1.0, 4.0
"""The same for coarse signals: lines joined, and deviations of the smoothing and of the trend in samples."""
SPREAD_POWER = 0.75
"""Lines are divided by this power of their deviation: between equal weight (1) and weight by energy (0)."""
LEAST_OVERLAP = 12
"""Samples that both signals must share at a shift."""
OVERLAP_SHARE = 1 / 3
"""Share of the shorter signal that must overlap at a shift."""
MOST_LINE_SHIFT = 3
"""Lines by which the pencils may be misaligned (calibration is never exact)."""
NEIGHBOURHOOD = 4
"""Samples on either side that belong to a peak."""
LEAST_SIGNIFICANCE = 6.0
"""Smallest height of an accepted peak, in robust deviations of the landscape elsewhere."""
LEAST_LEAD = 1.5
"""Smallest lead of an accepted peak over the next separate one, in the same unit."""


@dataclass(frozen=True)
class Landscape:
    """Agreement of two cameras against the shift between their clocks.

    Attributes:
        first: global index of the one camera.
        second: global index of the other.
        lags: shifts offset[first] - offset[second], seconds, float64, shape [S].
        values: agreement at each shift, larger is better (correlation, or share of explained motion), float64,
            shape [S].
    """

    first: int
    second: int
    lags: Tensor
    values: Tensor


@dataclass(frozen=True)
class Peak:
    """A landscape's best shift.

    Attributes:
        lag: offset[first] - offset[second], seconds.
        deviation: standard error of the lag, seconds, up to a factor common to all pairs.
        significance: height in robust deviations of the rest of the landscape.
        lead: height above the next separate peak, in the same unit.
        line_shift: by how many lines the second pencil had to be moved against the first.
    """

    lag: float
    deviation: float
    significance: float
    lead: float
    line_shift: int = 0

    @property
    def reason_to_reject(self) -> str:
        """Why the peak should not be believed; empty if it may be."""
        if not self.significance >= LEAST_SIGNIFICANCE:
            return f"no shared motion (best shift only {self.significance:.1f} deviations above the others)"
        if not self.lead >= LEAST_LEAD:
            return f"no distinct best shift (leads the next by {self.lead:.1f} deviations)"
        return ""


@dataclass(frozen=True)
class Correlations:
    """Pooled correlations of two cameras' line signals.

    Attributes:
        shifts: whole shifts in samples, int64, shape [S].
        overlap: samples in common at each, int64, shape [S].
        values: correlation at each line shift (-n .. n) and time shift, float64, shape [2 n + 1, S].
    """

    shifts: Tensor
    overlap: Tensor
    values: Tensor


def condition(signals: Tensor, coarse: bool = False) -> Tensor:
    """Compress, detrend and weigh line signals so that sharp changes on any line count alike.

    Lines without motion stay, as zeros: neighbouring rows remain neighbouring lines.

    Args:
        signals: energy per line over time, shape [L, T].
        coarse: join lines and smooth over time first, against noise that differs from pixel to pixel.

    Returns:
        Signals without slow trends, in no unit, shape [L, T] (coarse: [L / 3, T]).
    """
    if coarse:
        signals = smooth(avg_pool1d(signals.T[None], COARSE_LINES, ceil_mode=True)[0].T, COARSE_BLUR)
    compressed = signals.clamp_min(0).sqrt()
    detrended = compressed - smooth(compressed, COARSE_DETREND if coarse else DETREND)
    deviation = detrended.std(dim=1, keepdim=True)
    return detrended / deviation.clamp_min(1e-6) ** SPREAD_POWER


def smooth(signals: Tensor, deviation: float) -> Tensor:
    """Gaussian smoothing along time, the ends repeated; shape [L, T]."""
    radius = math.ceil(3 * deviation)
    steps = torch.arange(-radius, radius + 1, dtype=signals.dtype, device=signals.device)
    kernel = torch.exp(-0.5 * (steps / deviation) ** 2)
    return conv1d(pad(signals[:, None], (radius, radius), mode="replicate"), (kernel / kernel.sum())[None, None])[:, 0]


def correlate(first: Tensor, second: Tensor, most: int | None = None) -> Correlations:
    """Correlation of two signal matrices, pooled over lines, at every whole shift with enough overlap.

    At shift s, ``first[:, t]`` is compared with ``second[:, t + s]``; means and variances are those of the overlap.
    Calibrated poses are never exact, and half a line's error between the pencils makes whatever moves across the lines
    seem early or late. So each line is compared with its neighbours too: at line shift d, ``first[l]`` with
    ``second[l + d]``.

    Args:
        first: shape [L, T1].
        second: shape [L, T2].
        most: largest shift in samples to consider; None for all.
    """
    length, other = first.shape[1], second.shape[1]
    needed = max(LEAST_OVERLAP, math.ceil(OVERLAP_SHARE * min(length, other)))
    shifts = torch.arange(needed - length, max(other - needed, needed - length - 1) + 1)
    overlap = torch.minimum(torch.tensor(length), other - shifts) - (-shifts).clamp_min(0)
    keep = overlap >= needed
    if most is not None:
        keep &= shifts.abs() <= most
    shifts, overlap = shifts[keep], overlap[keep]
    # Few lines allow little shifting: most of them must stay in the comparison.
    widest = min(MOST_LINE_SHIFT, len(first) // 8)
    if len(shifts) == 0 or len(first) == 0:
        return Correlations(shifts, overlap, torch.zeros(2 * widest + 1, len(shifts), dtype=torch.float64))
    size = 1 << (length + other - 1).bit_length()
    spectra = torch.fft.rfft(first, size).conj(), torch.fft.rfft(second, size)
    start = (-shifts).clamp_min(0)
    windows = (start, overlap), (start + shifts, overlap)
    sums = [_window_sums(signal, *window) for signal, window in zip((first, second), windows, strict=True)]
    squares = [_window_sums(signal.square(), *window) for signal, window in zip((first, second), windows, strict=True)]
    variances = [square - total.square() / overlap for square, total in zip(squares, sums, strict=True)]
    values = []
    for line_shift in range(-widest, widest + 1):
        one, two = line_slices(len(first), line_shift)
        spectrum = torch.einsum("lf,lf->f", spectra[0][one], spectra[1][two])
        products = torch.fft.irfft(spectrum, size)[shifts % size].double()
        covariance = products - (sums[0][one] * sums[1][two]).sum(0) / overlap
        power = variances[0][one].sum(0).clamp_min(0) * variances[1][two].sum(0).clamp_min(0)
        values.append((covariance / power.sqrt().clamp_min(1e-9)).clamp(-1, 1))
    return Correlations(shifts, overlap, torch.stack(values))


def line_slices(count: int, line_shift: int) -> tuple[slice, slice]:
    """Which lines of two pencils are compared at a line shift."""
    return slice(max(0, -line_shift), count - max(0, line_shift)), slice(
        max(0, line_shift), count - max(0, -line_shift)
    )


def _window_sums(signals: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """Sums over windows of time, float64, shape [L, S]."""
    running = pad(signals.double().cumsum(1), (1, 0))
    return running[:, start + length] - running[:, start]


def find_peak(correlations: Correlations, interval: float) -> tuple[Peak, Tensor] | None:
    """The best shift, to a fraction of a sample, and how it stands out.

    Shifts with little overlap vary more, so heights are compared as ``atanh(c) * sqrt(overlap - 3)``. Between samples
    the correlation is interpolated band-limited (a windowed sinc), and the last step is a parabola; between line
    shifts the lag follows the parabola of the heights.

    Args:
        correlations: of the pair.
        interval: seconds per sample.

    Returns:
        The peak and the landscape at its line shift (shape [S]); None where there are too few shifts to judge.
    """
    values, overlap = correlations.values, correlations.overlap
    if len(overlap) < 4 * NEIGHBOURHOOD:
        return None
    score = torch.atanh(values.clamp(-0.999, 0.999)) * (overlap - 3).sqrt()
    row, best = divmod(int(score.argmax()), len(overlap))
    significance, lead = stand_out(score[row], best)
    position, height, curvature = refine(values[row], best)
    height = min(max(height, 1e-6), 0.999)
    deviation = math.sqrt((1 - height**2) / (height * max(curvature, 1e-9)) / float(overlap[best]))
    if 0 < row < len(values) - 1:
        position = _between_lines(values[row - 1 : row + 2], best, position, height)
    line_shift = row - len(values) // 2
    lag = (float(correlations.shifts[0]) + position) * interval
    return Peak(lag, deviation * interval, significance, lead, line_shift), values[row]


def _between_lines(values: Tensor, best: int, position: float, height: float) -> float:
    """The peak's place at the best fractional line shift, from three neighbouring ones (shape [3, S])."""
    low, high = max(0, best - 2), best + 3
    beside = [refine(row, low + int(row[low:high].argmax())) for row in (values[0], values[2])]
    places, heights = [peak[0] for peak in beside], [peak[1] for peak in beside]
    if max(abs(place - position) for place in places) > 2.0:
        return position
    bend = heights[0] - 2 * height + heights[1]
    share = min(max(0.5 * (heights[0] - heights[1]) / bend, -0.5), 0.5) if bend < 0 else 0.0
    slope, turn = 0.5 * (places[1] - places[0]), places[0] - 2 * position + places[1]
    return position + share * slope + 0.5 * share**2 * turn


def stand_out(score: Tensor, best: int) -> tuple[float, float]:
    """How far a peak rises above the rest of its landscape, and above the next separate peak.

    The peak's own slopes are not the rest: they reach down to where the curve rises again, and at least 4 samples.

    Returns:
        Both heights in robust deviations (1.4826 times the median absolute one) of the rest; zeros where there is too
        little rest to judge.
    """
    rising = score.diff() > 0
    left, right = best, best
    while left > 0 and rising[left - 1]:
        left -= 1
    while right < len(score) - 1 and not rising[right]:
        right += 1
    elsewhere = torch.ones(len(score), dtype=torch.bool)
    elsewhere[max(0, min(left, best - NEIGHBOURHOOD)) : max(right, best + NEIGHBOURHOOD) + 1] = False
    rest = score[elsewhere]
    if len(rest) < 2 * NEIGHBOURHOOD:
        return 0.0, 0.0
    middle = rest.median()
    spread = 1.4826 * float((rest - middle).abs().median()) + 1e-9
    return float(score[best] - middle) / spread, float(score[best] - rest.max()) / spread


def refine(values: Tensor, best: int, steps: int = 16, taps: int = 8) -> tuple[float, float, float]:
    """Maximum of a sampled curve near one of its samples.

    Args:
        values: samples, float64, shape [S].
        best: index of the largest.
        steps: points per sample at which the windowed-sinc interpolation is evaluated.
        taps: samples on either side that it uses.

    Returns:
        Place of the maximum (in samples from the first), its height, and minus its second derivative per sample^2.
    """
    offsets = torch.arange(-steps, steps + 1, dtype=torch.float64) / steps
    padded = pad(values[None, None], (taps, taps), mode="replicate")[0, 0]
    fine = interpolation(offsets, taps) @ padded[best : best + 2 * taps + 1]
    top = int(fine[1:-1].argmax()) + 1
    before, at, after = fine[top - 1 : top + 2].tolist()
    bend = before - 2 * at + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    shift = min(max(shift, -1.0), 1.0)
    return best + float(offsets[top]) + shift / steps, at - 0.25 * (before - after) * shift, -bend * steps**2


def interpolation(offsets: Tensor, taps: int) -> Tensor:
    """Windowed-sinc weights of the samples -taps .. taps at offsets between -1 and 1, shape [K, 2 taps + 1]."""
    distance = offsets[:, None] - torch.arange(-taps, taps + 1, dtype=torch.float64)
    window = torch.cos(torch.pi * distance / (2 * (taps + 1))).square()
    return torch.sinc(distance) * window
