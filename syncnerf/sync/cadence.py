"""Frames dropped at equal places (30 frames per second made into 24), seen in the motion."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from syncnerf.sync.division import divided
from syncnerf.sync.phase_levels import PhaseLevels, phase_levels

PERIODS = range(2, 7)
"""Intervals after which a pattern may repeat."""
LARGEST_EXCESS = 2.5
"""Motion over an interval that spans a lost frame, in that of the others, at most."""


@dataclass(frozen=True)
class Judgement:
    """How plainly motion must show that frames lack.

    Attributes:
        excess: motion over an interval that spans a lost frame, in that of the others, at least.
        flat: share of that excess by which the others may differ.
        errors: standard errors by which it must exceed them.
    """

    excess: float
    flat: float
    errors: float


SURE = Judgement(1.3, 0.3, 6.0)
"""What a camera's motion must show where it alone decides."""
LIKELY = Judgement(1.12, 0.45, 4.0)
"""What is enough where half of a rig agrees. What moves by more than its size from frame to frame changes hardly more
pixels in two of these. Of 14 cameras that lost frames 13 or 14 show this, of others one in 30."""


@dataclass(frozen=True)
class Cadence:
    """A pattern of lost frames: the interval that ends each period spans two steps of the camera's true clock.

    Attributes:
        period: intervals of the file after which the pattern repeats.
        phase: index of the first interval that spans two steps.
    """

    period: int
    phase: int

    @property
    def pace(self) -> float:
        """Steps of the true clock in one interval of the file, on the average."""
        return (self.period + 1) / self.period

    def steps(self, count: int) -> Int64[Tensor, " {count}+1"]:
        """Steps of the true clock at which the file's frames lie, int64, shape [count + 1]."""
        intervals = torch.arange(count + 1)
        passed = intervals - self.phase + self.period - 1
        return intervals + passed.div(self.period, rounding_mode="floor").clamp_min(0)

    def spread(
        self, values: Float[Tensor, "P T"], informative: Bool[Tensor, " T"]
    ) -> tuple[Float[Tensor, "P S"], Bool[Tensor, " S"], float]:
        """Values on the true clock: those of intervals that span two steps are divided between both.

        Args:
            values: of each interval of the file, shape [P, T].
            informative: bool, shape [T].

        Returns:
            Values per step, shape [P, S]; which of them are informative, shape [S]; and by how many steps the frames
            lie later, on the average, than a clock would have them that knows nothing of the pattern.
        """
        begins = self.steps(values.shape[1])
        single = begins.diff() == 1
        count = int(begins[-1])
        known = torch.zeros(count, dtype=torch.bool)
        known[begins[:-1][single]] = informative[single]
        spread = values.new_zeros(len(values), count)
        spread[:, begins[:-1][single]] = values[:, single]
        # A pixel changes less over two steps than in both: it may change back.
        double = begins[:-1][~single]
        share = float(values[:, single].mean() / values[:, ~single].mean().clamp_min(1e-9))
        spread[:, double] = spread[:, double + 1] = values[:, ~single] * min(share, 1.0)
        spread = divided(spread, double, known)
        known[double] = known[double + 1] = informative[~single]
        file = torch.arange(len(begins), dtype=torch.float64) * self.pace
        return spread, known, float((begins - file).mean())


def find_cadence(
    totals: Float[Tensor, " I"],
    informative: Bool[Tensor, " I"],
    judgement: Judgement = SURE,
    periods: Sequence[int] = PERIODS,
) -> Cadence | None:
    """The pattern of lost frames in a camera's motion, if there is one.

    Over a lost frame things move twice as far: if it is always the same place in a period of intervals that moves more
    than its neighbours, and no other, frames were dropped at equal places.

    Args:
        totals: energy of all pixels in each interval, shape [T - 1].
        informative: which intervals hold motion, bool, shape [T - 1].
        judgement: how plain it must be.
        periods: that may be.
    """
    logs = totals.double().clamp_min(1e-6).log()
    scores = {}
    for period in PERIODS:
        seen = phase_levels(logs, informative, period)
        if seen is not None and (found := _pattern(seen, period, judgement)) is not None:
            scores[found[0]] = found[1]
        elif seen is None:
            # One frame lost of five may look like one of three: where there is no telling, neither is found.
            scores = {cadence: score for cadence, score in scores.items() if period % cadence.period}
    # A pattern of four intervals may also pass for one of two; one of two cannot for one of four.
    whole = [c for c in scores if not any(d.period > c.period and d.period % c.period == 0 for d in scores)]
    return max((c for c in whole if c.period in periods), key=scores.__getitem__, default=None)


def _pattern(seen: PhaseLevels, period: int, judgement: Judgement) -> tuple[Cadence, float] | None:
    """The one place of a period that moves more than all others, and by how many standard errors; None if none does."""
    longest = int(seen.levels.argmax())
    others = torch.cat([seen.levels[:longest], seen.levels[longest + 1 :]])
    gain = float(seen.levels[longest] - others.mean())
    score = gain / max(seen.noise, 0.02) * seen.counts[longest] ** 0.5
    # Motion that itself repeats as quickly has no such flat pattern with one interval above the rest.
    flat = float((others - others.mean()).abs().max()) < judgement.flat * gain
    plain = flat and judgement.excess < math.exp(gain) < LARGEST_EXCESS and score > judgement.errors
    return (Cadence(period, longest), score) if plain else None
