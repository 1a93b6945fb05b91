"""What flies too fast for its frames: where it is at a moment and how it moves, carved out of places and velocities.

No two cameras film it at the same place. A place and a velocity together tell where it is in every frame around the
moment: those are kept that all frames agree on (after the six-dimensional carving of Vedula et al., ICCV 2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor
from tqdm import tqdm

from syncnerf.scene.scene import Scene
from syncnerf.starting.carving import COARSENESS, Space, coarse_cells, fine_surface
from syncnerf.starting.films import Film, Shot
from syncnerf.starting.own_times import OwnTimes
from syncnerf.starting.spins import spun

FAST = 3.0
"""Pixels from frame to frame below which nothing flies: frames half a step off the moment are good enough."""
SPEEDS = 7
"""Velocities that are tried along each axis at first; they are refined twice."""
COARSE_SUPPORT = 0.8
"""Share of the frames around a moment that must show what flies where its velocity is looked for."""
COLOUR_WEIGHT, MOST_CHANGE = 2.0, 0.3
"""Cost of a difference of colour between a camera's frames, where absence from all frames costs 1; differences above
the second number cost no more."""
TOGETHER = 1.8
"""Coarse cells nearer to each other than so many sides move alike."""


@dataclass(frozen=True)
class FlyingPoints:
    """Points on what flies, each at its own moment.

    Attributes:
        places: scene units.
        times: scene times in seconds.
        colours: in [0, 1].
        velocities: scene units per second.
    """

    places: Float32[Tensor, "P 3"]
    times: Float64[Tensor, " P"]
    colours: Float32[Tensor, "P 3"]
    velocities: Float32[Tensor, "P 3"]


@torch.no_grad()
def flying_points(
    scene: Scene, hull: Bool[Tensor, "X Y Z"], moments: Float64[Tensor, " J"], own_times: OwnTimes
) -> FlyingPoints | None:
    """Surfaces and velocities of what flies at moments; None where nothing is too fast for its frames.

    Args:
        scene: the scene; its background colour must be known and its cameras static.
        hull: cells of its box that may hold something at some time.
        moments: scene times in seconds.
        own_times: of the cameras at moments of the scene.
    """
    films = [Film(scene, index) for index in scene.train]
    fastest = max(film.fastest() for film in films)
    if fastest < FAST:
        return None
    space = Space.of(scene.bounds, hull)
    speed = max(fastest * space.distance(film) / film.focal for film in films)
    parts = []
    for moment in tqdm(moments.tolist(), desc="carving what flies", leave=False):
        shots = [shot for film in films for shot in film.shots(own_times(film.camera, moment))]
        if len(shots) < len(films):
            continue
        cells, velocities = _coarse_velocities(space, shots, speed)
        if len(cells):
            places, colours, own = fine_surface(space, shots, cells, velocities)
            steps = spun(shots, places, own, space.side)
            times = torch.full((len(places),), moment, dtype=torch.float64)
            parts.append((places, times, colours, steps / scene.frame_interval))
    return FlyingPoints(*(torch.cat(part) for part in zip(*parts, strict=True))) if parts else None


def _coarse_velocities(space: Space, shots: list[Shot], speed: float) -> tuple[Tensor, Tensor]:
    """Coarse cells [N, 3] that may hold something that flies, and its displacements from frame to frame [N, 3]."""
    cells, side = coarse_cells(space, shots, speed), COARSENESS * space.side
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


def _costs(shots: list[Shot], cells: Tensor, tried: Tensor) -> Tensor:
    """How little displacements [N, V, 3] of cells [N, 3] suit the frames, [N, V]."""
    absent = torch.zeros(tried.shape[:2])
    masks = [shot.grown(2) for shot in shots]
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
