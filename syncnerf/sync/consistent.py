"""Offsets that the pairs agree on: cameras that most of their pairs contradict are not determined."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from syncnerf.sync.offsets import Offsets, fit_offsets
from syncnerf.sync.solve import Lags, connected

MOST_CONTRADICTED = 0.5
"""Share of a camera's lags that may differ from the solution."""
CONTRADICTION = 1.0
"""Samples by which a lag must differ from the solution to contradict it."""
LEAST_SHARED, CONFIRMED = 12, 2
"""Samples that a camera must have filmed while the reference did, or while each of so many cameras did that agree on
where it is, if none differs."""


def connected_reference(lags: Lags, count: int, preferred: Sequence[int]) -> int:
    """The camera that most others can be placed against: of the largest group that lags connect, the one named first.

    Args:
        lags: accepted ones.
        count: number of cameras.
        preferred: all cameras; of groups of one size it is that of the earlier one.
    """
    return max(preferred, key=lambda camera: int(connected(lags.first, lags.second, count, camera).sum()))


def fit_consistent(
    lags: Lags, spans: Float64[Tensor, "C 2"], reference: int, interval: float
) -> tuple[Offsets, dict[int, str]]:
    """The solution without cameras that most of their pairs contradict, or that hardly met the others.

    A robust solution lets a few lags outvote many where these disagree among themselves; then nothing says that the few
    are right. The worst camera goes first, as its lags may be what the others' are judged by. The reference stays.

    Args:
        lags: accepted ones.
        spans: first and last moment of each camera's video on its own clock, seconds, float64, shape [C, 2].
        reference: global index of the camera whose offset is zero.
        interval: seconds per sample.

    Returns:
        The solution, ``used`` for all ``lags``; and why cameras were removed, by global index.
    """
    removed: dict[int, str] = {}
    while True:
        usable = torch.ones(len(lags.values), dtype=torch.bool)
        for camera in removed:
            usable &= (lags.first != camera) & (lags.second != camera)
        solution = fit_offsets(lags.keep(usable), len(spans), reference)
        offsets = solution.offsets
        used = torch.zeros_like(usable)
        used[usable] = solution.used
        off = (lags.values - (offsets[lags.first] - offsets[lags.second])).abs() > CONTRADICTION * interval
        filmed = offsets[:, None] + spans
        shared = _shared(filmed, filmed[reference])
        met = used & ~off & (_shared(filmed[lags.first], filmed[lags.second]) >= LEAST_SHARED * interval)
        contradicting, agreeing, meeting, differing = (
            _pairs_of_each(chosen, lags, len(spans)) for chosen in (off & ~used, used, met, off)
        )
        share = contradicting / (contradicting + agreeing).clamp_min(1)
        share[reference], shared[reference] = 0, torch.inf
        shared[(meeting >= CONFIRMED) & (differing == 0)] = torch.inf
        worst, apart = int(share.argmax()), int(shared.nan_to_num(nan=torch.inf).argmin())
        if float(share[worst]) > MOST_CONTRADICTED:
            count, all_of_them = int(contradicting[worst]), int(contradicting[worst] + agreeing[worst])
            removed[worst] = f"{count} of {all_of_them} of its pairs contradict each other"
        elif float(shared[apart]) < LEAST_SHARED * interval:
            removed[apart] = "did not film while the reference did, as far as its pairs say"
        else:
            return replace(solution, used=used), removed


def _shared(one: Float64[Tensor, "*N 2"], other: Float64[Tensor, "*#N 2"]) -> Float64[Tensor, "*N"]:
    """Seconds that two stretches of time, each a first and last moment, have in common; negative if they are apart."""
    return torch.minimum(one[..., 1], other[..., 1]) - torch.maximum(one[..., 0], other[..., 0])


def _pairs_of_each(chosen: Bool[Tensor, " M"], lags: Lags, count: int) -> Float64[Tensor, " {count}"]:
    """How many of the chosen lags each camera has a part in."""
    ones, none = chosen.double(), torch.zeros(count, dtype=torch.float64)
    return none.index_add(0, lags.first, ones).index_add(0, lags.second, ones)
