"""Correlation of two cameras' line signals against their time shift, over what both of them can tell."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float, Float64, Int64
from torch import Tensor
from torch.nn.functional import avg_pool1d, conv1d, pad

DETREND, SHARP_DETREND = 1.5, 1.0
"""Deviation, in samples, of the smooth trend that is taken out: what is left carries the timing. The second is for the
last step, once a peak is found: faster changes tell the time more exactly, and a peak less surely."""
COARSE_LINES, COARSE_BLUR, COARSE_DETREND = 3, 1.0, 4.0
"""The same for coarse signals: lines joined, and deviations of the smoothing and of the trend in samples."""
SPREAD_POWER = 0.75
"""Lines are divided by this power of their deviation: between equal weight (1) and weight by energy (0)."""
LEVEL_REACH = 3.0
"""Distance, in pixels of the finer energy map, over which lines share a level."""
LEAST_OVERLAP = 12
"""Informative samples that both signals must share at a shift."""
OVERLAP_SHARE = 1 / 3
"""Share of the shorter signal that must overlap at a shift."""
INFORMATIVE_SHARE = 1 / 4
"""Share of the informative samples, of the signal that has fewer, that must meet informative ones at a shift."""
LEAST_POWER = 1e-4
"""A shift at which the signals have less than this share of the power that they have at others says nothing."""
MOST_LINE_SHIFT = 3
"""Lines by which the pencils may be misaligned (calibration is never exact)."""

Informative = tuple[Tensor, Tensor]
"""Which samples of two signals say something about time, bool, shapes [T1] and [T2]."""


@dataclass(frozen=True)
class Correlations:
    """Pooled correlations of two cameras' line signals.

    Attributes:
        shifts: whole shifts in samples, int64, shape [S].
        overlap: samples informative in both at each, int64, shape [S]; 0 where the shift says nothing.
        values: correlation at each line shift (-n .. n) and time shift, 0 where it says nothing, float64, shape
            [2 n + 1, S].
    """

    shifts: Int64[Tensor, " S"]
    overlap: Int64[Tensor, " S"]
    values: Float64[Tensor, "D S"]

    def within(self, most: int) -> "Correlations":
        """The shifts of at most ``most`` samples."""
        near = self.shifts.abs() <= most
        return Correlations(self.shifts[near], self.overlap[near], self.values[:, near])


def condition(
    signals: Float[Tensor, "L T"],
    coarse: bool = False,
    informative: Bool[Tensor, " T"] | None = None,
    detrend: float = DETREND,
) -> Float[Tensor, "M T"]:
    """Compress, detrend and weigh line signals so that sharp changes on any line count alike.

    Lines without motion stay, as zeros: neighbouring rows remain neighbouring lines. Samples that are not informative
    become zero, and have no part in the trends: where motion stops because a camera hangs is no edge.

    Args:
        signals: energy per line over time, shape [L, T].
        coarse: join lines and smooth over time first, against noise that differs from pixel to pixel.
        informative: which samples say something, bool, shape [T]; all if None.
        detrend: deviation of the trend that is taken out of fine signals, samples.

    Returns:
        Signals without slow trends, in no unit, shape [L, T] (coarse: [L / 3, T]).
    """
    known = torch.ones_like(signals[0], dtype=torch.bool) if informative is None else informative
    # Where nothing is known of single samples, but of their sum, that serves for the trend.
    weights = (known | signals.any(dim=0))[None].to(signals.dtype)
    if coarse:
        joined = avg_pool1d(signals.T[None], COARSE_LINES, ceil_mode=True)[0].T
        signals = _smooth_where(joined, weights, COARSE_BLUR)
    compressed = signals.clamp_min(0).sqrt()
    trend = _smooth_where(compressed, weights, COARSE_DETREND if coarse else detrend)
    detrended = (compressed - trend) * known
    several = int(signals.shape[1] > 1)  # two frames make a single sample, which deviates from nothing
    deviation = detrended.std(dim=1, keepdim=True, correction=several) * (len(known) / known.sum().clamp_min(1)).sqrt()
    return detrended / deviation.clamp_min(1e-6) ** SPREAD_POWER


def levelled(signals: Float[Tensor, "L T"], width: float) -> Float[Tensor, "L T"]:
    """Energy per line, less what it shares with the lines around it at the same moment.

    How much all of a body changes between two frames depends on the view: on how fast it moves across it, on what it
    passes in front of, on its light, on how finely the frame was compressed. What comes of that is early in one view
    and late in another, on all lines of the body alike; which of its lines change is not. So each is divided by the
    square root of the level around it: half of what is common goes, and a body of few lines keeps the other half. Below
    the mean level less goes, or noise would count as much as motion.

    Args:
        signals: energy per line over time, shape [L, T].
        width: of a line, in pixels of the finer energy map.

    Returns:
        Energy of the same lines, shape [L, T].
    """
    level = smooth(signals.T.contiguous(), LEVEL_REACH / width).T
    return signals / (1 + level / level.mean().clamp_min(1e-6)).sqrt()


def _smooth_where(signals: Tensor, weights: Tensor, deviation: float) -> Tensor:
    """Weighted Gaussian means along time, shape [L, T]; zero where no weight is near."""
    if bool((weights == 1).all()):
        return smooth(signals, deviation)
    return smooth(signals * weights, deviation) / smooth(weights, deviation).clamp_min(1e-6)


def smooth(signals: Float[Tensor, "L T"], deviation: float) -> Float[Tensor, "L T"]:
    """Gaussian smoothing along the second axis, time, the ends repeated; shape [L, T]."""
    radius = math.ceil(3 * deviation)
    steps = torch.arange(-radius, radius + 1, dtype=signals.dtype, device=signals.device)
    kernel = torch.exp(-0.5 * (steps / deviation) ** 2)
    return conv1d(pad(signals[:, None], (radius, radius), mode="replicate"), (kernel / kernel.sum())[None, None])[:, 0]


def correlate(
    first: Float[Tensor, "L T1"],
    second: Float[Tensor, "L T2"],
    informative: Informative | None = None,
    most_line_shift: int = MOST_LINE_SHIFT,
    least: int = LEAST_OVERLAP,
    share: float = OVERLAP_SHARE,
) -> Correlations:
    """Correlation of two signal matrices, pooled over lines, at every whole shift with enough overlap.

    At shift s, ``first[:, t]`` is compared with ``second[:, t + s]`` where both are informative; means and variances
    are those of these samples alone (masked normalised correlation: Padfield, CVPR 2010). Calibrated poses are never
    exact, and half a line's error between the pencils makes whatever moves across the lines seem early or late. So each
    line is compared with its neighbours too: at line shift d, ``first[l]`` with ``second[l + d]``.

    Args:
        first: shape [L, T1]; zero where not informative.
        second: shape [L, T2]; likewise.
        informative: which samples say something; all if None.
        most_line_shift: lines by which the pencils may be misaligned; 0 where they are known not to be.
        least: samples that a shift must compare.
        share: of the shorter signal that must overlap at a shift.
    """
    length, other = first.shape[1], second.shape[1]
    masks = informative or (torch.ones(length, dtype=torch.bool), torch.ones(other, dtype=torch.bool))
    needed = max(least, math.ceil(share * min(length, other)))
    shifts = torch.arange(needed - length, max(other - needed, needed - length - 1) + 1)
    # Few lines allow little shifting: most of them must stay in the comparison.
    widest = min(most_line_shift, len(first) // 8)
    if len(shifts) == 0 or len(first) == 0:
        return Correlations(shifts, shifts, torch.zeros(2 * widest + 1, len(shifts), dtype=torch.float64))
    size = 1 << (length + other - 1).bit_length()

    def at_shifts(spectrum: Complex[Tensor, "... F"]) -> Float64[Tensor, "... S"]:
        """The signal of a spectrum at every shift, float64."""
        return torch.fft.irfft(spectrum, size)[..., shifts % size].double()

    spectra = torch.fft.rfft(first, size), torch.fft.rfft(second, size)
    seen = tuple(torch.fft.rfft(mask.double(), size) for mask in masks)
    overlap = at_shifts(seen[0].conj() * seen[1]).round().long()
    overlap[overlap < max(least, INFORMATIVE_SHARE * min(int(mask.sum()) for mask in masks))] = 0
    sums = [
        at_shifts(spectra[0].conj() * seen[1].to(spectra[0].dtype)),
        at_shifts(seen[0].conj().to(spectra[1].dtype) * spectra[1]),
    ]
    values = []
    for line_shift in range(-widest, widest + 1):
        one, two = line_slices(len(first), line_shift)
        products = at_shifts((spectra[0][one].conj() * spectra[1][two]).sum(0))
        squares = [torch.fft.rfft(signal.square().sum(0).double(), size) for signal in (first[one], second[two])]
        powers = at_shifts(squares[0].conj() * seen[1]), at_shifts(seen[0].conj() * squares[1])
        values.append(_pooled(products, (sums[0][one], sums[1][two]), powers, overlap))
    return Correlations(shifts, overlap, torch.stack(values))


def _pooled(products: Tensor, sums: tuple[Tensor, Tensor], powers: tuple[Tensor, Tensor], overlap: Tensor) -> Tensor:
    """Correlations of all lines together at each shift, 0 where there is too little to compare; float64, shape [S].

    Args:
        products: sums over lines and samples, shape [S].
        sums: of either signal over the samples that count, shape [L, S].
        powers: of either signal's squares, likewise, over all lines, shape [S].
        overlap: number of samples that count, shape [S].
    """
    count = overlap.clamp_min(1)
    covariance = products - (sums[0] * sums[1]).sum(0) / count
    variances = [power - total.square().sum(0) / count for power, total in zip(powers, sums, strict=True)]
    usable = overlap > 0
    for variance in variances:
        largest = float(variance[usable].max()) if usable.any() else 0.0
        usable = usable & (variance > max(LEAST_POWER * largest, 1e-9))
    power = (variances[0] * variances[1]).clamp_min(1e-30).sqrt()
    return torch.where(usable, (covariance / power).clamp(-1, 1), 0.0)


def line_slices(count: int, line_shift: int) -> tuple[slice, slice]:
    """Which lines of two pencils are compared at a line shift."""
    return slice(max(0, -line_shift), count - max(0, line_shift)), slice(
        max(0, line_shift), count - max(0, -line_shift)
    )
