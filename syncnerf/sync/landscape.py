"""Two cameras' agreement against their time shift, its peak between frames, and how sure it is."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Shaped
from torch import Tensor
from torch.nn.functional import pad

from syncnerf.sync.correlation import Correlations
from syncnerf.sync.prior import PriorLag

NEIGHBOURHOOD = 4
"""Samples on either side that belong to a peak."""
LEAST_SIGNIFICANCE = 6.0
"""Smallest height of an accepted peak, in robust deviations of the landscape elsewhere."""
LEAST_LEAD = 1.5
"""Smallest lead of an accepted peak over the next separate one, in the same unit."""
CLEARLY = 2.0
"""Robust deviations by which a landscape rises where it agrees."""
BEYOND = "beyond --max-offset"
"""How the reason ends of a pair that agrees better at a larger lag than is considered."""
EXPECTED_REACH = 3.0
"""Standard errors from the expected lag within which a peak is the expected one."""


@dataclass(frozen=True)
class Landscape:
    """Agreement of two cameras against the shift between their clocks.

    Attributes:
        first: global index of the one camera.
        second: global index of the other.
        lags: shifts offset[first] - offset[second], seconds, float64, shape [S].
        values: agreement at each shift, larger is better (correlation, or share of explained motion), float64,
            shape [S].
        overlap: samples that each shift compares, shape [S].
    """

    first: int
    second: int
    lags: Float64[Tensor, " S"]
    values: Float64[Tensor, " S"]
    overlap: Shaped[Tensor, " S"]


@dataclass(frozen=True)
class Peak:
    """A landscape's best shift.

    Attributes:
        lag: offset[first] - offset[second], seconds.
        deviation: standard error of the lag, seconds, up to a factor common to all pairs.
        significance: height in robust deviations of the rest of the landscape.
        lead: height above the next separate peak, in the same unit.
        line_shift: by how many lines the second pencil had to be moved against the first.
        line_fraction: by how much more, of a line.
    """

    lag: float
    deviation: float
    significance: float
    lead: float
    line_shift: int = 0
    line_fraction: float = 0.0

    @property
    def reason_to_reject(self) -> str:
        """Why the peak should not be believed; empty if it may be."""
        if not self.significance >= LEAST_SIGNIFICANCE:
            return f"no shared motion (best shift only {self.significance:.1f} deviations above the others)"
        if not self.lead >= LEAST_LEAD:
            return f"no distinct best shift (leads the next by {self.lead:.1f} deviations)"
        return ""


def find_peak(
    correlations: Correlations, interval: float, expected: PriorLag | None = None
) -> tuple[Peak, Float64[Tensor, " S"]] | None:
    """The best shift, to a fraction of a sample, and how it stands out.

    Shifts with little overlap vary more, so :func:`heights` are compared. Between samples
    the correlation is interpolated band-limited (a windowed sinc), and the last step is a parabola; between line
    shifts the lag follows the parabola of the heights.

    Args:
        correlations: of the pair.
        interval: seconds per sample.
        expected: what something else says (sound, timecodes, creation times). A peak there goes before a higher one
            elsewhere, and need not lead that: so one of several equal peaks is chosen, as periodic motion has.

    Returns:
        The peak and the landscape at its line shift (shape [S]); None where there are too few shifts to judge.
    """
    values, overlap = correlations.values, correlations.overlap
    telling = overlap > 0
    if int(telling.sum()) < 4 * NEIGHBOURHOOD:
        return None
    score = heights(values, overlap)
    row, best = divmod(int(score.argmax()), len(overlap))
    rivals = torch.ones_like(telling)
    if expected is not None:
        reach = EXPECTED_REACH * expected.deviation + 0.5 * interval
        near = (correlations.shifts * interval - expected.lag).abs() <= reach
        chosen = _expected_peak(score, near & telling, expected.share)
        if chosen is not None:
            (row, best), rivals = chosen, near
    significance, lead = stand_out(score[row][telling], int(telling[:best].sum()), rivals[telling])
    position, height, curvature = refine(values[row], best)
    deviation, fraction = lag_deviation(height, curvature, float(overlap[best])), 0.0
    if 0 < row < len(values) - 1:
        position, fraction = _between_lines(values[row - 1 : row + 2], best, position, height)
    line_shift = row - len(values) // 2
    lag = (float(correlations.shifts[0]) + position) * interval
    return Peak(lag, deviation * interval, significance, lead, line_shift, fraction), values[row]


def lag_deviation(height: float, curvature: float, overlap: float) -> float:
    """Standard error of a peak's place in samples, up to a factor common to all pairs.

    Args:
        height: correlation at the peak.
        curvature: minus its second derivative there, per sample^2.
        overlap: samples that were compared.
    """
    height = min(max(height, 1e-3), 0.999)
    return math.sqrt((1 - height**2) / (height * max(curvature, 1e-9)) / max(overlap, 1.0))


def heights(values: Float64[Tensor, "... S"], overlap: Shaped[Tensor, "... S"]) -> Float64[Tensor, "... S"]:
    """Correlations in units of what they vary by chance, up to a factor: ``atanh(c) * sqrt(overlap - 3)``."""
    return torch.atanh(values.clamp(-0.999, 0.999)) * (overlap - 3).clamp_min(0).sqrt()


def agrees_at(
    lags: Float64[Tensor, " S"], values: Float64[Tensor, " S"], overlap: Shaped[Tensor, " S"], wanted: float
) -> bool | None:
    """Whether a landscape rises at a lag clearly above what is usual in it; None where nothing is compared there.

    Args:
        lags: seconds, ascending in equal steps.
        values: correlations.
        overlap: samples that are compared; 0 where none are.
        wanted: the lag, seconds.
    """
    place, known = int((lags - wanted).abs().argmin()), overlap > 0
    if not known[place] or abs(float(lags[place]) - wanted) >= float(lags.diff()[0]):
        return None
    score = heights(values, overlap)
    rest = score[known]
    usual = 1.4826 * (rest - rest.median()).abs().median()
    return bool(score[place] - rest.median() > CLEARLY * usual)


def better_beyond(whole: Landscape, limit: float | None) -> str:
    """A reason to reject a pair that agrees distinctly better at a lag beyond the limit (seconds); empty for none."""
    telling = whole.overlap > 0
    score, lags = heights(whole.values, whole.overlap)[telling], whole.lags[telling]
    best = int(score.argmax())
    if limit is None or abs(float(lags[best])) <= limit:
        return ""
    _, lead = stand_out(score, best, lags.abs() <= limit)
    return f"agrees better at {float(lags[best]):+.2f} s, {BEYOND}" if lead >= LEAST_LEAD else ""


def _expected_peak(score: Tensor, near: Tensor, share: float) -> tuple[int, int] | None:
    """Row and column of the highest score at the shifts ``near`` if it is a peak, nearly as high as any; else None."""
    inside = score.masked_fill(~near, -torch.inf)
    row, best = divmod(int(inside.argmax()), score.shape[1])
    around = score[row, max(0, best - 1) : best + 2]
    is_peak = bool(near.any()) and float(score[row, best]) == float(around.max())
    return (row, best) if is_peak and float(score[row, best]) >= share * float(score.max()) else None


def _between_lines(values: Tensor, best: int, position: float, height: float) -> tuple[float, float]:
    """The peak's place at the best fractional line shift, and that fraction, from three neighbours (shape [3, S])."""
    low, high = max(0, best - 2), best + 3
    beside = [refine(row, low + int(row[low:high].argmax())) for row in (values[0], values[2])]
    places, heights = [peak[0] for peak in beside], [peak[1] for peak in beside]
    if max(abs(place - position) for place in places) > 2.0:
        return position, 0.0
    bend = heights[0] - 2 * height + heights[1]
    share = min(max(0.5 * (heights[0] - heights[1]) / bend, -0.5), 0.5) if bend < 0 else 0.0
    slope, turn = 0.5 * (places[1] - places[0]), places[0] - 2 * position + places[1]
    return position + share * slope + 0.5 * share**2 * turn, share


