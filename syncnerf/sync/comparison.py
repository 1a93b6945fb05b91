"""Comparing every pair of cameras, by whichever method."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

from tqdm import tqdm

from syncnerf.sync.drift import WindowLags
from syncnerf.sync.landscape import Landscape, Peak
from syncnerf.sync.uncertainty import Sensitivity


@dataclass(frozen=True)
class Comparison:
    """Two cameras compared at every shift.

    Attributes:
        first: global index of the one camera.
        second: global index of the other.
        landscape: agreement at every shift; None where they could not be compared.
        peak: its best shift; None likewise.
        reason: why the pair should not be used; empty if it may be.
        sensitivity: how each frame pulls at the lag; None where the pair is not used.
        windows: lags in windows of time; None unless they were asked for.
    """

    first: int
    second: int
    landscape: Landscape | None
    peak: Peak | None
    reason: str
    sensitivity: Sensitivity | None = None
    windows: WindowLags | None = None


def compare_all(
    count: int, compare: Callable[[int, int], Comparison], description: str = "comparing"
) -> list[Comparison]:
    """Compare every pair of cameras, a few at a time, with a progress bar."""
    pairs = list(combinations(range(count), 2))
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(pairs), desc=description, unit="pair", leave=False) as progress,
    ):
        results = []
        for result in pool.map(lambda pair: compare(*pair), pairs):
            results.append(result)
            progress.update()
    return results
