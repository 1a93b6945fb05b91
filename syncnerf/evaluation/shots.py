"""Pictures for people: frames of test cameras and of camera paths, rendered one block after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor
from tqdm import tqdm

from syncnerf.modes import evaluation_mode
from syncnerf.questions import COLOURS, SHOWN, SHOWN_EXTRAS, Rendering
from syncnerf.scene.camera import Camera
from syncnerf.scene.scene import Scene
from syncnerf.scene.views import Views
from syncnerf.synced import SyncedBackend

PIXELS_AT_ONCE = 2**24
"""Pixels of rendered images, with all that is kept of each (44 bytes), that are in memory at a time."""


@dataclass(frozen=True)
class Shot:
    """Frames to be rendered one after the other.

    Attributes:
        name: of the video, and of the progress bar.
        camera: intrinsics and poses; a path is a camera with one pose per frame.
        frames: the frames whose poses are taken, F of them.
        times: seconds at which they are rendered, float64, shape [F].
        near: distance from the camera at which the scene may begin.
        far: distance at which it ends.
        clock: global index of the camera on whose own clock ``times`` are, its rows read out as that has it; None for
            scene time.
        detailed: frames that should come with depth, accumulation and the field's static and dynamic parts; others may.
        readout: seconds of scene time from the first row to the last, where ``clock`` is None.
    """

    name: str
    camera: Camera
    frames: Sequence[int]
    times: Float64[Tensor, " F"]
    near: float
    far: float
    clock: int | None = None
    detailed: frozenset[int] = frozenset()
    readout: float = 0.0

    @classmethod
    def of_camera(cls, scene: Scene, index: int, frames: Sequence[int], name: str = "", own_clock: bool = True) -> Shot:
        """Frames of a scene's camera at its own times: as its clock has them now, or as if its offset were 0."""
        camera = scene.cameras[index]
        times = camera.frame_times[list(frames)]
        clock = index if own_clock else None
        return cls(
            name or camera.name, camera, frames, times, scene.near, scene.far, clock, readout=camera.row_time
        )


@dataclass
class Picture:
    """A view that was rendered, on the CPU.

    Attributes:
        rgb: colours in [0, 1], float32, shape [H, W, 3].
        depth: expected distance along each pixel's ray, float32, shape [H, W]; None where it was not wanted.
        accumulation: opacity in [0, 1], float32, shape [H, W]; None likewise.
        extras: ``static_rgb`` and ``dynamic_rgb`` [H, W, 3], where the backend gives them.
    """

    rgb: Float32[Tensor, "H W 3"]
    depth: Float32[Tensor, "H W"] | None = None
    accumulation: Float32[Tensor, "H W"] | None = None
    extras: dict[str, Float32[Tensor, "H W 3"]] = field(default_factory=dict)


def render_shot(synced: SyncedBackend, shot: Shot, progress: bool = True) -> Iterator[Picture]:
    """Render the images of a shot one after the other, without gradients and in evaluation mode.

    Where the backend likes several moments at once and the camera stands still, so many frames are rendered together;
    only these are in memory.

    Args:
        synced: clock and field, schedules already at the step to render.
        shot: what to render.
        progress: whether there is a bar.

    Yields:
        One picture for each frame, in order.
    """
    camera, times = shot.camera, shot.times.to(device=synced.device, dtype=torch.float64)
    size = camera.intrinsics
    block = max(1, min(synced.backend.times_at_once, PIXELS_AT_ONCE // (size.width * size.height)))
    block = 1 if camera.is_moving else block
    with tqdm(total=len(shot.frames), desc=shot.name, unit="frame", leave=False, disable=not progress) as bar:
        for start in range(0, len(shot.frames), block):
            place = slice(start, start + block)
            rendering = _render_block(synced, shot, shot.frames[place], times[place])
            for index in range(len(times[place])):
                yield _picture(rendering, index)
                bar.update()


@torch.no_grad()
def _render_block(synced: SyncedBackend, shot: Shot, frames: Sequence[int], times: Tensor) -> Rendering:
    """One pose of a shot at its times [T]: pixels [1, height, width, T], or [1, height, width] of a single time."""
    views = Views.of(shot.camera, frames[:1], shot.near, shot.far).to(synced.device)
    wanted = COLOURS if shot.detailed.isdisjoint(frames) else SHOWN
    times = times[None] if synced.backend.times_at_once > 1 else times
    with evaluation_mode(synced):
        if shot.clock is None:
            return synced.backend(synced.at_scene_time(views, times, wanted, shot.readout))
        return synced.backend(synced.of_camera(shot.clock, views, times, wanted))


def evaluated_frames(frame_count: int, wanted: int) -> list[int]:
    """Numbers of ``wanted`` evenly spaced frames, first and last included; all frames for 0 or more than there are."""
    if wanted <= 0 or wanted >= frame_count:
        return list(range(frame_count))
    return sorted({round(value) for value in torch.linspace(0, frame_count - 1, wanted, dtype=torch.float64).tolist()})


def own_pace(camera: Camera, frames: Sequence[int]) -> float:
    """Frames per second at which a video of some of a camera's frames lasts as long as the camera's own."""
    return camera.fps * len(frames) / camera.frame_count


def _picture(rendering: Rendering, index: int) -> Picture:
    """The picture of one of a rendering's moments."""

    def shown(value: Float[Tensor, "*pixels"] | None, channels: int = 0) -> Float32[Tensor, "*picture"] | None:
        if value is None:
            return None
        # A part that does not change (static_rgb) may come without the dimension of time.
        moments = value.ndim - channels == 4
        return (value[0, :, :, index] if moments else value[0]).float().cpu()

    names = [name for name in SHOWN_EXTRAS if name in rendering.extras]
    parts = {name: shown(rendering.extras[name], 1).clamp(0.0, 1.0) for name in names}
    rgb = shown(rendering.rgb, 1).clamp(0.0, 1.0)
    return Picture(rgb, shown(rendering.depth), shown(rendering.accumulation), parts)
