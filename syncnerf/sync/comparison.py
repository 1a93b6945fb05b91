"""Comparing every pair of cameras, by whichever method."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

from syncnerf.sync.drift import WindowLags
from syncnerf.sync.ends import NearLags
from syncnerf.sync.landscape import Landscape, Peak
from syncnerf.sync.pieces import Pieces
from syncnerf.sync.uncertainty import Sensitivity
from syncnerf.sync.workers import in_parallel


@dataclass(frozen=True)
class Comparison:
    """Two cameras compared at every shift.

    Attributes:
        first: global index of the one camera.
        second: global index of the other.
        landscape: agreement at every shift that is considered; None where they could not be compared.
        peak: its best shift; None likewise.
        reason: why the pair should not be used; empty if it may be.
        sensitivity: how each frame pulls at the lag; None where the pair is not used.
        windows: lags in windows of time; None where the pair is not used, and for tracks.
        samples: seconds between the samples of the compared signals if these draw the lag to whole samples, else 0.
        meeting: a lag at which these samples of both come together, seconds, and how nearly all do, from 0 to 1.
        whole: agreement at every shift that the videos allow; None likewise.
        rescaled: seconds by which finer lines or faster changes move the peak; 0 where these were not looked at.
        pieces: how the beginning and the end of either video agree with the other; empty where that was not looked at.
        rest: agreement at every shift in the parts of the time that the lag does not explain; None without.
        near: agreement at each moment around the lag; None where the pair is not used, and for tracks.
    """

    first: int
    second: int
    landscape: Landscape | None
    peak: Peak | None
    reason: str
    sensitivity: Sensitivity | None = None
    windows: WindowLags | None = None
    samples: float = 0.0
    meeting: tuple[float, float] = (0.0, 1.0)
    whole: Landscape | None = None
    rescaled: float = 0.0
    rest: Landscape | None = None
    pieces: tuple[Pieces, ...] = ()
    near: NearLags | None = None


def compare_all(count: int, compare: Callable[[int, int], Comparison]) -> list[Comparison]:
    """Compare every pair of cameras."""
    pairs = list(combinations(range(count), 2))
    return in_parallel(lambda pair: compare(*pair), pairs, "comparing", "pair")
