"""Where things are at single moments: surfaces of visual hulls carved from the frames that the clocks put there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64, Shaped, UInt8
from torch import Tensor
from tqdm import tqdm

from syncnerf.scene.scene import Scene
from syncnerf.scene.visual_hull import grown
from syncnerf.starting.own_times import OwnTimes

LEAST_SHARE = 0.5
"""Share of the training cameras that must have seen a moment."""
FARTHEST_FRAME = 0.75
"""Frames that a moment may lie from the nearest one that shows it."""
GROWTH = 1
"""Pixels by which a frame's foreground is grown: the frame may be half a frame off the moment."""
NEAREST_CELLS = 2.0
"""A surface is seen where nothing lies so many cells before it."""
LOOKS, ROWS = 15, 16
"""Frames, evenly spaced, by which a camera's pixels are found to change or not; rows that are looked at at once."""
STILL = 0.08
"""Difference from a pixel's median over time, of colours in [0, 1], below which it shows what stands still."""
APART = 1
"""Cells from what stands still within which nothing moves."""
LAYERS = 30
"""Layers of cells, at most, that colours take away from what stands still."""
DISAGREEMENT, FEWEST_WITNESSES = 0.04, 4
"""Median difference from the cameras' median colour, in [0, 1], above which a cell is air; and how many must see it."""


@dataclass(frozen=True)
class ColouredPoints:
    """Points on surfaces, each at its own moment.

    Attributes:
        places: scene units, float32, shape [P, 3].
        times: scene times in seconds, float64, shape [P]; NaN for what stands still.
        colours: in [0, 1], float32, shape [P, 3].
    """

    places: Float32[Tensor, "P 3"]
    times: Float64[Tensor, " P"]
    colours: Float32[Tensor, "P 3"]

    def chosen(self, which: Shaped[Tensor, " K"]) -> ColouredPoints:
        """Some of the points, by a mask or numbers."""
        return ColouredPoints(self.places[which], self.times[which], self.colours[which])

    def and_also(self, others: ColouredPoints) -> ColouredPoints:
        """These points and others."""
        pairs = zip((self.places, self.times, self.colours), (others.places, others.times, others.colours), strict=True)
        return ColouredPoints(*(torch.cat(pair) for pair in pairs))


def moment_surfaces(
    scene: Scene,
    hull: Bool[Tensor, "X Y Z"],
    moments: Float64[Tensor, " J"],
    own_times: OwnTimes,
    tolerance: int = 10,
) -> ColouredPoints:
    """Surfaces of the scene at moments, carved from each training camera's nearest frame.

    What stands still is the surface of what is there at every moment, as far as its pixels hardly change; it is given
    once. Anything can stand before it now and then: the changes are medians over time.

    Args:
        scene: the scene; its background colour must be known and its cameras static.
        hull: cells of its box that may hold something at some time (:func:`syncnerf.scene.visual_hull.visual_hull`).
        moments: scene times in seconds, float64, shape [J]; those that too few cameras saw are left out.
        own_times: of the cameras at moments of the scene.
        tolerance: difference from the background, in grey levels of 255, that makes a pixel foreground.

    Returns:
        One point in the middle of each cell of the surfaces, in the median colour of the cameras that see it.
    """
    cells = hull.nonzero()
    low, high = scene.bounds.double()
    size = (high - low) / torch.tensor(hull.shape)
    centres, side = low + (cells + 0.5) * size, float(size.max())
    views = [_Sight(scene, index, centres, tolerance) for index in scene.train]
    always, insides = torch.ones(len(cells), dtype=torch.bool), {}
    for moment in tqdm(moments.tolist(), desc="carving moments", leave=False):
        seeing = _seeing(views, moment, own_times)
        if len(seeing) >= LEAST_SHARE * len(views):
            insides[moment] = inside = torch.ones(len(cells), dtype=torch.bool)
            for view, frame in seeing:
                inside &= view.may_hold(frame)
            always &= inside
    lasting = [(view, view.median) for view in views]
    solid = _carved_by_colour(lasting, always, cells, hull.shape, side)
    still, change = _surface_points(lasting, on_surface(solid, cells, hull.shape), centres, side)
    parts = [still.chosen(change < STILL)]
    beside = ~_near(parts[0].places, scene.bounds, hull.shape)
    for moment, inside in insides.items():
        # What was always there and yet looks different from every side is air between other things.
        surface = on_surface(inside & (solid | ~always), cells, hull.shape)
        points, change = _surface_points(_seeing(views, moment, own_times), surface, centres, side)
        points.times.fill_(moment)
        moving = (change >= STILL) & beside[_cells_of(points.places, scene.bounds, hull.shape)]
        parts.append(points.chosen(moving))
    return ColouredPoints(
        torch.cat([part.places for part in parts]),
        torch.cat([part.times for part in parts]),
        torch.cat([part.colours for part in parts]),
    )


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


def _carved_by_colour(
    seeing: list[tuple[_Sight, Tensor]], inside: Tensor, cells: Tensor, shape: torch.Size, side: float
) -> Tensor:
    """What is left of cells when those on the surface go, again and again, whose colour the cameras disagree on.

    Space carving (Kutulakos and Seitz, IJCV 2000), with medians instead of means.
    """
    inside = inside.clone()
    for _ in range(LAYERS):
        surface = on_surface(inside, cells, shape)
        colours = torch.stack([view.facts(frame, surface, side)[:, :3] for view, frame in seeing])
        apart = (colours - colours.nanmedian(dim=0).values).abs().mean(dim=-1).nanmedian(dim=0).values
        wrong = (apart > DISAGREEMENT) & (colours[..., 0].isfinite().sum(dim=0) >= FEWEST_WITNESSES)
        if not bool(wrong.any()):
            break
        inside[surface[wrong]] = False
    return inside


