"""What motion gains by something else than is stated: another camera's video, another frame rate."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.sync.result import SyncResult

SUSPICIOUS, UPPER = 0.7, 0.75
"""Of cameras for which something else is tried, motion is explained by less than the first number times the upper
quartile over all cameras. Measured: of exchanged neighbours it is 0.1 to 0.6 of it."""
MOST_SUSPICIOUS = 6
"""Cameras with the smallest explained shares for which it is."""
MOST_OTHERS = 6
"""Cameras with the largest explained shares that they are compared with."""

Gains = list[tuple[float, float]]
"""Agreement with each other camera as things are stated, and as they are tried."""


def explained_shares(result: SyncResult) -> Float64[Tensor, " C"]:
    """Share of each camera's motion that its offset explains, 0 where that is not determined, float64, shape [C]."""
    explained = [result.checks[name].explained for name in result.names]
    return torch.tensor(explained, dtype=torch.float64).nan_to_num(0.0)


def gains_over(others: Iterable[int], compared: Callable[[int], tuple[float, float]]) -> Gains:
    """Agreement with one camera after another, until all so far gain nothing: wrong guesses cost little.

    Args:
        others: global indices, those first that tell most.
        compared: agreement with one of them as things are stated, and as they are tried.
    """
    found: Gains = []
    for other in others:
        found.append(compared(other))
        if not gain_ratio(found) > 1:
            break
    return found


def gain_ratio(gains: Gains) -> float:
    """Sum of the agreements as they are tried over the sum of those as they are stated."""
    return sum(after for _, after in gains) / max(sum(before for before, _ in gains), 1e-9)
