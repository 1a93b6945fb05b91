"""What something else than motion says of two cameras' clocks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PriorLag:
    """A lag that sound or timecodes tell.

    Attributes:
        first: global index of the one camera.
        second: global index of the other.
        lag: offset[first] - offset[second], seconds.
        deviation: its standard error, seconds.
        rate: rate[first] - rate[second]; None where it is not told.
    """

    first: int
    second: int
    lag: float
    deviation: float
    rate: float | None = None
