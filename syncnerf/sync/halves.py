"""Whether clocks run evenly: offsets of the second half of the time against those of the first."""

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.sync.drift import WindowLags
from syncnerf.sync.jumps import window_lags_between, window_offsets
from syncnerf.sync.result import SyncResult
from syncnerf.sync.solve import Lags

LARGEST_CHANGE = 0.3
"""Frames by which an offset may change from half to half, or without one other camera ..."""
SURE = 4.0
"""... if it is more than this many standard errors."""
MANY, LEAST_CAMERAS = 0.25, 2
"""If this share of the cameras changes, and so many, the others are judged against clocks that are no measure."""

Windows = Sequence[tuple[int, int, WindowLags]]


def usual_unevenness(halves: Float64[Tensor, " C"], errors: Float64[Tensor, " C"], interval: float) -> float:
    """Root mean square by which offsets change from half to half, where those of many cameras do; else 0.

    Args:
        halves: each camera's change, seconds, shape [C]; NaN where a half says nothing.
        errors: standard errors of that, likewise.
        interval: seconds per frame.
    """
    changing = halves.abs() > torch.maximum(torch.tensor(LARGEST_CHANGE * interval), SURE * errors)
    if changing.sum() < max(LEAST_CAMERAS, MANY * int(halves.isfinite().sum())):
        return 0.0
    return float(halves[changing].square().mean().sqrt())


def slight_drifts(
    halves: Float64[Tensor, " C"], errors: Float64[Tensor, " C"], interval: float
) -> Float64[Tensor, " C"]:
    """By how much offsets surely change from half to half that change by too little to be doubted, seconds, shape [C].

    A clock whose rate is slightly wrong is found where it is in the middle of its video; its frame 0, of which the
    offset is, was exposed about as much earlier or later as one half differs from the other. 0 for steady clocks.

    Args:
        halves: as for :func:`usual_unevenness`.
        errors: likewise.
        interval: likewise.
    """
    sizes = halves.abs()
    return torch.where((sizes > SURE * errors) & (sizes <= LARGEST_CHANGE * interval), sizes, 0.0)


def half_differences(result: SyncResult, windows: Windows) -> tuple[Float64[Tensor, " C"], Float64[Tensor, " C"]]:
    """What each camera's offset is in the second half of the time, less what it is in the first, and the error of that.

    Returns:
        Seconds, float64, shape [C] each; NaN where a half says nothing.
    """
    count = len(result.names)
    nothing = torch.full((count,), torch.nan, dtype=torch.float64)
    rates = torch.zeros_like(result.offsets) if result.rates is None else result.rates
    longest = max((len(lags.times) for *_, lags in windows), default=0)
    if longest < 2:
        return nothing, nothing
    found, errors = [], []
    for part in (range(longest // 2), range(longest - longest // 2, longest)):
        pieces = [window_lags_between(windows, index, result.offsets, rates) for index in part]
        columns = ([getattr(piece, field) for piece in pieces] for field in ("first", "second", "values", "deviations"))
        offsets, error = window_offsets(Lags(*map(torch.cat, columns)), count)
        found.append(torch.where(error > 0, offsets, torch.nan))
        errors.append(error)
    return found[1] - found[0], torch.hypot(*errors)
