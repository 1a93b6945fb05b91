"""What flies too fast for its frames: where it is at a moment and how it moves, carved out of places and velocities.

No two cameras film it at the same place. A place and a velocity together tell where it is in every frame around the
moment: those are kept that all frames agree on (after the six-dimensional carving of Vedula et al., ICCV 2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d, max_pool3d
from tqdm import tqdm

from syncnerf.scene.scene import Scene
from syncnerf.starting.surfaces import LOOKS, STILL, on_surface

PASSING = 0.1
"""Difference from a pixel's median over time, of colours in [0, 1], from which on it shows something that passes."""
FAST = 3.0
"""Pixels from frame to frame below which nothing flies: frames half a step off the moment are good enough."""
NEARLY_ALL = 0.98
"""Share of what passes that is no faster than the velocities that are tried."""
COARSENESS = 4
"""Cells along a side of those in which velocities are looked for."""
SPEEDS = 7
"""Velocities that are tried along each axis at first; they are refined twice."""
SUPPORT, COARSE_SUPPORT = 0.9, 0.8
"""Share of the frames around a moment that must show what flies, in the end and at first."""
COLOUR_WEIGHT, MOST_CHANGE = 2.0, 0.3
"""What a difference of colour between a camera's frames counts beside an absence, and the largest that counts more."""
TOGETHER = 1.8
"""Coarse cells nearer to each other than so many sides move alike."""
LINKED = 2.5
"""Cells within which points hang together, and displacements within which they move alike."""
LEAST_PIECE, ASKED = 60, 200
"""Points that make a piece that can spin, and those at most by which its spin is found."""
MOST_SPIN, SPINS = 0.6, 5
"""Radians from frame to frame that are tried about each axis, and how many between them at first."""
FRONT = 0.7
"""Cosine to the way to the camera from which on a piece's points are seen."""


@dataclass(frozen=True)
class FlyingPoints:
    """Points on what flies, each at its own moment.

    Attributes:
        places: scene units, float32, shape [P, 3].
        times: scene times in seconds, float64, shape [P].
        colours: in [0, 1], float32, shape [P, 3].
        velocities: scene units per second, float32, shape [P, 3].
    """

    places: Tensor
    times: Tensor
    colours: Tensor
    velocities: Tensor


class _Shot(NamedTuple):
    """A camera's frame near a moment: ``after`` it, in frames; what passes in it, and its colours (blurred)."""

    film: _Film
    after: float
    passing: Tensor
    colours: Tensor
    blurred: Tensor


@torch.no_grad()
def flying_points(scene: Scene, hull: Tensor, moments: Tensor, offsets: Tensor) -> FlyingPoints | None:
    """Surfaces and velocities of what flies at moments; None where nothing is too fast for its frames.

    Args:
        scene: the scene; its background colour must be known and its cameras static.
        hull: cells of its box that may hold something at some time, bool, shape [X, Y, Z].
        moments: scene times in seconds, float64, shape [J].
        offsets: what is added to a camera's own time, seconds, shape [C].
    """
    films = [_Film(scene, index) for index in scene.train]
    fastest = max(film.fastest() for film in films)
    if fastest < FAST:
        return None
    space = _Space.of(scene.bounds, hull)
    speed = max(fastest * space.distance(film) / film.focal for film in films)
    parts = []
    for moment in tqdm(moments.tolist(), desc="carving what flies", leave=False):
        shots = [shot for film in films for shot in film.shots(moment - float(offsets[film.camera]))]
        if len(shots) < len(films):
            continue
        cells, velocities = _coarse_velocities(space, shots, speed)
        if len(cells):
            places, colours, own = _fine_surface(space, shots, cells, velocities)
            steps = _spun(space, shots, places, own)
            times = torch.full((len(places),), moment, dtype=torch.float64)
            parts.append((places, times, colours, steps / scene.frame_interval))
    return FlyingPoints(*(torch.cat(part) for part in zip(*parts, strict=True))) if parts else None


