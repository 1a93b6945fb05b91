"""The stretch of time that all synchronised cameras filmed, and where it lies in each video."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.scene import Scene
from syncnerf.sync.result import SyncResult


@dataclass(frozen=True)
class Cut:
    """The part of one camera's video inside the common interval.

    Attributes:
        camera: global index.
        frames: indices of the frames that the copy shows, one by one; consecutive, unless the clock has a rate: then
            one is left out or shown twice from time to time.
        remainder: how much later than the interval's beginning the first frame was exposed, seconds; at most half a
            frame either way.
    """

    camera: int
    frames: tuple[int, ...]
    remainder: float

    @property
    def left_out(self) -> list[int]:
        """Frames between the first and the last that the copy does not show."""
        return sorted(set(range(self.frames[0], self.frames[-1])) - set(self.frames))

    @property
    def repeated(self) -> list[int]:
        """Frames that the copy shows twice."""
        return [index for index, following in pairwise(self.frames) if index == following]


def common_interval(scene: Scene, result: SyncResult) -> tuple[float, float]:
    """Beginning and end, in seconds of scene time, of what all determined cameras filmed.

    Raises:
        UserError: there is no such time.
    """
    known = (~result.offsets.isnan()).nonzero()[:, 0].tolist()
    times = {camera: scene_times(scene, result, camera) for camera in known}
    begin = max(float(own[0]) for own in times.values())
    end = min(float(own[-1]) for own in times.values())
    if begin >= end:
        latest = max(known, key=lambda camera: float(times[camera][0]))
        raise UserError(
            f"{scene.root}: no moment was filmed by all cameras ('{result.names[latest]}' begins after another ends); "
            "leave it out with --exclude-cameras"
        )
    return begin, end


def scene_times(scene: Scene, result: SyncResult, camera: int) -> Float64[Tensor, " T"]:
    """When each frame of a determined camera was exposed, in seconds of scene time, float64, shape [T]."""
    rate = 0.0 if result.rates is None else float(result.rates[camera])
    return (1 + rate) * scene.cameras[camera].frame_times + result.offsets[camera]


def cuts(scene: Scene, result: SyncResult) -> list[Cut]:
    """Where the common interval lies in each determined camera's video; equal counts at equal frame rates.

    Every frame of a copy is the one nearest to its moment, whatever its clock's rate, and whether or not its frames are
    evenly spaced in time.
    """
    begin, end = common_interval(scene, result)
    parts = []
    for camera in (~result.offsets.isnan()).nonzero()[:, 0].tolist():
        times, fps = scene_times(scene, result, camera), scene.cameras[camera].fps
        moments = begin + torch.arange(int((end - begin) * fps + 1e-6) + 1, dtype=torch.float64) / fps
        # Of two frames equally near it is the later one, and rounding does not change that from moment to moment.
        frames = torch.searchsorted(0.5 * (times[1:] + times[:-1]), moments + 1e-9)
        parts.append(Cut(camera, tuple(frames.tolist()), float(times[frames[0]]) - begin))
    return parts
