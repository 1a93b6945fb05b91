"""A scene: cameras, their frames on disk, bounds, split and (where known) true offsets."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.scene.camera import Camera
from syncnerf.scene.forward_facing import faces_forward, ndc_box
from syncnerf.scene.frame_cache import FrameCache
from syncnerf.scene.resized import ResizedSource

Space = Literal["bounded", "contraction", "ndc"]


@dataclass
class Scene:
    """Everything that training, synchronisation and evaluation know about an input folder.

    Attributes:
        root: the folder it was read from.
        format: name of the reader, as in ``--dataset``.
        cameras: all cameras, test ones included; a camera's global index is its place here.
        frame_cache: decoded frames on disk.
        test: global indices of the cameras kept for evaluation.
        bounds: corners of the box that holds the scene, float32, shape [2, 3].
        near: distance from a camera at which the scene may begin.
        far: distance at which it ends.
        space: how a field should see the space: inside ``bounds``, contracted, or in normalised device coordinates.
        background: colour behind the scene in [0, 1] where it is known to be one colour, else None.
        true_offsets: ground truth in seconds, float64, shape [C], or None.
        true_rates: how much faster than nominal each clock runs in truth, float64, shape [C], or None.
        true_row_times: true seconds from each camera's first to its last row, float64, shape [C], or None.
        synchronised: the cameras' clocks agree by construction; offsets stay off.
        origin: where the origin of ``cameras`` and ``bounds`` lies in the files' coordinates, float64, shape [3]; zero
            unless the scene was moved because those are large (:mod:`syncnerf.scene.origin`).
    """

    root: Path
    format: str
    cameras: tuple[Camera, ...]
    frame_cache: FrameCache
    test: tuple[int, ...]
    bounds: Float32[Tensor, "2 3"]
    near: float
    far: float
    space: Space = "bounded"
    background: tuple[float, float, float] | None = None
    true_offsets: Float64[Tensor, " C"] | None = None
    true_rates: Float64[Tensor, " C"] | None = None
    true_row_times: Float64[Tensor, " C"] | None = None
    synchronised: bool = False
    origin: Float64[Tensor, " 3"] = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))
    _frames: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def train(self) -> tuple[int, ...]:
        """Global indices of the cameras that are trained on."""
        return tuple(i for i in range(len(self.cameras)) if i not in self.test)

    @property
    def reference(self) -> int:
        """Global index of the camera whose offset is exactly zero: the first training camera."""
        return self.train[0]

    @property
    def names(self) -> list[str]:
        """The cameras' names in global order."""
        return [camera.name for camera in self.cameras]

    @property
    def duration(self) -> float:
        """Longest camera's seconds from first frame to last."""
        return max(camera.duration for camera in self.cameras)

    @property
    def frame_interval(self) -> float:
        """Seconds between frames, the median over cameras; turns seconds into frames for display."""
        return float(np.median([1.0 / camera.fps for camera in self.cameras]))

    @property
    def field_bounds(self) -> Float32[Tensor, "2 3"]:
        """The box that a field should span, float32, shape [2, 3]: ``bounds``, or the box in device coordinates.

        Raises:
            UserError: normalised device coordinates were asked for, and the cameras do not face one way.
        """
        if self.space != "ndc":
            return self.bounds
        if any(camera.is_moving for camera in self.cameras) or not faces_forward(self.cameras):
            raise UserError(
                f"{self.root}: normalised device coordinates need static cameras that look along -Z (LLFF videos are "
                "turned so while they are read); choose --space contraction"
            )
        return ndc_box(self.cameras, self.cameras[0].intrinsics)

    def index_of(self, name: str) -> int:
        """Global index of the camera called ``name``; raises KeyError with the known names."""
        if name not in self.names:
            raise KeyError(f"no camera '{name}'; the scene has {', '.join(self.names)}")
        return self.names.index(name)

    def world_pose(self, camera: int, frame: int = 0) -> Float64[Tensor, "4 4"]:
        """Camera-to-world of a camera (global index) in the files' world, float64, shape [4, 4]."""
        pose = self.cameras[camera].pose(frame).clone()
        pose[:3, 3] += self.origin
        return pose

    def frames(self, camera: int) -> UInt8[np.ndarray, "T height width 3"]:
        """A camera's frames, uint8 RGB, shape [T, height, width, 3], memory-mapped and read-only.

        Decoded into the cache on first use.
        """
        if camera not in self._frames:
            self._frames[camera] = self.frame_cache.open(self.cameras[camera])
        return self._frames[camera]

    def resized(self, max_side: int) -> "Scene":
        """The scene with frames of at most ``max_side`` pixels a side, averaged down from this scene's cached ones.

        The same scene where its frames are small enough already.
        """
        cameras = []
        for camera in self.cameras:
            width, height = camera.intrinsics.width, camera.intrinsics.height
            factor = min(1.0, max_side / max(width, height))
            cameras.append(camera.resized(max(1, round(width * factor)), max(1, round(height * factor))))
        if all(small.intrinsics == large.intrinsics for small, large in zip(cameras, self.cameras, strict=True)):
            return self
        sources = {camera.name: ResizedSource(self.frame_cache, camera) for camera in self.cameras}
        cache = FrameCache(self.frame_cache.directory, sources)
        return replace(self, cameras=tuple(cameras), frame_cache=cache, _frames={})

    def summary(self) -> str:
        """A few lines for people: what was found."""
        first = self.cameras[0].intrinsics
        counts = sorted({camera.frame_count for camera in self.cameras})
        rates = sorted({camera.fps for camera in self.cameras})
        sizes = sorted({(c.intrinsics.width, c.intrinsics.height) for c in self.cameras})
        test_names = ", ".join(self.names[i] for i in self.test)
        lines = [
            f"scene        {self.root} ({self.format})",
            f"cameras      {len(self.cameras)} ({len(self.train)} train; test: {test_names})",
            f"frames       {' or '.join(map(str, counts))} at {' or '.join(f'{r:g}' for r in rates)} fps",
            f"size         {' or '.join(f'{w}x{h}' for w, h in sizes)}, focal length {first.focal_x:.1f} px",
            f"space        {self.space}, near {self.near:g}, far {self.far:g}, bounds {self._corners()}",
            f"background   {'unknown' if self.background is None else self.background}",
            f"true offsets {'in the scene folder' if self.true_offsets is not None else 'not known'}",
        ]
        return "\n".join(lines)

    def _corners(self) -> str:
        """The bounds in the files' world, as the option takes them."""
        # What single precision holds of the box, and no more.
        digits = 5 - math.floor(math.log10(float((self.bounds[1] - self.bounds[0]).max())))
        corners = (self.bounds.double() + self.origin).tolist()
        shown = (", ".join(f"{round(value, digits):.12g}" for value in corner) for corner in corners)
        return " .. ".join(f"({corner})" for corner in shown)
