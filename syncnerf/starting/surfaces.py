"""Where things are at single moments: surfaces of visual hulls carved from the frames that the clocks put there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Float64, Int64, Shaped
from torch import Tensor
from tqdm import tqdm

from syncnerf.scene.scene import Scene
from syncnerf.starting.own_times import OwnTimes
from syncnerf.starting.sights import Sight

LEAST_SHARE = 0.5
"""Share of the training cameras that must have seen a moment."""
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
    views = [Sight(scene, index, centres, tolerance) for index in scene.train]
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


def _carved_by_colour(
    seeing: list[tuple[Sight, Tensor]], inside: Tensor, cells: Tensor, shape: torch.Size, side: float
) -> Tensor:
    """What is left of the cells when surface cells on whose colours cameras disagree are removed, layer by layer.

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


def _seeing(views: list[Sight], moment: float, own_times: OwnTimes) -> list[tuple[Sight, Tensor]]:
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
    seeing: list[tuple[Sight, Tensor]], surface: Tensor, centres: Tensor, side: float
) -> tuple[ColouredPoints, Tensor]:
    """Points in cells (numbers [S]), as far as a camera sees them in its frame, and how much they change, shape [P]."""
    facts = torch.stack([view.facts(frame, surface, side) for view, frame in seeing]).nanmedian(dim=0).values
    known = facts[:, 3].isfinite()
    places = centres[surface][known].float()
    return ColouredPoints(places, torch.full((len(places),), torch.nan).double(), facts[known, :3]), facts[known, 3]


def on_surface(inside: Bool[Tensor, " M"], cells: Int64[Tensor, "M 3"], shape: torch.Size) -> Int64[Tensor, " K"]:
    """Numbers of the inside cells that have a neighbour outside, int64."""
    grid = torch.zeros(shape, dtype=torch.bool)
    grid[cells[:, 0], cells[:, 1], cells[:, 2]] = inside
    padded = torch.nn.functional.pad(grid, (1,) * 6)
    core = padded.clone()
    for axis in range(3):
        core &= padded.roll(1, axis) & padded.roll(-1, axis)
    covered = core[1:-1, 1:-1, 1:-1][cells[:, 0], cells[:, 1], cells[:, 2]]
    return (inside & ~covered).nonzero()[:, 0]
