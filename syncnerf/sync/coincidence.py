"""At which lags the frames of two cameras are exposed together, and how nearly all of them are."""

from __future__ import annotations

import cmath
import math

import torch
from jaxtyping import Float64
from torch import Tensor

IN_STEP = 1e-2
"""Steps by which frames may be from whole ones for all to count as being in step."""


def is_in_step(times: Float64[Tensor, " T"], step: float) -> bool:
    """Whether frames are whole steps apart, gaps included."""
    places = (times - times[0]) / step
    return bool(((places - places.round()).abs() < IN_STEP).all())


def grid_begin(times: Float64[Tensor, " T"], step: float) -> float:
    """The first edge, in seconds, of even steps that lie where frames do on average; not before the first frame.

    Resampling does not shift signals by less than a step if they change as fast as they are sampled. Steps that began
    at a frame that came early would therefore make the whole camera late by a part of that, and the reverse.
    """
    first = float(times[0])
    behind = _place(times, step)[0] - first / step
    # Rounding is no reason to begin a step later.
    return first + step * (behind - math.floor(behind + 1e-6))


def coincidence(first: Float64[Tensor, " T1"], second: Float64[Tensor, " T2"], step: float) -> tuple[float, float]:
    """A lag at which two cameras' frames are exposed together; so they are at all lags whole steps from it.

    Frames at uneven times coincide only on average, and less so the more uneven they are: for each camera the mean of
    ``exp(2 pi i time / step)`` tells where within a step its frames lie, and how closely together.

    Args:
        first: of the one camera's frames on its own clock, seconds, float64, shape [T1].
        second: of the other's, shape [T2].
        step: seconds.

    Returns:
        offset[first] - offset[second] in seconds, and the share: 1 where all frames are in step, 0 where they lie
        anywhere.
    """
    one, two = (_place(times, step) for times in (first, second))
    return step * (two[0] - one[0]), one[1] * two[1]


def _place(times: Tensor, step: float) -> tuple[float, float]:
    """Where in a step frames lie, as a share of it, and how closely together, in [0, 1]."""
    if is_in_step(times, step):
        return math.remainder(float(times[0]) / step, 1.0), 1.0
    angles = 2 * torch.pi * times / step
    mean = complex(float(angles.cos().mean()), float(angles.sin().mean()))
    return cmath.phase(mean) / (2 * math.pi), abs(mean)