def stand_out(score: Float64[Tensor, " S"], best: int, rivals: Bool[Tensor, " S"] | None = None) -> tuple[float, float]:
    """How far a peak rises above the rest of its landscape, and above the next separate peak.

    The peak's own slopes are not the rest: they reach down to where the curve rises again, and at least 4 samples.

    Args:
        score: heights, shape [S].
        best: index of the peak.
        rivals: where another peak would count against it, bool, shape [S]; everywhere if None.

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
    others = rest if rivals is None else rest[rivals[elsewhere]]
    next_best = float(others.max()) if len(others) else float(middle)
    return float(score[best] - middle) / spread, (float(score[best]) - next_best) / spread


def refine(values: Float64[Tensor, " S"], best: int, steps: int = 16, taps: int = 8) -> tuple[float, float, float]:
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


def interpolation(offsets: Float64[Tensor, " K"], taps: int) -> Float64[Tensor, "K 2*{taps}+1"]:
    """Windowed-sinc weights of the samples -taps .. taps at offsets between -1 and 1, shape [K, 2 taps + 1]."""
    distance = offsets[:, None] - torch.arange(-taps, taps + 1, dtype=torch.float64)
    window = torch.cos(torch.pi * distance / (2 * (taps + 1))).square()
    return torch.sinc(distance) * window
