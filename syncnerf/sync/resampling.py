"""Energies between frames on even steps of time, and each pixel's at the time at which its row was read."""

import math
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor
from torch.nn.functional import pad

from syncnerf.scene import Camera
from syncnerf.sync.energy import MotionEnergy

REACH = 3
"""Intervals to either side through which a polynomial goes."""


def resample(
    signals: Float[Tensor, "L I"], times: Float64[Tensor, " I+1"], step: float, begin: float | None = None
) -> Float[Tensor, "L S"]:
    """Sum signals over even time steps, preserving their totals.

    Args:
        signals: amounts between one frame and the next, shape [L, T - 1].
        times: of the frames, seconds, increasing, float64, shape [T].
        step: seconds from one edge of the new steps to the next.
        begin: the first edge, seconds; the first frame's time if None.

    Returns:
        Amounts per step, shape [L, floor((times[T - 1] - begin) / step)].
    """
    since = times - (times[0] if begin is None else begin)
    edges = step * torch.arange(math.floor(float(since[-1]) / step + 1e-6) + 1, dtype=torch.float64)
    if len(edges) == len(since) and float((edges - since).abs().max()) < 1e-3 * step:
        return signals
    lower = (torch.searchsorted(since, edges, right=True) - 1).clamp(0, len(since) - 2)
    share = ((edges - since[lower]) / since.diff()[lower]).clamp(0, 1).to(signals.dtype)
    running = pad(signals.cumsum(1), (1, 0))
    return (running[:, lower] * (1 - share) + running[:, lower + 1] * share).diff(dim=1)


def unrolled(energy: MotionEnergy, camera: Camera) -> MotionEnergy:
    """The energy as if all rows had been read at one time, that at which what moves is read on the average.

    What a pixel shows to change between two frames did so between the times at which its row was read: all its amounts
    are moved by what these are later than the average, along the polynomial through seven of them; the average is left
    to :attr:`~syncnerf.sync.energy.MotionEnergy.late`, exactly. (Sharing each amount between the two intervals that it
    overlaps moves what changes fast by half of it only.) The first and the last are repeated beyond the ends.

    Args:
        energy: of a camera's frames.
        camera: whose ``row_time`` counts.
    """
    if camera.row_time == 0:
        return energy
    amounts = energy.values.sum(dim=1, dtype=torch.float64)
    if not bool(amounts.sum() > 0):
        return energy
    rows = (energy.pixel_centres[:, 1] / camera.intrinsics.height - 0.5) * camera.row_time
    mean = float((rows * amounts).sum() / amounts.sum())
    # Intervals by which a pixel is later than the average; readout takes at most one.
    late = ((rows - mean) * camera.fps * energy.pace)[:, None].clamp(-1, 1)
    padded, count = pad(energy.values, (REACH, REACH), mode="replicate"), energy.values.shape[1]
    moved = torch.zeros_like(energy.values, dtype=torch.float64)
    for node in range(-REACH, REACH + 1):
        others = [other for other in range(-REACH, REACH + 1) if other != node]
        weight = torch.stack([(-late - other) / (node - other) for other in others]).prod(dim=0)
        moved += weight * padded[:, REACH + node : REACH + node + count]
    return replace(energy, values=moved.to(energy.values.dtype), late=mean)


def points_at_frames(
    points: Float64[Tensor, "T N 2"], visible: Bool[Tensor, "T N"], camera: Camera
) -> Float64[Tensor, "T N 2"]:
    """Tracked points where they were at the frames' own times, not when their rows were read.

    Each moves back by what its row is late, at the speed it has between that frame and the one before (or after, where
    it is early or was not seen before). The camera's own motion is in that speed, so it may move.

    Args:
        points: x and y in pixels, float64, shape [T, N, 2].
        visible: bool, shape [T, N].
        camera: that took them.
    """
    if camera.row_time == 0 or len(points) < 2:
        return points
    late = (points[..., 1] / camera.intrinsics.height - 0.5) * camera.row_time
    read = camera.frame_times[:, None] + late
    speed = points.diff(dim=0) / read.diff(dim=0).clamp_min(1e-6)[..., None]
    both = visible[1:] & visible[:-1]
    none = torch.zeros_like(visible[:1])
    before, after = torch.cat([none, both])[..., None], torch.cat([both, none])[..., None]
    arriving, leaving = torch.cat([speed[:1], speed]), torch.cat([speed, speed[-1:]])
    earlier = before & ((late > 0)[..., None] | ~after)
    velocity = torch.where(earlier, arriving, torch.where(after, leaving, torch.zeros_like(leaving)))
    return points - late[..., None] * velocity
