"""How strong a camera's motion is at each place of a period of its file's intervals."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

LEAST_PERIODS = 4
"""Times that a pattern must be seen."""


@dataclass(frozen=True)
class PhaseLevels:
    """Motion at each place of a period, over the mean of the period around it.

    Attributes:
        levels: medians of the logarithm, shape [period].
        noise: of one interval's logarithm around its place's level, a robust deviation.
        counts: intervals that tell of each place.
    """

    levels: Float64[Tensor, " period"]
    noise: float
    counts: list[int]


def phase_levels(logs: Float64[Tensor, " I"], informative: Bool[Tensor, " I"], period: int) -> PhaseLevels | None:
    """The levels of a camera's motion by the place in a period of intervals, a trend of the motion taken out.

    Args:
        logs: logarithm of the motion in each interval, shape [I].
        informative: which intervals hold motion, shape [I].
        period: intervals after which a pattern may repeat.

    Returns:
        None where the video is too short to show each place four times.
    """
    # Less the mean over a whole period around each, a trend of the motion is gone, and a pattern of it stays.
    weights = torch.ones(period + 1 - period % 2, dtype=torch.float64) / period
    if period % 2 == 0:
        weights[0] = weights[-1] = 0.5 / period
    reach = len(weights) // 2
    if len(logs) < LEAST_PERIODS * period + 2 * reach:
        return None
    usable = informative.unfold(0, len(weights), 1).all(1)
    phase = torch.arange(reach, len(logs) - reach) % period
    excess = logs[reach : len(logs) - reach] - logs.unfold(0, len(weights), 1) @ weights
    inside = [excess[usable & (phase == place)] for place in range(period)]
    counts = [len(part) for part in inside]
    if min(counts) < LEAST_PERIODS:
        return None
    levels = torch.stack([part.median() for part in inside])
    return PhaseLevels(levels, 1.4826 * float((excess - levels[phase])[usable].abs().median()), counts)
