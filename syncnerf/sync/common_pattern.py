"""Motion that rises and falls with the place in the files: frames that were blended on the way to a lower rate."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from syncnerf.sync.energy import MotionEnergy
from syncnerf.sync.phase_levels import phase_levels

PERIODS = range(3, 7)
"""Intervals of the file after which the pattern repeats: 4 for 30 frames a second made into 24, 5 for 25."""
LEAST_EVIDENCE = 8.0
"""Square of the cameras' common levels in that of what chance gives one camera; blended scenes have 4.4 (slow motion,
where it does not matter) to 25, others 0 to 2.2. Wired cameras that film one motion exceed it by chance once in 50."""
LEAST_NOISE = 0.02
"""Of a level's logarithm, so that rendered scenes are judged no more strictly than filmed ones."""
MEDIAN_VARIANCE = math.pi / 2
"""Variance of a median in that of a mean."""


def common_pattern(energies: Sequence[MotionEnergy]) -> float:
    """How strongly all cameras' motion rises and falls with the place in their files.

    A blended frame shows two moments at once, and between it and the next things seem to move less, or more, than
    between two whole frames. Cameras see that at equal places of their files, whatever they film and whenever they
    were started, while what motion itself does differs from file to file.

    Args:
        energies: of all cameras.

    Returns:
        Root mean square of the levels' logarithms over the pattern's places; 0 where there is none.
    """
    best, found = LEAST_EVIDENCE, 0.0
    even = [energy for energy in energies if energy.pace == 1]
    if 2 * len(even) < len(energies) or len(even) < 2:
        return 0.0
    told = [_logs(energy) for energy in even]
    for period in PERIODS:
        known = [own for logs, seen in told if (own := phase_levels(logs, seen, period)) is not None]
        if 2 * len(known) < len(energies):
            continue
        variances = [MEDIAN_VARIANCE * max(own.noise, LEAST_NOISE) ** 2 / min(own.counts) for own in known]
        weights = 1 / torch.tensor(variances, dtype=torch.float64)
        levels = torch.stack([own.levels - own.levels.mean() for own in known])
        common = (weights[:, None] * levels).sum(0) / weights.sum()
        evidence = float(common.square().sum() * weights.mean()) / (period - 1)
        if evidence > best:
            best, found = evidence, float(common.square().mean().sqrt())
    return found


def _logs(energy: MotionEnergy) -> tuple[Float64[Tensor, " I"], Bool[Tensor, " I"]]:
    """Logarithms of a camera's motion in each interval, and where they tell something; shapes [I]."""
    totals = energy.values.sum(0, dtype=torch.float64)
    return totals.clamp_min(1e-6).log(), energy.informative
