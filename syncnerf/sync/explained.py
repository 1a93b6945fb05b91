"""How much of a camera's motion the found offsets explain, and which others would explain nearly as much."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from syncnerf.sync.comparison import Comparison
from syncnerf.sync.landscape import NEIGHBOURHOOD, Landscape
from syncnerf.sync.result import SyncResult

NEARLY = 0.8
"""Another offset whose agreement rises this share as high above the usual explains nearly as much."""
COMPARABLE = 0.5
"""Such an offset must leave this share of the samples, and of the pairs, to compare."""
MOST_ALTERNATIVES = 4
"""Alternatives listed for a camera."""


def explained_share(result: SyncResult, comparisons: Sequence[Comparison], camera: int) -> float:
    """Share of a camera's motion that the found offsets explain by the other cameras': mean squared correlation."""
    shares = [float(values[0].clamp_min(0).square()) for values, _ in _curves(result, comparisons, camera, [0.0])]
    return sum(shares) / len(shares) if shares else math.nan


def alternatives(result: SyncResult, comparisons: Sequence[Comparison], camera: int) -> list[float]:
    """Changes of a camera's offset after which its pairs would agree nearly as well, the best first.

    The pairs' landscapes, each shifted to the lag that the solution gives it, are averaged: what all see at the right
    offset adds up, chance does not, and motion that repeats rises again after each period.

    Returns:
        Seconds to add to the offset, at most 4.
    """
    landscapes = _landscapes(result, comparisons, camera)
    if not landscapes:
        return []
    step = max(float(land.lags[1] - land.lags[0]) for land, _ in landscapes)
    reach = max(float(land.lags[-1] - land.lags[0]) for land, _ in landscapes)
    half = math.ceil(reach / step)
    changes = torch.arange(-half, half + 1, dtype=torch.float64) * step
    total, seen = torch.zeros_like(changes), torch.zeros_like(changes)
    for values, comparable in _curves(result, comparisons, camera, changes.tolist()):
        total += torch.where(comparable, values, 0.0)
        seen += comparable
    telling = seen >= COMPARABLE * len(landscapes)
    profile = torch.where(telling, total / seen.clamp_min(1), -torch.inf)
    centre = half - 1 + int(profile[half - 1 : half + 2].argmax())
    usual = float(profile[telling].median())
    left, right = centre, centre
    while left > 0 and profile[left - 1] < profile[left]:
        left -= 1
    while right < len(profile) - 1 and profile[right + 1] < profile[right]:
        right += 1
    best = float(profile[centre])
    profile[max(0, min(left, centre - NEIGHBOURHOOD)) : max(right, centre + NEIGHBOURHOOD) + 1] = -torch.inf
    tops = (profile[1:-1] >= profile[:-2]) & (profile[1:-1] >= profile[2:])
    high = (profile[1:-1] - usual > NEARLY * (best - usual)) & tops
    places = high.nonzero()[:, 0] + 1
    order = profile[places].argsort(descending=True)[:MOST_ALTERNATIVES]
    return changes[places[order]].tolist()


def _landscapes(result: SyncResult, comparisons: Sequence[Comparison], camera: int) -> list[tuple[Landscape, float]]:
    """A camera's landscapes with determined cameras and, for each, the sign with which its offset enters the lag."""
    found = []
    for comparison in comparisons:
        pair, land = (comparison.first, comparison.second), comparison.whole
        if camera in pair and land is not None and not result.offsets[list(pair)].isnan().any():
            found.append((land, 1.0 if camera == comparison.first else -1.0))
    return found


def _curves(
    result: SyncResult, comparisons: Sequence[Comparison], camera: int, changes: Sequence[float]
) -> list[tuple[Tensor, Tensor]]:
    """Each pair's agreement if the camera's offset changed, and where that compares enough; shapes [S]."""
    changes = torch.tensor(changes, dtype=torch.float64)
    curves = []
    for land, sign in _landscapes(result, comparisons, camera):
        lag = float(result.offsets[land.first] - result.offsets[land.second])
        step = float(land.lags[1] - land.lags[0])
        place = (lag + sign * changes - float(land.lags[0])) / step
        inside = (place >= 0) & (place <= len(land.lags) - 1)
        lower = place.floor().long().clamp(0, len(land.lags) - 2)
        share = (place - lower).clamp(0, 1)
        # A peak between two samples is higher than both: their larger one is nearer to it than their mean.
        values = torch.maximum(land.values[lower], land.values[lower + 1])
        overlap = land.overlap[lower] * (1 - share) + land.overlap[lower + 1] * share
        nearest = min(max(round((lag - float(land.lags[0])) / step), 0), len(land.lags) - 1)
        enough = overlap >= COMPARABLE * float(land.overlap[nearest])
        curves.append((values, inside & enough & (overlap > 0)))
    return curves
