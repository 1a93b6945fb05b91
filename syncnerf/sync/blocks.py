"""Strong compression, told by its blocks: changes that are no motion end at the edges of a codec's blocks."""

import math
from collections.abc import Sequence
from statistics import median

import numpy as np

from syncnerf.scene.frame_cache import release_pages
from syncnerf.sync.frame_samples import Frames

BLOCK, SMALLEST, LEAST_SIDE = 8, 4, 32
"""Sides of a codec's usual and of its smallest blocks, and the least side of a picture that is judged; pixels."""
INTERVALS = 16
"""How many intervals between frames are looked at, spread over the video."""
VISIBLE = 20
"""Grey levels, summed over channels, by which a pixel must change to count as changed."""
CODED, MOSTLY_CODED = 1.45, 1.28
"""A video whose :func:`blocks_shown` exceeds the first number is strongly compressed; where the median over all cameras
exceeds the second one, all are. Measured: 1.3 to 2 (medians from 1.32 on) at a constant rate factor of 28, and 0.97 to
1.33 (medians up to 1.22) in videos of usual quality."""
LEAST_ENDS = 200
"""Where fewer changed regions end at blocks' edges, the ratio is left to chance and not judged."""


def coded_cameras(shown: Sequence[float]) -> list[bool]:
    """Which cameras' videos are compressed so strongly that small changes in them are no motion.

    Args:
        shown: how plainly blocks show in each, see :func:`blocks_shown`.
    """
    all_are = len(shown) > 0 and median(shown) > MOSTLY_CODED
    return [all_are or own > CODED for own in shown]


def blocks_shown(frames: Frames) -> float:
    """How many times as often regions of changed pixels end at the edges of a codec's blocks as inside the blocks.

    Blocks are expected at the size of these frames. Frames that were averaged down from larger ones do not show them,
    nor as much of the noise that comes with them.

    Args:
        frames: uint8 RGB, shape [T, height, width, 3].

    Returns:
        About 1 where no blocks show, 1 where too little changes to tell, infinite where all changes end at edges.
    """
    count, height, width, _ = frames.shape
    if count < 2 or min(height, width) < LEAST_SIDE:
        return 1.0
    at_edges, elsewhere = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    for first in np.linspace(0, count - 2, min(INTERVALS, count - 1)).astype(int).tolist():
        before, after = np.array(frames[first : first + 2])
        change = np.maximum(before, after) - np.minimum(before, after)
        # Many times faster than a sum over an axis of three.
        changed = change[..., 0].astype(np.int16) + change[..., 1] + change[..., 2] > VISIBLE
        for mask in (changed, changed.T):
            ends, line = mask[1:] != mask[:-1], np.arange(1, len(mask))
            for counts, lines in ((at_edges, line % BLOCK == 0), (elsewhere, line % SMALLEST != 0)):
                chosen = ends[lines]
                counts += np.count_nonzero(chosen), chosen.size
    release_pages(frames)
    if at_edges[0] < LEAST_ENDS:
        return 1.0
    if elsewhere[0] == 0:
        return math.inf
    return float(at_edges[0] / at_edges[1] * elsewhere[1] / elsewhere[0])
