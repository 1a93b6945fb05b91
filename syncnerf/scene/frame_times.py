"""When frames were taken: from timestamps, else from a constant rate."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

WHOLE_RATES = (24, 25, 30, 48, 50, 60, 90, 100, 120, 240)
"""Frames per second that cameras are made for in whole numbers; many keep 1000/1001 of it."""
NOMINAL_RATES = tuple(rate * factor for rate in WHOLE_RATES for factor in (1.0, 1000 / 1001))
"""Frames per second that cameras are made for."""
FINE_TICKS = 8
"""A constant rate that no header states is only looked for if a frame lasts this many ticks of the timestamps."""
NEAR_RATE = 0.05
"""Relative difference allowed between the rate of a video with lost frames and the median rate, which is rounded."""
MILLISECOND = 1e-3
"""Timestamps of mkv files are rounded to this many seconds, and stay so when the file is copied into an mp4."""


class FrameTiming(NamedTuple):
    """Frames per second (the median rate where it varies), and the frames' times in seconds where it does.

    The times are float64, shape [T], from the first frame's; None where they are k / fps.
    """

    fps: float
    times: Float64[Tensor, " T"] | None


def timing(stamps: Float64[np.ndarray, " T"], tick: float, rates: Iterable[float]) -> FrameTiming:
    """Frames' times from timestamps, which are rounded to whole ticks.

    If a constant rate explains all timestamps to within that rounding, the times are exactly k / fps. If it does so
    apart from missing frames, they are whole multiples of 1 / fps. Otherwise they are the timestamps.

    Args:
        stamps: presentation times in seconds, increasing, float64, shape [T], T at least 2.
        tick: the timestamps' resolution in seconds.
        rates: frames per second that headers state, the most trusted first; zeros are ignored.
    """
    times, count = stamps - stamps[0], np.arange(len(stamps))
    if 10 * tick < MILLISECOND and np.abs(times - np.round(times / MILLISECOND) * MILLISECOND).max() <= tick:
        tick = MILLISECOND
    fitted = 1 / float(np.polyfit(count, times, 1)[0])
    fine = FINE_TICKS * tick * fitted < 1
    # Rounding errors span less than one tick; arithmetic before the rounding, and the fitted rate, add a little.
    spread = 1.5 * tick if fine else (1 - 1e-6) * tick
    for rate in (*rates, *((*NOMINAL_RATES, fitted) if fine else ())):
        if rate > 0 and np.ptp(times - count / rate) < spread:
            return FrameTiming(float(rate), None)
    usual = 1.0 / float(np.median(np.diff(times)))
    for rate in (*rates, *NOMINAL_RATES) if fine else ():
        # Frames may be missing from a constant rate: the others still lie at multiples of its interval.
        places = np.round(times * rate)
        if abs(rate / usual - 1) < NEAR_RATE and np.ptp(times - places / rate) < spread and (np.diff(places) > 0).all():
            return FrameTiming(float(rate), torch.from_numpy(places / rate))
    return FrameTiming(usual, torch.from_numpy(times))
