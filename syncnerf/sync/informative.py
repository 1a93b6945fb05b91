"""Which frame intervals of a video say something about time: those in which things move, and the camera films them."""

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor
from torch.nn.functional import pad

from syncnerf.sync.frame_samples import Frames, of_each_frame, sampled_pixels

SAMPLES = 2000
"""About how many pixels are looked at."""
VISIBLE = 24.0
"""Grey levels, summed over channels: what a pixel must differ by to count as changed."""
RANGE = (20, 235)
"""Median levels between which a pixel can become darker and brighter."""
STEADY_SHARE = 0.6
"""Share of the still pixels that must look as usual for a frame to count."""
LARGEST_GAIN = 2.0
"""A frame darker or brighter than usual by a larger factor does not count."""
LEAST_PIXELS = 50
"""With fewer still pixels there is no telling."""
MOST_UNSTEADY = 0.5
"""Pixels that look unusual in more of the frames than this are not still; where so many frames look unusual, nothing is
usual: the camera itself moves, or the light."""
REFRESHED, LEAST_REFRESHED, MOST_REFRESHED = 2.0, 2.0, 6.0
"""A still background that changes by so many times what is usual around, and by so many grey levels summed over
channels, was coded anew. A pixel that changes by more than the last counts as that: it may have moved."""
STILL_SHARE = 0.02
"""An interval with less energy than this share of what is typical holds no motion."""
REPEATED_SHARE, REACH = 0.1, 4
"""Nor does one with less than this share of the median of as many intervals on either side: its frame is repeated."""


def steady_frames(frames: Frames) -> Bool[Tensor, " T"]:
    """Frames in which the whole image is as usual, but for what moves: no cut, flash, fade to black or covered lens.

    Pixels that hardly ever change show it: in such an event most of them change at once. A frame's global gain
    (exposure, flicker) is divided out first, up to a factor of 2.

    Args:
        frames: uint8 RGB of a camera that stands still, shape [T, height, width, 3].

    Returns:
        bool, shape [T].
    """
    pixels = sampled_pixels(frames, SAMPLES).flatten(1, 2)
    count = len(pixels)
    steady = torch.ones(count, dtype=torch.bool)
    usual = pixels[:: max(1, count // 60)].float().median(dim=0).values
    inside = ((usual > RANGE[0]) & (usual < RANGE[1])).any(-1)
    if count < 3 or int(inside.sum()) < LEAST_PIXELS:
        return steady
    pixels, usual = pixels[:, inside], usual[inside]

    def gain_of(part: Float32[Tensor, "t N 3"]) -> Float32[Tensor, " t"]:
        """The frames' global gain, shape [t]."""
        return (part.sum(-1) / usual.sum(-1)).median(dim=1).values

    def changes_of(part: Float32[Tensor, "t N 3"]) -> Bool[Tensor, "t N"]:
        """Which pixels look unusual, bool, shape [t, N]."""
        return (part / gain_of(part).clamp_min(1e-3)[:, None, None] - usual).abs().sum(-1) > VISIBLE

    gain, changed = of_each_frame(pixels, gain_of), of_each_frame(pixels, changes_of)
    still = changed.float().mean(0) < MOST_UNSTEADY
    if int(still.sum()) < LEAST_PIXELS:
        return steady
    odd = changed[:, still].float().mean(1) > 1 - STEADY_SHARE
    odd |= (gain < 1 / LARGEST_GAIN) | (gain > LARGEST_GAIN)
    return steady if float(odd.float().mean()) > MOST_UNSTEADY else ~odd


def refreshed_intervals(frames: Frames) -> Bool[Tensor, " I"]:
    """Intervals in which the whole picture changes a little, and no other one nearby: it was coded anew.

    Key frames of strongly compressed videos do so, at equal places of all files: what changes then is no motion.

    Args:
        frames: uint8 RGB of a camera that stands still, shape [T, height, width, 3].

    Returns:
        bool, shape [T - 1].
    """
    pixels = sampled_pixels(frames, SAMPLES).flatten(1, 2)
    later, earlier = pixels[1:], pixels[:-1]
    changes = (torch.maximum(later, earlier) - torch.minimum(later, earlier)).sum(-1, dtype=torch.int16).float()
    if len(changes) < 3:
        return torch.zeros(len(changes), dtype=torch.bool)
    usual = changes.mean(0)
    alive = usual > 0  # what was saturated, or painted, never changes
    if int(alive.sum()) < LEAST_PIXELS:
        return torch.zeros(len(changes), dtype=torch.bool)
    level = changes[:, alive & (usual <= usual[alive].median())].clamp_max(MOST_REFRESHED).mean(1)
    return level > (REFRESHED * around(level)).clamp_min(LEAST_REFRESHED)


def around(totals: Float[Tensor, " I"]) -> Float[Tensor, " I"]:
    """Median energy of the intervals around each, shape [T - 1]."""
    reach = min(REACH, len(totals) - 1)
    mirrored = pad(totals[None, None].float(), (reach, reach), mode="reflect")[0, 0]
    return mirrored.unfold(0, 2 * reach + 1, 1).median(dim=1).values


def informative_intervals(totals: Float[Tensor, " I"], steady: Bool[Tensor, " I+1"]) -> Bool[Tensor, " I"]:
    """Intervals between steady frames that hold motion, and do not follow on a standstill, be it one frame shown twice.

    A camera that hangs shows no motion, and then all of it at once; people who stand still show none. Neither says
    when anything happened, and the edge between both would look like something that did.

    Args:
        totals: energy of all pixels in each interval, shape [T - 1].
        steady: of the frames, bool, shape [T].

    Returns:
        bool, shape [T - 1].
    """
    informative = steady[1:] & steady[:-1]
    considered = totals[informative].double()
    if len(considered) == 0 or not float(considered.sum()) > 0:
        return torch.zeros_like(informative)
    # Weighted by itself, the mean is that of the intervals with motion, however long the stillness around them.
    typical = float(considered.square().sum() / considered.sum())
    still = (totals.double() < STILL_SHARE * typical) | (totals < REPEATED_SHARE * around(totals))
    informative &= ~still
    informative[1:] &= ~still[:-1]
    return informative
