"""When frames were taken: from timestamps, else from a constant rate."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

_WHOLE_RATES = (24, 25, 30, 48, 50, 60, 90, 100, 120, 240)
NOMINAL_RATES = tuple(rate * factor for rate in _WHOLE_RATES for factor in (1.0, 1000 / 1001))
"""Frames per second that cameras are made for."""
FINE_TICKS = 8
"""Timestamps this many times finer than the frames' interval tell a constant rate that nothing states from a gap."""
NEAR_RATE = 0.05
"""Share by which a rate that lost frames may differ from the median one, which is rounded too."""
MILLISECOND = 1e-3
"""The tick of mkv files, whose rounding stays where a finer clock counts the same timestamps on: remuxed to mp4."""


class FrameTiming(NamedTuple):
    """Frames per second (the median rate where it varies), and the frames' times in seconds where it does.

    The times are float64, shape [T], from the first frame's; None where they are k / fps.
    """

    fps: float
    times: Float64[Tensor, " T"] | None


def timing(stamps: Float64[np.ndarray, " T"], tick: float, rates: Iterable[float]) -> FrameTiming:
    """Frames' times from timestamps, which are rounded to the ticks of their clock.

    Where a constant rate explains all timestamps within that rounding, the times are exactly k / fps; where it does but
    for frames that are missing, they are whole multiples of 1 / fps.

    Args:
        stamps: presentation times in seconds, increasing, float64, shape [T], T at least 2.
        tick: seconds between the moments that a timestamp can express.
        rates: frames per second that something states, the most trusted one first; zeros are passed over.
    """
    times, count = stamps - stamps[0], np.arange(len(stamps))
    if 10 * tick < MILLISECOND and np.abs(times - np.round(times / MILLISECOND) * MILLISECOND).max() <= tick:
        tick = MILLISECOND
    fitted = 1 / float(np.polyfit(count, times, 1)[0])
    fine = FINE_TICKS * tick * fitted < 1
    # Rounding spreads the differences over less than a tick; arithmetic before the rounding, and a fit, add a little.
    spread = 1.5 * tick if fine else (1 - 1e-6) * tick
    for rate in (*rates, *((*NOMINAL_RATES, fitted) if fine else ())):
        if rate > 0 and np.ptp(times - count / rate) < spread:
            return FrameTiming(float(rate), None)
    usual = 1.0 / float(np.median(np.diff(times)))
    for rate in (*rates, *NOMINAL_RATES) if fine else ():
        # Frames that a constant rate lost: the others are where it has them.
        places = np.round(times * rate)
        if abs(rate / usual - 1) < NEAR_RATE and np.ptp(times - places / rate) < spread and (np.diff(places) > 0).all():
            return FrameTiming(float(rate), torch.from_numpy(places / rate))
    return FrameTiming(usual, torch.from_numpy(times))
