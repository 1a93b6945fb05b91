"""Reading a scene camera by camera, frames as they are stored, to write a changed copy of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from syncnerf.errors import UserError
from syncnerf.scene import Camera, Scene, load_scene
from syncnerf.scene.frame_cache import FrameSource
from syncnerf.scene.rgb_frames import UPRIGHT, RgbConverter
from syncnerf.scene.video import probe_video


@dataclass(frozen=True)
class SourceCamera:
    """One camera of the source.

    Attributes:
        camera: as the product reads it: its name, clock and frame count.
        frames_of: its frames.
        entry: its entry in the copy's ``transforms.json``.
        offset: true offset in seconds, 0 where it is not known.
        as_stored: the entry describes the pictures as they are stored, neither resampled nor undistorted.
    """

    camera: Camera
    frames_of: FrameSource
    entry: dict[str, Any]
    offset: float
    as_stored: bool

    @property
    def begun(self) -> np.ndarray:
        """When each frame's exposure began, in seconds on the camera's own clock, float64 [T]."""
        return self.camera.frame_times.numpy() - 0.5 * self.camera.exposure

    def frames(self) -> Iterator[av.VideoFrame | np.ndarray]:
        """All frames in order: decoded, or as uint8 RGB [height, width, 3] where they had to be changed."""
        if not self.as_stored:
            yield from self.frames_of.decode(self.camera.intrinsics)
            return
        for path in (self.frames_of.path, *self.frames_of.chapters):
            properties = probe_video(path)
            turned = properties.traits.orientation != UPRIGHT
            to_rgb = RgbConverter(properties.width, properties.height, properties.traits)
            try:
                with av.open(str(path)) as container:
                    for frame in container.decode(container.streams[properties.stream]):
                        yield to_rgb(frame) if turned else frame
            except av.FFmpegError as error:
                raise UserError(f"{path}: decoding failed ({error}); copy or encode it again") from None


def read_source(source: Path) -> tuple[dict[str, Any], list[SourceCamera]]:
    """What the copy's ``transforms.json`` should hold beside its cameras, and the cameras in order.

    Entries of a ``transforms.json`` with a video per camera are handed on as they are, other formats are described
    anew by what was read: undistorted pictures at the size that is usual for the format.

    Raises:
        UserError: the scene cannot be read, or its cameras cannot be out of step.
    """
    scene = load_scene(source)
    if scene.synchronised:
        raise UserError(f"{source}: shows each moment from one place only; there is nothing to put out of step")
    as_stored = scene.format == "blender-video"
    shared, entries = _stated(source / "transforms.json") if as_stored else _described(scene)
    offsets = [0.0] * len(scene.cameras) if scene.true_offsets is None else scene.true_offsets.tolist()
    sources = [scene.frame_cache.sources[name] for name in scene.names]
    parts = zip(scene.cameras, sources, entries, offsets, strict=True)
    return shared, [SourceCamera(*part, as_stored) for part in parts]


def _stated(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a ``transforms.json`` holds beside its cameras, and their entries."""
    record = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in record.items() if key != "frames"}, record["frames"]


def _described(scene: Scene) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same, made of what was read."""
    entries = []
    for index, camera in enumerate(scene.cameras):
        size = camera.intrinsics
        entry = {"w": size.width, "h": size.height, "fl_x": size.focal_x, "fl_y": size.focal_y}
        entry |= {"cx": size.centre_x, "cy": size.centre_y}
        if camera.is_moving:
            entry["transform_matrices"] = [scene.world_pose(index, k).tolist() for k in range(camera.frame_count)]
        entry["transform_matrix"] = scene.world_pose(index).tolist()
        entries.append(entry | {"row_time": camera.row_time, "exposure": camera.exposure})
    bounds = (scene.bounds.double() + scene.origin).tolist()
    return {"bounds": bounds, "near": scene.near, "far": scene.far}, entries
