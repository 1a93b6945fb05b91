"""Faults of the files themselves: what they add to the errors of offsets, and the remark that a user gets."""

from collections.abc import Sequence
from dataclasses import dataclass

from syncnerf.sync.common_pattern import common_pattern
from syncnerf.sync.energy import MotionEnergy

DIVISION_ERROR = 0.18
"""Frames of standard error where all of a camera's motion is divided from longer intervals; measured."""
MANY_DIVIDED = 0.1
"""Share of divided motion from which on the user is told."""
PATTERN_ERROR = 0.8
"""Frames of standard error for each unit by which all motion's logarithm follows the place in the file; measured."""
CODED_ERROR, MANY_REFRESHED = 0.05, 0.05
"""Frames of standard error of videos that are so strongly compressed that key frames change the whole picture, and of
those that are more strongly than most others here (where all are, they err alike); measured. One interval in 20 shows
such key frames; in other videos it is one in 30 at most."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a camera's file.

    Attributes:
        error: standard error that it adds, frames.
        remark: in words; empty where there is nothing to say.
    """

    error: float
    remark: str


def faults(energies: Sequence[MotionEnergy]) -> list[Fault]:
    """The faults of all cameras' files, as their motion shows them.

    Args:
        energies: of all cameras.
    """
    pattern, found = common_pattern(energies), []
    few = 2 * sum(energy.coded for energy in energies) < len(energies)
    for energy in energies:
        coded = CODED_ERROR if (few and energy.coded) or energy.refreshed >= MANY_REFRESHED else 0.0
        parts = (DIVISION_ERROR * energy.divided, PATTERN_ERROR * pattern, coded)
        blended = "its frames seem to be blended from those of a higher rate" if pattern else ""
        found.append(Fault(sum(part**2 for part in parts) ** 0.5, _cadence_remark(energy) or blended))
    return found


def _cadence_remark(energy: MotionEnergy) -> str:
    """What is wrong with the order of a video's frames; empty if nothing is."""
    if energy.pace > 1:
        return "frames were dropped from its video at equal places"
    return "frames are shown twice in its video" if energy.divided > MANY_DIVIDED else ""