class _Film:
    """A static camera's video, and what passes in it."""

    def __init__(self, scene: Scene, index: int):
        own = scene.cameras[index]
        self.camera, self.frames, self.times = index, scene.frames(index), own.frame_times
        self.height, self.width = own.intrinsics.height, own.intrinsics.width
        self.focal, self.centre = own.intrinsics.focal_x, own.pose(0)[:3, 3].float()
        self.projection = own.projection(0).float()
        looks = np.linspace(0, own.frame_count - 1, min(LOOKS, own.frame_count)).round().astype(int)
        pictures = torch.from_numpy(self.frames[looks]).float() / 255.0
        self.median = pictures.median(dim=0).values
        self.steady = (pictures - self.median).abs().amax(dim=-1).median(dim=0).values < STILL
        self.length = float(self.times.diff().median()) if own.frame_count > 1 else 1.0
        self.looks = looks.tolist()
        self.background = torch.tensor(scene.background)

    def passing(self, frame: int) -> tuple[Tensor, Tensor]:
        """Which pixels of a frame show what passes, bool [H, W], and its colours in [0, 1], [H, W, 3]."""
        colours = torch.from_numpy(self.frames[frame].copy()).float() / 255.0
        apart = torch.minimum(*((colours - other).abs().amax(dim=-1) for other in (self.median, self.background)))
        return (apart > PASSING) & self.steady, colours

    def fastest(self) -> float:
        """Pixels that nearly all of what passes moves at most from a frame to the next."""
        apart = []
        for frame in self.looks[:-1]:
            now, later = (self.passing(number)[0].nonzero().float() for number in (frame, frame + 1))
            if len(now) and len(later):
                apart.append(torch.cdist(now, later).amin(dim=1))
        return float(torch.cat(apart).quantile(NEARLY_ALL)) if apart else 0.0

    def shots(self, time: float) -> list[_Shot]:
        """The two frames around a time on the camera's clock, as far as there are any within a frame of it."""
        after = ((self.times - time) / self.length).tolist()
        found = []
        for frame in sorted(range(len(after)), key=lambda number: abs(after[number]))[:2]:
            if abs(after[frame]) <= 1.0:
                passing, colours = self.passing(frame)
                blurred = avg_pool2d(colours.permute(2, 0, 1), 3, 1, 1).permute(1, 2, 0)
                found.append(_Shot(self, after[frame], passing, colours.reshape(-1, 3), blurred.reshape(-1, 3)))
        return found

    def project(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels of places [..., 3] (0 outside the picture), their depths, and whether they are within it."""
        column, row, depth = (places @ self.projection[:, :3].T + self.projection[:, 3]).unbind(-1)
        column, row = (column / depth).floor(), (row / depth).floor()
        inside = (depth > 0) & (column >= 0) & (row >= 0) & (column < self.width) & (row < self.height)
        return torch.where(inside, row * self.width + column, 0.0).long(), depth, inside


@dataclass(frozen=True)
class _Space:
    """The box: its low corner, the size of its cells [3], and which of them may hold something."""

    low: Tensor
    size: Tensor
    hull: Tensor

    @classmethod
    def of(cls, bounds: Tensor, hull: Tensor) -> _Space:
        """The box with these bounds [2, 3] and cells."""
        low, high = bounds.float()
        return cls(low, (high - low) / torch.tensor(hull.shape), hull)

    def distance(self, film: _Film) -> float:
        """From a camera to the middle of the box."""
        return float((self.low + 0.5 * self.size * torch.tensor(self.hull.shape) - film.centre).norm())

    def coarse_cells(self) -> Tensor:
        """Middles of coarse cells that may hold something, [N, 3]."""
        some = max_pool3d(self.hull[None].float(), COARSENESS, ceil_mode=True)[0]
        return self.low + (some.nonzero() + 0.5) * (COARSENESS * self.size)

    @property
    def coarse_side(self) -> float:
        """Largest side of a coarse cell."""
        return COARSENESS * float(self.size.max())


def _coarse_velocities(space: _Space, shots: list[_Shot], speed: float) -> tuple[Tensor, Tensor]:
    """Coarse cells [N, 3] that may hold something that flies, and its displacements from frame to frame [N, 3]."""
    cells, side = space.coarse_cells(), space.coarse_side
    votes = torch.zeros(len(cells))
    for shot in shots:
        reach = (speed * abs(shot.after) + 0.5 * side) * shot.film.focal / space.distance(shot.film)
        pixel, _, inside = shot.film.project(cells)
        votes += ~inside | _grown(shot.passing, int(reach) + 1)[pixel]
    cells = cells[votes >= SUPPORT * len(shots)]
    if not len(cells):
        return cells, cells
    steps = torch.linspace(-speed, speed, SPEEDS)
    tried = torch.cartesian_prod(steps, steps, steps)
    tried = tried[tried.norm(dim=1) <= 1.1 * speed].expand(len(cells), -1, 3)
    near = (torch.cdist(cells, cells) < TOGETHER * side).float()
    around = torch.tensor(list(product((-1.0, 0.0, 1.0), repeat=3)))
    costs = (near / near.sum(dim=1, keepdim=True)) @ _costs(shots, cells, tried)
    for refinement in (0.5, 0.25):
        best = tried[torch.arange(len(cells)), costs.argmin(dim=1)]
        tried = best[:, None] + refinement * 2.0 * speed / (SPEEDS - 1) * around
        costs = _costs(shots, cells, tried)
    found = costs.min(dim=1)
    best = tried[torch.arange(len(cells)), found.indices]
    # At borders, as the surest neighbour moves.
    surest = torch.where(near > 0, found.values, torch.inf).argmin(dim=1)
    return cells, best[surest]


def _costs(shots: list[_Shot], cells: Tensor, tried: Tensor) -> Tensor:
    """How little displacements [N, V, 3] of cells [N, 3] suit the frames, [N, V]."""
    absent = torch.zeros(tried.shape[:2])
    masks = [_grown(shot.passing, 2) for shot in shots]
    for shot, mask in zip(shots, masks, strict=True):
        pixel, _, inside = shot.film.project(cells[:, None] + shot.after * tried)
        absent += inside & ~mask[pixel]
    absent /= len(shots)
    costs = absent + COLOUR_WEIGHT * MOST_CHANGE
    row, column = (absent <= 1.0 - COARSE_SUPPORT).nonzero().unbind(-1)
    where, change, pairs = cells[row], torch.zeros(len(row)), 0
    step = tried[row, column]
    for one, two in pairwise(shots):
        if one.film is two.film:
            seen = [shot.blurred[shot.film.project(where + shot.after * step)[0]] for shot in (one, two)]
            change += (seen[0] - seen[1]).abs().mean(dim=-1).clamp_max(MOST_CHANGE)
            pairs += 1
    costs[row, column] = absent[row, column] + COLOUR_WEIGHT * change / max(pairs, 1)
    return costs


def _fine_surface(
    space: _Space, shots: list[_Shot], cells: Tensor, steps: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Places, colours and displacements [P, 3] of the surface that is left of coarse cells with displacements."""
    ticks = torch.arange(COARSENESS)
    corner = ((cells - space.low) / space.size - 0.5 * COARSENESS).round().long()
    fine = (corner[:, None] + torch.cartesian_prod(ticks, ticks, ticks)).flatten(0, 1)
    steps = steps.repeat_interleave(COARSENESS**3, dim=0)
    inside = (fine < torch.tensor(space.hull.shape)).all(dim=1)
    fine, steps = fine[inside], steps[inside]
    places = space.low + (fine + 0.5) * space.size
    votes = torch.zeros(len(places))
    for shot in shots:
        pixel, _, visible = shot.film.project(places + shot.after * steps)
        votes += ~visible | _grown(shot.passing, 1)[pixel]
    solid = votes >= SUPPORT * len(shots)
    surface = on_surface(solid, fine, space.hull.shape)
    places, steps = places[surface], steps[surface]
    side = float(space.size.max())
    near = [_colours(shot, places + shot.after * steps, side) for shot in shots if abs(shot.after) <= 0.5]
    colours = torch.stack(near).nanmedian(dim=0).values
    known = colours.isfinite().all(dim=-1)
    return places[known], colours[known], steps[known]


def _spun(space: _Space, shots: list[_Shot], places: Tensor, steps: Tensor) -> Tensor:
    """Displacements [P, 3] of points [P, 3] as each piece spins by which a camera's frames agree best.

    Pieces are what hangs together and moves alike.
    """
    if not len(places):
        return steps
    side, steps = float(space.size.max()), steps.clone()
    alike = (torch.cdist(places, places) < LINKED * side) & (torch.cdist(steps, steps) < LINKED * side)
    label = torch.arange(len(places))
    while True:
        lowest = torch.where(alike, label, len(places)).amin(dim=1)
        lowest = lowest[lowest]
        if bool((lowest == label).all()):
            break
        label = lowest
    axes = torch.linspace(-MOST_SPIN, MOST_SPIN, SPINS)
    around = torch.tensor(list(product((-1.0, 0.0, 1.0), repeat=3)))
    for name in label.unique():
        piece = (label == name).nonzero()[:, 0]
        if len(piece) < LEAST_PIECE:
            continue
        some = places[piece[:: -(-len(piece) // ASKED)]]
        centre, step = places[piece].mean(dim=0), steps[piece].mean(dim=0)
        spins = torch.cartesian_prod(axes, axes, axes)
        for refinement in (1.0, 0.5, 0.25, 0.125):
            costs = _spin_costs(shots, some - centre, centre, step.expand(len(spins), 3), spins)
            spin = spins[costs.argmin()]
            moves = step + refinement * side * around
            step = moves[_spin_costs(shots, some - centre, centre, moves, spin.expand(len(moves), 3)).argmin()]
            spins = spin + refinement * MOST_SPIN / (SPINS - 1) * around
        arms = places[piece] - centre
        steps[piece] = step + torch.linalg.cross(spin.expand_as(arms), arms)
    return steps


def _spin_costs(shots: list[_Shot], arms: Tensor, centre: Tensor, steps: Tensor, spins: Tensor) -> Tensor:
    """Mean change of colour of points ``centre + arms`` [N, 3] under V motions: steps and spins [V, 3] a frame."""
    total, count = torch.zeros(len(spins)), 1e-6
    for one, two in pairwise(shots):
        if one.film is not two.film:
            continue
        towards = one.film.centre - centre
        front = arms @ towards > FRONT * arms.norm(dim=-1) * towards.norm()
        seen = []
        for shot in (one, two):
            turned = _turned(arms[front], shot.after * spins)
            pixel, _, _ = shot.film.project(centre + shot.after * steps[:, None] + turned)
            seen.append(shot.blurred[pixel])
        total += (seen[0] - seen[1]).abs().mean(dim=-1).sum(dim=1)
        count += int(front.sum())
    return total / count


def _turned(arms: Tensor, spins: Tensor) -> Tensor:
    """Points [N, 3] turned by rotation vectors [V, 3], shape [V, N, 3] (Rodrigues)."""
    angle = spins.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    axis = (spins / angle)[:, None]
    arms = arms.expand(len(spins), -1, 3)
    sine, cosine = angle.sin()[:, None], angle.cos()[:, None]
    along = (arms * axis).sum(dim=-1, keepdim=True)
    return cosine * arms + sine * torch.linalg.cross(axis.expand_as(arms), arms) + (1.0 - cosine) * along * axis


def _colours(shot: _Shot, places: Tensor, side: float) -> Tensor:
    """Colours [P, 3] of places in a frame; NaN where something lies before them."""
    film = shot.film
    pixel, depth, inside = film.project(places)
    # Cells are about a pixel wide: on half the pixels their depths leave no holes.
    across = film.width // 2 + 1
    place = pixel // film.width // 2 * across + pixel % film.width // 2
    nearest = torch.full((across * (film.height // 2 + 1),), torch.inf)
    nearest.scatter_reduce_(0, place, torch.where(inside, depth, torch.inf), "amin")
    seen = inside & (depth < nearest[place] + 2.0 * side) & shot.passing.reshape(-1)[pixel]
    return torch.where(seen[:, None], shot.colours[pixel], torch.nan)


def _grown(mask: Tensor, radius: int) -> Tensor:
    """A mask [H, W] grown by pixels, bool, shape [H * W]."""
    return max_pool2d(mask[None].float(), 2 * radius + 1, 1, radius).reshape(-1) > 0
