"""The stretch of time that all synchronised cameras filmed, and where it lies in each video."""

import math
from dataclasses import dataclass
from itertools import pairwise

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
    begin = max(float(result.offsets[camera]) for camera in known)
    end = min(
        float(result.offsets[camera]) + scene.cameras[camera].duration * (1 + _rate(result, camera)) for camera in known
    )
    if begin >= end:
        latest = max(known, key=lambda camera: float(result.offsets[camera]))
        raise UserError(
            f"{scene.root}: no moment was filmed by all cameras ('{result.names[latest]}' begins after another ends); "
            "leave it out with --exclude-cameras"
        )
    return begin, end


def cuts(scene: Scene, result: SyncResult) -> list[Cut]:
    """Where the common interval lies in each determined camera's video; equal counts at equal frame rates.

    Every frame of a copy is the one nearest to its moment, on a clock with a rate as well.
    """
    begin, end = common_interval(scene, result)
    known = (~result.offsets.isnan()).nonzero()[:, 0].tolist()
    places = {}
    for camera in known:
        fps, pace = scene.cameras[camera].fps, 1 + _rate(result, camera)
        places[camera] = (begin - float(result.offsets[camera])) * fps / pace
        first = math.floor(places[camera] + 0.5)
        # Rounding to the nearest frame may cost a frame at the far end; every camera stops where the shortest does.
        end = min(end, begin + (scene.cameras[camera].frame_count - 1 - first) / fps * pace)
    parts = []
    for camera in known:
        fps, pace = scene.cameras[camera].fps, 1 + _rate(result, camera)
        count = int((end - begin) * fps + 1e-6) + 1
        last = scene.cameras[camera].frame_count - 1
        frames = tuple(min(math.floor(places[camera] + step / pace + 0.5), last) for step in range(count))
        parts.append(Cut(camera, frames, frames[0] / fps * pace + float(result.offsets[camera]) - begin))
    return parts


def _rate(result: SyncResult, camera: int) -> float:
    return 0.0 if result.rates is None else float(result.rates[camera])
