"""Cameras whose agreement with the others may come of something else than motion filmed at the same time."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.sync.result import UNCONNECTED, PairLag, SyncResult

LEAST_EXPLAINED = 0.5
"""Share of what is usual among the cameras that the explained part of a camera's motion must reach to fit its pose,
where nothing else says that it does: that of swapped, copied and mirrored videos is 0.01 to 0.5 of it."""
GOOD_FIT, LEAST_FIT, FITTING = 8.0, 0.5, 5
"""Deviations by which its lines must agree better than wrong ones to say so, or this share of what is usual among so
many cameras of which more is explained (:func:`~syncnerf.sync.pose_fit.pose_fit`): swapped, copied and mirrored videos
of which so little is explained reach 0 to 7.5, a third of it, cameras that see much of their own 9.7 and more."""
LEAST_USED = 0.5
"""Share of what is usual that the number of a camera's pairs with a distinct lag must reach besides: a clock that jumps
fits its pose too."""
EQUAL_PLACE, MOST_EQUAL = 0.35, 0.5
"""Frames within which files show the same at the same place, and share of a camera's pairs from which on that may come
of the files and not of what they show."""


def misfits(result: SyncResult, shares: Float[Tensor, " C"], fit: Callable[[int], float] | None) -> list[int]:
    """Cameras of whose motion little is explained, and that have few distinct lags, or fit their poses badly.

    Args:
        result: what was solved.
        shares: of each camera's motion that is explained, shape [C]; NaN where nothing is compared.
        fit: how far a camera's motion fits its pose; None where nothing tells, and then all of little are meant.
    """
    enough = shares >= LEAST_EXPLAINED * shares.nanmedian()
    doubtful = (~enough & ~shares.isnan()).nonzero()[:, 0].tolist()
    if fit is None or not doubtful:
        return doubtful
    others = enough.nonzero()[:, 0]
    usual = torch.tensor([fit(camera) for camera in others[:: -(-len(others) // FITTING)].tolist()]).nanmedian()
    counts = torch.zeros(len(shares))
    for pair in result.pairs:
        counts[[pair.first, pair.second]] += pair.used
    least = LEAST_USED * float(counts[others].median())
    good = min(GOOD_FIT, LEAST_FIT * float(usual))
    return [camera for camera in doubtful if counts[camera] < least or not fit(camera) > good]


def at_equal_places(own: Sequence[PairLag], interval: float) -> bool:
    """Whether most of a camera's lags say that files show the same at the same time after their beginnings.

    Cameras that are wired together do so; files whose key frames or counters pass as motion seem to.

    Args:
        own: the camera's pairs.
        interval: seconds per frame.
    """
    equal = [abs(pair.lag) < EQUAL_PLACE * interval for pair in own if pair.used]
    return bool(equal) and sum(equal) >= MOST_EQUAL * len(equal)


def largest_rival_group(result: SyncResult) -> int:
    """Cameras of the largest group that agrees with each other, but with none that is determined."""
    group, lost = list(range(len(result.names))), [name in result.reasons for name in result.names]
    for pair in result.pairs:
        if pair.reason == UNCONNECTED and lost[pair.first] and lost[pair.second]:
            joined = group[pair.first]
            group = [group[pair.second] if own == joined else own for own in group]
    sizes = [group.count(own) for own in set(group)]
    return max((size for size in sizes if size > 1), default=0)
