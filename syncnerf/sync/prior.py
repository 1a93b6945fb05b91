"""Lags between two cameras' clocks that are known from something else than motion."""

from dataclasses import dataclass

EXPECTED_SHARE = 0.7
"""Share of the highest peak's height that the expected one must have to be preferred."""


@dataclass(frozen=True)
class PriorLag:
    """A lag that sound, timecodes or creation times tell.

    Attributes:
        first: global index of the one camera.
        second: global index of the other.
        lag: offset[first] - offset[second], seconds.
        deviation: its standard error, seconds.
        rate: rate[first] - rate[second]; None where it is not told.
        share: of the motion's highest peak that one at this lag must reach to be preferred.
    """

    first: int
    second: int
    lag: float
    deviation: float
    rate: float | None = None
    share: float = EXPECTED_SHARE
