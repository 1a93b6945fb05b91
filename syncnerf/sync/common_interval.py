"""The stretch of time that all synchronised cameras filmed, and where it lies in each video."""

from dataclasses import dataclass

from syncnerf.errors import UserError
from syncnerf.scene import Scene
from syncnerf.sync.result import SyncResult


@dataclass(frozen=True)
class Cut:
    """The part of one camera's video inside the common interval.

    Attributes:
        camera: global index.
        first_frame: index of the frame nearest to the interval's beginning.
        frames: number of frames from there.
        remainder: how much later than the interval's beginning the first frame was exposed, seconds; at most half a
            frame either way.
    """

    camera: int
    first_frame: int
    frames: int
    remainder: float


def common_interval(scene: Scene, result: SyncResult) -> tuple[float, float]:
    """Beginning and end, in seconds of scene time, of what all determined cameras filmed.

    Raises:
        UserError: there is no such time.
    """
    known = (~result.offsets.isnan()).nonzero()[:, 0].tolist()
    begin = max(float(result.offsets[camera]) for camera in known)
    end = min(float(result.offsets[camera]) + scene.cameras[camera].duration for camera in known)
    if begin >= end:
        latest = max(known, key=lambda camera: float(result.offsets[camera]))
        raise UserError(
            f"{scene.root}: no moment was filmed by all cameras ('{result.names[latest]}' begins after another ends); "
            "leave it out with --exclude-cameras"
        )
    return begin, end


def cuts(scene: Scene, result: SyncResult) -> list[Cut]:
    """Where the common interval lies in each determined camera's video; equal counts at equal frame rates."""
    begin, end = common_interval(scene, result)
    known = (~result.offsets.isnan()).nonzero()[:, 0].tolist()
    firsts = {}
    for camera in known:
        fps, offset = scene.cameras[camera].fps, float(result.offsets[camera])
        firsts[camera] = max(0, round((begin - offset) * fps))
        # Rounding to the nearest frame may cost a frame at the far end; every camera stops where the shortest does.
        end = min(end, begin + (scene.cameras[camera].frame_count - 1 - firsts[camera]) / fps)
    parts = []
    for camera in known:
        fps, offset = scene.cameras[camera].fps, float(result.offsets[camera])
        frames = int((end - begin) * fps + 1e-6) + 1
        parts.append(Cut(camera, firsts[camera], frames, firsts[camera] / fps + offset - begin))
    return parts