def _seeing(views: list[_Sight], moment: float, own_times: OwnTimes) -> list[tuple[_Sight, Tensor]]:
    """Cameras that saw a moment (seconds of the scene), each with its nearest frame."""
    found = [(view, view.frame_at(own_times(view.camera, moment))) for view in views]
    return [(view, frame) for view, frame in found if frame is not None]


def _cells_of(places: Tensor, bounds: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor, Tensor]:
    """Cells of a box of a shape that points [P, 3] lie in, int64 indices [P] along each axis."""
    low, high = bounds
    return ((places - low) / (high - low) * torch.tensor(shape)).long().unbind(-1)


def _near(places: Tensor, bounds: Tensor, shape: torch.Size) -> Tensor:
    """Cells of a box within :data:`APART` cells of points [P, 3], bool, of a shape."""
    occupied = torch.zeros(shape)
    occupied[_cells_of(places, bounds, shape)] = 1.0
    return torch.nn.functional.max_pool3d(occupied[None], 2 * APART + 1, stride=1, padding=APART)[0] > 0


def _surface_points(
    seeing: list[tuple[_Sight, Tensor]], surface: Tensor, centres: Tensor, side: float
) -> tuple[ColouredPoints, Tensor]:
    """Points in cells (numbers [S]), as far as a camera sees them in its frame, and how much they change, shape [P]."""
    facts = torch.stack([view.facts(frame, surface, side) for view, frame in seeing]).nanmedian(dim=0).values
    known = facts[:, 3].isfinite()
    places = centres[surface][known].float()
    return ColouredPoints(places, torch.full((len(places),), torch.nan).double(), facts[known, :3]), facts[known, 3]


class _Sight:
    """Where a static camera sees points, and what its frames show there."""

    def __init__(self, scene: Scene, index: int, points: Tensor, tolerance: int):
        self.camera, own = index, scene.cameras[index]
        self.frames, self.times, self.tolerance = scene.frames(index), own.frame_times, tolerance
        self.background = torch.tensor(scene.background) * 255.0
        self.median, change = usual_picture(self.frames)
        self.change = change.reshape(-1) / 255.0
        self.height, self.width = own.intrinsics.height, own.intrinsics.width
        pixel, depth, inside = own.pixels_of(points)
        # Every camera's are kept: in few bytes.
        self.pixel, self.depth, self.outside = pixel.int(), depth.float(), ~inside

    def frame_at(self, time: float) -> Tensor | None:
        """The frame nearest to a time on the camera's own clock, float32 [H, W, 3] to 255; None for none."""
        (nearest,), (filmed,) = nearest_frames(self.times, torch.tensor([time], dtype=torch.float64))
        return torch.from_numpy(self.frames[int(nearest)].copy()).float() if filmed else None

    def may_hold(self, frame: Tensor) -> Tensor:
        """Which points the camera does not see as background, bool, shape [P]."""
        return self.outside | grown(self._foreground(frame), GROWTH).reshape(-1)[self.pixel]

    def facts(self, frame: Tensor, surface: Tensor, side: float) -> Tensor:
        """Colours in [0, 1] of points (numbers [S]) and how far their pixels are from their medians, shape [S, 4].

        NaN where they are not seen.
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


def looks_at(count: int) -> list[int]:
    """Numbers of :data:`LOOKS` of so many frames, evenly spaced; of all where there are fewer."""
    return np.linspace(0, count - 1, min(LOOKS, count)).round().astype(int).tolist()


def usual_picture(frames: UInt8[np.ndarray, "T H W 3"]) -> tuple[Float32[Tensor, "H W 3"], Float32[Tensor, "H W"]]:
    """What a static camera's pixels usually show, in the looks at its frames, and how far they usually are from that.

    Returns:
        Medians over time: of the colours, and of the largest difference of a channel from those; grey levels of 255,
        shape [H, W, 3] and [H, W].
    """
    looks = looks_at(len(frames))
    median, change = torch.empty(frames.shape[1:]), torch.empty(frames.shape[1:3])
    # A few rows at once: what stays would leave the room of whole pictures in pieces, camera by camera.
    for top in range(0, len(median), ROWS):
        band = np.s_[top : top + ROWS]
        pictures = torch.from_numpy(frames[looks, band]).float()
        median[band] = pictures.median(dim=0).values
        change[band] = (pictures - median[band]).abs().amax(dim=-1).median(dim=0).values
    return median, change


def on_surface(inside: Bool[Tensor, " M"], cells: Int64[Tensor, "M 3"], shape: torch.Size) -> Int64[Tensor, " K"]:
    """Numbers of the cells inside of which a neighbour is not, int64."""
    grid = torch.zeros(shape, dtype=torch.bool)
    grid[cells[:, 0], cells[:, 1], cells[:, 2]] = inside
    padded = torch.nn.functional.pad(grid, (1,) * 6)
    core = padded.clone()
    for axis in range(3):
        core &= padded.roll(1, axis) & padded.roll(-1, axis)
    covered = core[1:-1, 1:-1, 1:-1][cells[:, 0], cells[:, 1], cells[:, 2]]
    return (inside & ~covered).nonzero()[:, 0]
