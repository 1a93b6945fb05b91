"""Whether the cameras' poses are so exact, and their videos so whole, that equal lines of two show the same."""

from itertools import combinations

import torch
from torch import Tensor

from syncnerf.sync.correlation import condition, correlate
from syncnerf.sync.epipolar_cameras import EpipolarCameras
from syncnerf.sync.landscape import find_peak

MOST_PAIRS = 10
"""Pairs that are looked at, spread over all."""
LEAST_PAIRS = 3
"""Fewer that tell anything are not trusted."""
LEAST_SHARE, MOST_GAPS = 0.9, 3
"""Share of every video's intervals that must say something, where what is missing from it lies in more pieces than
this: finer signals feel the edges of each."""
ALIGNED = 0.25
"""Lines by which half of the pairs agree better when one pencil is moved: up to here it is chance."""
MISALIGNED, MOST_MISALIGNED = 1.0, 0.2
"""Of so many lines it is not, where that is so of a larger share of the pairs."""


def are_whole(cameras: EpipolarCameras) -> bool:
    """Whether not much is missing from any video, here and there, and no lost frames were put back."""
    paced = any(energy.pace > 1 for energy in cameras.energies)
    return not paced and all(_is_whole(cameras.informative(index)) for index in range(len(cameras.views)))


def are_exact(cameras: EpipolarCameras) -> bool:
    """Whether pairs agree best where equal lines are compared.

    By how many lines a pair agrees best is known to a tenth or two, by chance. Where that is all there is, allowing for
    it would only add its chance to the lags: what moves across the lines seems early or late.
    """
    pairs = list(combinations(range(len(cameras.views)), 2))
    chosen = pairs[:: max(1, len(pairs) // MOST_PAIRS)][:MOST_PAIRS]
    found = [shift for pair in chosen if (shift := _line_shift(cameras, *pair)) is not None]
    if len(found) < LEAST_PAIRS:
        return False
    shifts = torch.tensor(found).abs()
    return float(shifts.median()) <= ALIGNED and float((shifts > MISALIGNED).double().mean()) <= MOST_MISALIGNED


def _is_whole(informative: Tensor) -> bool:
    """Whether a video's intervals say something nearly throughout, or but for a few stretches of stillness."""
    gaps = int((~informative[1:] & informative[:-1]).sum()) + int((~informative[:1]).sum())
    return gaps <= MOST_GAPS or float(informative.double().mean()) >= LEAST_SHARE


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
