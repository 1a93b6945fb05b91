"""Offsets that the pairs agree on: cameras that most of their pairs contradict are not determined."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.sync.offsets import Offsets, fit_offsets
from syncnerf.sync.solve import Lags, connected

MOST_CONTRADICTED = 0.5
"""Share of a camera's lags that may differ from the solution."""
CONTRADICTION = 1.0
"""Samples by which a lag must differ from the solution to contradict it."""
LEAST_SHARED = 12
"""Samples that a camera must have filmed while the reference did."""


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
    """The solution without cameras that most of their pairs contradict, or that the reference never met.

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
        wrong = ~used & ((lags.values - (offsets[lags.first] - offsets[lags.second])).abs() > CONTRADICTION * interval)
        ones = torch.ones(len(lags.values), dtype=torch.float64)
        counts = [
            torch.zeros(len(spans), dtype=torch.float64)
            .index_add_(0, lags.first, rows * ones)
            .index_add_(0, lags.second, rows * ones)
            for rows in (wrong, used)
        ]
        share = counts[0] / (counts[0] + counts[1]).clamp_min(1)
        filmed = offsets[:, None] + spans
        shared = torch.minimum(filmed, filmed[reference])[:, 1] - torch.maximum(filmed, filmed[reference])[:, 0]
        share[reference], shared[reference] = 0, torch.inf
        worst, apart = int(share.argmax()), int(shared.nan_to_num(nan=torch.inf).argmin())
        if float(share[worst]) > MOST_CONTRADICTED:
            count, all_of_them = int(counts[0][worst]), int(counts[0][worst] + counts[1][worst])
            removed[worst] = f"{count} of {all_of_them} of its pairs contradict each other"
        elif float(shared[apart]) < LEAST_SHARED * interval:
            removed[apart] = "did not film while the reference did, as far as its pairs say"
        else:
            return replace(solution, used=used), removed
