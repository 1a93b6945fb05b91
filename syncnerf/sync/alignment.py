"""Whether poses are so exact, and videos so complete, that corresponding epipolar lines can be compared as they are."""

from itertools import combinations

import torch
from torch import Tensor

from syncnerf.sync.correlation import condition, correlate
from syncnerf.sync.epipolar_cameras import EpipolarCameras, unfit_pair
from syncnerf.sync.landscape import find_peak

MOST_PAIRS = 10
"""Pairs that are looked at, spread over all."""
LEAST_PAIRS = 3
"""Pairs with a distinct peak without which poses are not taken for exact."""
LEAST_SHARE, MOST_GAPS = 0.9, 3
"""A video counts as complete if this share of its intervals is informative, or if what is missing lies in at most so
many pieces; at the edges of each piece finer signals go wrong."""
ALIGNED = 0.25
"""Largest median, over the pairs, of the lines by which moving one pencil improves agreement: so much is chance."""
MISALIGNED, MOST_MISALIGNED = 1.0, 0.2
"""Nor are poses exact where a larger share of the pairs than the second number is off by more lines than the first."""


def are_whole(cameras: EpipolarCameras) -> bool:
    """Whether all videos are nearly complete, and none has lost frames that were put back."""
    paced = any(energy.pace > 1 for energy in cameras.energies)
    return not paced and all(_is_whole(cameras.informative(index)) for index in range(len(cameras.views)))


def are_exact(cameras: EpipolarCameras) -> bool:
    """Whether pairs agree best where corresponding lines are compared, without moving one pencil.

    The best shift between the pencils is measured to a tenth or two of a line. Where true shifts are no larger,
    correcting them would only add that noise to the lags, since what moves across the lines seems early or late by it.
    """
    pairs = list(combinations(range(len(cameras.views)), 2))
    chosen = pairs[:: max(1, len(pairs) // MOST_PAIRS)][:MOST_PAIRS]
    found = [shift for pair in chosen if (shift := _line_shift(cameras, *pair)) is not None]
    if len(found) < LEAST_PAIRS:
        return False
    shifts = torch.tensor(found).abs()
    return float(shifts.median()) <= ALIGNED and float((shifts > MISALIGNED).double().mean()) <= MOST_MISALIGNED


def _is_whole(informative: Tensor) -> bool:
    """Whether nearly all of a video's intervals are informative, or all but a few stretches of stillness."""
    gaps = int((~informative[1:] & informative[:-1]).sum()) + int((~informative[:1]).sum())
    return gaps <= MOST_GAPS or float(informative.double().mean()) >= LEAST_SHARE


def _line_shift(cameras: EpipolarCameras, first: int, second: int) -> float | None:
    """Lines by which one pencil must be moved for a pair to agree best; None where it shows no distinct peak."""
    if unfit_pair(cameras, first, second):
        return None
    lines, informative, step = cameras.signals(first, second)
    if len(lines[0]) == 0:
        return None
    signals = [condition(signal, informative=known) for signal, known in zip(lines, informative, strict=True)]
    found = find_peak(correlate(*signals, informative), step)
    if found is None or found[0].reason_to_reject:
        return None
    return found[0].line_shift + found[0].line_fraction
