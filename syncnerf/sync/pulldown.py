"""Film shown at a higher rate by repeating its frames, seen in the motion."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import max_pool1d, pad

from syncnerf.sync.informative import REPEATED_SHARE, STILL_SHARE

LONGEST_PERIOD = 12
"""Intervals after which a pattern of repeats comes again at most (25 frames per second shown at 60)."""
LEAST_PERIODS = 5
"""Times that a pattern must be seen."""
REGULAR = 0.9
"""Share of the places of a pattern that must be repeats, and of the others that must be none."""
EVEN = 0.3
"""Where a frame is held twice as long as another, time goes on evenly if no more than this share of the motion is lost
by it."""
EVEN_AMONG_UNEVEN, EVEN_AMONG_EVEN = 0.15, 0.6
"""The same where in most other cameras' videos time does not go on evenly by their repeats, and where it does: what
moves fast changes little more in two steps than in one, so that one video alone hardly tells."""


@dataclass(frozen=True)
class Pulldown:
    """A pattern of repeated frames between which time goes on evenly: film of 24 frames per second shown at 30.

    Attributes:
        told: which intervals of a period lead from one frame of the film to the next, bool, shape [period].
    """

    told: Bool[Tensor, " period"]

    @property
    def pace(self) -> float:
        """Steps of the film in one interval of the file, on the average."""
        return float(self.told.double().mean())

    def shown(self, count: int) -> Int64[Tensor, " F"]:
        """The file's first frames that show each frame of the film, int64; ``count`` is the file's intervals."""
        after = self.told[torch.arange(count) % len(self.told)].nonzero()[:, 0] + 1
        return torch.cat([torch.zeros(1, dtype=torch.int64), after])

    def film(self, values: Float[Tensor, "P T"]) -> Float[Tensor, "P S"]:
        """Energy of each step of the film, shape [P, S], from that of the file's intervals, shape [P, T]."""
        return values[:, self.shown(values.shape[1])[1:] - 1]

    def delay(self, count: int) -> float:
        """Steps by which the film's frames lie later, on the average, than the file shows them first."""
        shown = self.shown(count)
        return float((torch.arange(len(shown)) - self.pace * shown).mean())


def find_pulldown(totals: Float[Tensor, " I"], lost: float = EVEN) -> Pulldown | None:
    """The pattern of repeated frames in a camera's motion, if there is one and no motion is lost by it.

    Args:
        totals: energy of all pixels in each interval, shape [T - 1].
        lost: share of the motion that may seem to be lost by a frame that is held twice as long.
    """
    reach = LONGEST_PERIOD // 2
    largest = max_pool1d(pad(totals[None], (reach, reach)), 2 * reach + 1, 1)[0]
    moving = largest > STILL_SHARE * totals.max()
    for period in range(2, LONGEST_PERIOD + 1):
        if len(totals) < LEAST_PERIODS * period:
            break
        phases = torch.arange(len(totals)) % period
        repeats = moving & (totals < REPEATED_SHARE * largest)
        counts, found = (torch.zeros(period).index_add_(0, phases, each.float()) for each in (moving, repeats))
        silent = found >= (REGULAR * counts).clamp_min(LEAST_PERIODS)
        if silent.any() and not silent.all() and found[~silent].sum() <= (1 - REGULAR) * counts[~silent].sum():
            return None if _loses(totals / largest.clamp_min(1e-9), moving, ~silent, lost) else Pulldown(~silent)
    return None


def _loses(shares: Tensor, moving: Tensor, told: Tensor, lost: float) -> bool:
    """Whether there is more motion after a frame that is held longer: it hides some, and time does not go on evenly."""
    places, period = told.nonzero()[:, 0], len(told)
    held = (places - places.roll(1) - 1) % period + 1
    if held.min() == held.max():
        return False
    phases = torch.arange(len(shares)) % period
    motion = [
        torch.stack([shares[moving & (phases == place)].median() for place in places[held == length]]).mean()
        for length in (held.max(), held.min())
    ]
    return float(motion[0] / motion[1]) > 1 + lost * (float(held.max() / held.min()) - 1)
