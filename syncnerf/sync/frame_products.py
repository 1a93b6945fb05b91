"""What each frame contributes to a pair's landscape near its peak: pulls, windows of time and clocks that drift."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn.functional import pad

from syncnerf.sync.correlation import Informative
from syncnerf.sync.landscape import Peak, interpolation, lag_deviation, refine
from syncnerf.sync.uncertainty import Sensitivity

TAPS = 8
"""Samples on either side that the interpolation between shifts uses, as in ``refine``."""
REACH = 8
"""Samples on either side of the pair's lag in which lags of parts are sought."""
NEAR = 2
"""Samples on either side of it in which the lag of the whole is."""


@dataclass(frozen=True)
class FrameProducts:
    """Products of two cameras' line signals, frame by frame, at the shifts around the lag of the whole videos.

    Attributes:
        values: sum over lines of the first's frame times the second's at shifts -16 .. 16 about ``whole``, float32,
            shape [T, 33].
        first_power: sum over lines of the first's squares where the second is informative, float32, shape [T, 33].
        second_power: likewise of the second's at each shift, float32, shape [T, 33].
        shared: whether both are informative at each shift, float32, shape [T, 33].
        whole: shift in samples to which the middle column belongs.
        interval: seconds per sample.
    """

    values: Float[Tensor, "T D"]
    first_power: Float[Tensor, "T D"]
    second_power: Float[Tensor, "T D"]
    shared: Float[Tensor, "T D"]
    whole: int
    interval: float

    @property
    def times(self) -> Float64[Tensor, " T"]:
        """Middles of the samples on the first camera's clock, seconds, float64, shape [T]."""
        return (torch.arange(len(self.values), dtype=torch.float64) + 0.5) * self.interval

    def pull(self, lags: Float64[Tensor, " T"]) -> Sensitivity:
        """How each frame pulls at a lag of its own.

        Args:
            lags: seconds, shape [T]; beyond 8 samples from ``whole`` those 8 are taken.
        """
        step = 1 / 16
        place = (lags / self.interval - self.whole).clamp(-REACH, REACH)
        nearest = place.round().long()
        around = torch.arange(2 * TAPS + 1)
        near = self.values.gather(1, nearest[:, None] + REACH + around).double()
        low, middle, high = (
            (interpolation(place - nearest + shift, TAPS) * near).sum(1) for shift in (-step, 0.0, step)
        )
        return Sensitivity(
            (high - low) / (2 * step * self.interval),
            (high - 2 * middle + low) / (step * self.interval) ** 2,
            self.interval,
        )

    def refined(self, peak: Peak) -> Peak:
        """The peak with lag and deviation as these products have them, within 2 samples of where it was found."""
        values, shared = (each[0] for each in self.within(torch.zeros(len(self.values), dtype=torch.int64), 1))
        best = REACH - NEAR + int(values[REACH - NEAR : REACH + NEAR + 1].argmax())
        place, height, bend = refine(values, best)
        deviation = lag_deviation(height, bend, float(shared[best])) * self.interval
        return replace(peak, lag=(self.whole + place - REACH) * self.interval, deviation=deviation)

    def within(
        self, part: Int64[Tensor, " T"], count: int
    ) -> tuple[Float64[Tensor, "{count} S"], Float64[Tensor, "{count} S"]]:
        """Landscapes of parts of the video: correlation at every shift of -8 .. 8 about ``whole``.

        Args:
            part: which part each frame belongs to, int64, shape [T].
            count: number of parts.

        Returns:
            Correlations, zero where a part does not move in both videos, and the numbers of samples that both are
            informative in; float64, shape [count, 17] each.
        """
        inner = slice(TAPS, TAPS + 2 * REACH + 1)
        products, first_power, second_power, shared = (
            torch.zeros(count, 2 * REACH + 1, dtype=torch.float64).index_add_(0, part, each[:, inner].double())
            for each in (self.values, self.first_power, self.second_power, self.shared)
        )
        return products / (first_power * second_power).sqrt().clamp_min(1e-9), shared


def frame_products(
    first: Float[Tensor, "L T1"],
    second: Float[Tensor, "L T2"],
    lag: float,
    interval: float,
    informative: Informative | None = None,
) -> FrameProducts:
    """The products of two signal matrices around a lag.

    Args:
        first: signals, shape [L, T1]; zero where not informative.
        second: signals, shape [L, T2]; likewise.
        lag: where the landscape peaks, seconds.
        interval: seconds per sample.
        informative: which samples say something; all if None.
    """
    whole, length, widest = round(lag / interval), first.shape[1], TAPS + REACH
    before, after = max(0, widest - whole), max(0, whole + length + widest - second.shape[1])
    shifted = pad(second, (before, after))[:, whole - widest + before :]
    columns = [(first * shifted[:, k : k + length]).sum(0) for k in range(2 * widest + 1)]
    masks = informative or (first.new_ones(length), second.new_ones(second.shape[1]))
    own = masks[0].to(first.dtype)[:, None]
    # Beyond the second's ends nothing is informative: the padding's zeros say so.
    other = pad(masks[1].to(first.dtype), (before, after))[whole - widest + before :]
    other, power = (each.unfold(0, length, 1)[: 2 * widest + 1].T for each in (other, shifted.square().sum(0)))
    first_power = first.square().sum(0)[:, None] * other
    return FrameProducts(torch.stack(columns, dim=1), first_power, power * own, own * other, whole, interval)


def told_by_both(informative: Informative, whole: int) -> Informative:
    """Samples that say something in both signals at a lag, or in one of them beyond the other's ends.

    A sample that one of them lacks is left out of the other as well, for the products at other shifts: what its
    neighbours add to a shift before the lag would lack its counterpart after it, and draw the lag.

    Args:
        informative: of each.
        whole: the lag in samples.
    """
    first, second = (mask.clone() for mask in informative)
    begin, end = max(0, -whole), min(len(first), len(second) - whole)
    if begin < end:
        both = first[begin:end] & second[begin + whole : end + whole]
        first[begin:end] = second[begin + whole : end + whole] = both
    return first, second
