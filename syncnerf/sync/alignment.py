"""Whether the cameras' poses are so exact that the same lines of two pencils show the same."""

from itertools import combinations

import torch

from syncnerf.sync.correlation import condition, correlate
from syncnerf.sync.epipolar import EpipolarCameras
from syncnerf.sync.landscape import find_peak

MOST_PAIRS = 10
"""Pairs that are looked at, spread over all."""
LEAST_PAIRS = 3
"""Fewer that tell anything are not trusted."""
LEAST_SHARE = 0.9
"""Share of every video's intervals that must say something: finer signals feel what is missing more."""
ALIGNED = 0.25
"""Lines by which half of the pairs agree better when one pencil is moved: up to here it is chance."""


def are_aligned(cameras: EpipolarCameras) -> bool:
    """Whether pairs agree best where equal lines are compared.

    By how many lines a pair agrees best is known to a tenth or two, by chance. Where that is all there is, allowing for
    it would only add its chance to the lags: what moves across the lines seems early or late. Not asked where much is
    missing from a video, or lost frames were put back.
    """
    shares = [float(cameras.informative(index).double().mean()) for index in range(len(cameras.views))]
    if min(shares) < LEAST_SHARE or any(energy.pace > 1 for energy in cameras.energies):
        return False
    pairs = list(combinations(range(len(cameras.views)), 2))
    chosen = pairs[:: max(1, len(pairs) // MOST_PAIRS)][:MOST_PAIRS]
    found = [shift for pair in chosen if (shift := _line_shift(cameras, *pair)) is not None]
    return len(found) >= LEAST_PAIRS and float(torch.tensor(found).abs().median()) <= ALIGNED


def _line_shift(cameras: EpipolarCameras, first: int, second: int) -> float | None:
    """By how many lines a pair agrees best; None where it shows no distinct peak."""
    views = cameras.views
    if float((views[first].centre - views[second].centre).norm()) <= cameras.least_baseline:
        return None
    if min(len(cameras.energies[camera].pixels) for camera in (first, second)) == 0:
        return None
    lines, informative, step = cameras.signals(first, second)
    if len(lines[0]) == 0:
        return None
    signals = [condition(signal, informative=known) for signal, known in zip(lines, informative, strict=True)]
    found = find_peak(correlate(*signals, informative), step)
    if found is None or found[0].reason_to_reject:
        return None
    return found[0].line_shift + found[0].line_fraction
