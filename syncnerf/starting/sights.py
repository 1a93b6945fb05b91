"""What static cameras see at points of the scene: their nearest frames, usual pictures, and facts about points."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from torch import Tensor

from syncnerf.scene.scene import Scene
from syncnerf.scene.visual_hull import grown

FARTHEST_FRAME = 0.75
"""Frames that a moment may lie from the nearest one that shows it."""
GROWTH = 1
"""Pixels by which a frame's foreground is grown: the frame may be half a frame off the moment."""
NEAREST_CELLS = 2.0
"""A surface is seen where nothing lies so many cells before it."""
LOOKS, ROWS = 15, 16
"""Frames, evenly spaced, by which a camera's pixels are found to change or not; rows that are looked at at once."""


class Sight:
    """Where a static camera sees points, and what its frames show there.

    Args:
        scene: cameras and frames; its background colour must be known.
        index: global index of the camera.
        points: P of them, in the world, float64, shape [P, 3].
        tolerance: difference from the background, in grey levels of 255, that makes a pixel foreground.
    """

    def __init__(self, scene: Scene, index: int, points: Float64[Tensor, "P 3"], tolerance: int):
        self.camera, own = index, scene.cameras[index]
        self.frames, self.times, self.tolerance = scene.frames(index), own.frame_times, tolerance
        self.background = torch.tensor(scene.background) * 255.0
        self.median, change = usual_picture(self.frames)
        self.change = change.reshape(-1) / 255.0
        self.height, self.width = own.intrinsics.height, own.intrinsics.width
        pixel, depth, inside = own.pixels_of(points)
        # Kept for every camera, hence the small types.
        self.pixel, self.depth, self.outside = pixel.int(), depth.float(), ~inside

    def frame_at(self, time: float) -> Float32[Tensor, "H W 3"] | None:
        """The frame nearest to a time on the camera's own clock, float32 [H, W, 3] to 255; None for none."""
        (nearest,), (filmed,) = nearest_frames(self.times, torch.tensor([time], dtype=torch.float64))
        return torch.from_numpy(self.frames[int(nearest)].copy()).float() if filmed else None

    def may_hold(self, frame: Float32[Tensor, "H W 3"]) -> Bool[Tensor, " P"]:
        """Which points the camera does not see as background, bool, shape [P]."""
        return self.outside | grown(self._foreground(frame), GROWTH).reshape(-1)[self.pixel]

    def facts(
        self, frame: Float32[Tensor, "H W 3"], surface: Int64[Tensor, " S"], side: float
    ) -> Float32[Tensor, "S 4"]:
        """Colours of some of the points, and how far their pixels are from their medians; both in [0, 1].

        Args:
            frame: of :meth:`frame_at`.
            surface: numbers of the points, int64, shape [S].
            side: of a cell, scene units; a point is hidden by others that lie two cells before it.

        Returns:
            Red, green, blue and the distance, float32, shape [S, 4]; NaN where a point is not seen.
        """
        pixel, depth, outside = self.pixel[surface].long(), self.depth[surface], self.outside[surface]
        # Cells are about a pixel wide: on half the pixels their depths leave no holes.
        across = self.width // 2 + 1
        place = pixel // self.width // 2 * across + pixel % self.width // 2
        nearest = torch.full((across * (self.height // 2 + 1),), torch.inf, dtype=depth.dtype)
        nearest.scatter_reduce_(0, place, torch.where(outside, torch.inf, depth), "amin")
        # Where the mask was grown, a pixel shows what lies behind.
        seen = ~outside & (depth < nearest[place] + NEAREST_CELLS * side) & self._foreground(frame).reshape(-1)[pixel]
        colours = frame.reshape(-1, 3)[pixel]
        passing = (colours - self.median.reshape(-1, 3)[pixel]).abs().amax(dim=-1) / 255.0
        facts = torch.cat([colours / 255.0, torch.maximum(self.change[pixel], passing)[:, None]], dim=-1)
        return torch.where(seen[:, None], facts, torch.nan)

    def _foreground(self, frame: Tensor) -> Tensor:
        return (frame - self.background).abs().amax(dim=-1) > self.tolerance


def nearest_frames(
    own: Float64[Tensor, " T"], times: Float64[Tensor, " P"]
) -> tuple[Int64[Tensor, " P"], Bool[Tensor, " P"]]:
    """Numbers of a camera's frames nearest to times on its clock, int64 [P], and whether they show these, bool [P].

    Args:
        own: the frames' times, float64, shape [T].
        times: float64, shape [P].
    """
    apart, nearest = (times[:, None] - own).abs().min(dim=1)
    # A lone frame has no neighbours (the median is NaN), and shows every time.
    return nearest, ~(apart > FARTHEST_FRAME * own.diff().median())


def frames_looked_at(count: int) -> list[int]:
    """Numbers of :data:`LOOKS` frames out of ``count``, evenly spaced; of all where there are fewer."""
    return np.linspace(0, count - 1, min(LOOKS, count)).round().astype(int).tolist()


def usual_picture(frames: UInt8[np.ndarray, "T H W 3"]) -> tuple[Float32[Tensor, "H W 3"], Float32[Tensor, "H W"]]:
    """What a static camera's pixels usually show, in the looks at its frames, and how far they usually are from that.

    Returns:
        Medians over time: of the colours, and of the largest difference of a channel from those; grey levels of 255,
        shape [H, W, 3] and [H, W].
    """
    looks = frames_looked_at(len(frames))
    median, change = torch.empty(frames.shape[1:]), torch.empty(frames.shape[1:3])
    # A few rows at a time: between whole pictures what is kept would fragment the heap, camera by camera.
    for top in range(0, len(median), ROWS):
        band = np.s_[top : top + ROWS]
        pictures = torch.from_numpy(frames[looks, band]).float()
        median[band] = pictures.median(dim=0).values
        change[band] = (pictures - median[band]).abs().amax(dim=-1).median(dim=0).values
    return median, change
