"""Cameras whose agreement with the others may be due to something else than motion filmed at the same time."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.sync.result import UNCONNECTED, PairLag, SyncResult

LEAST_EXPLAINED = 0.5
"""A camera is doubtful if the explained share of its motion is below this part of the cameras' median. Measured:
swapped, copied and mirrored videos reach 0.01 to 0.5 of it."""
GOOD_FIT, LEAST_FIT, FITTING = 8.0, 0.5, 5
"""A doubtful camera is cleared if its :func:`~syncnerf.sync.pose_fit.pose_fit` exceeds the first number, or the second
times the median of some cameras that are not doubtful, about as many as the third. Measured: swapped, copied and
mirrored videos reach 0 to 7.5, a third of that median; cameras that see much that no other does, 9.7 and more."""
LEAST_USED = 0.5
"""To be cleared, a camera must also have this share of the median number of used pairs: a clock that jumps fits its
pose too."""
EQUAL_PLACE, MOST_EQUAL = 0.35, 0.5
"""Lags of fewer frames than the first number count as 0. Where that is so of this share (the second) of a camera's
pairs, the files themselves may be the reason, and not what they show."""


def misfits(result: SyncResult, shares: Float[Tensor, " C"], fit: Callable[[int], float] | None) -> list[int]:
    """Cameras whose motion the others explain badly, and which have few distinct lags or fit their poses badly.

    Args:
        result: what was solved.
        shares: of each camera's motion that is explained, shape [C]; NaN where nothing is compared.
        fit: how well a camera's motion fits its pose; None where that is not known: then no doubtful camera is cleared.
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
    """Whether most of a camera's lags are 0 on the files' own clocks: the same is seen at equal places of the files.

    Cameras that are wired together have such lags, and so do files whose key frames or counters pass as motion.

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
