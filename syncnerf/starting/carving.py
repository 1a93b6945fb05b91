"""Carving cells by what passes in frames around a moment: from coarse cells to the surface in fine ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool3d

from syncnerf.starting.films import Film, Shot
from syncnerf.starting.surfaces import on_surface

COARSENESS = 4
"""Fine cells along a side of a coarse one."""
SUPPORT = 0.9
"""Share of the frames that see a cell in which something must pass there."""
LEAST_SEEING, LEAST_TELLING = 0.5, 0.25
"""Shares of the frames that must see a cell, and that must be able to tell whether something passes there."""
NEAR = 0.5
"""Frames within which one shows the moment's colours."""


@dataclass(frozen=True)
class Space:
    """The box: its low corner, the size of its cells [3], and which of them may hold something."""

    low: Float[Tensor, " 3"]
    size: Float[Tensor, " 3"]
    hull: Bool[Tensor, "X Y Z"]

    @classmethod
    def of(cls, bounds: Float[Tensor, "2 3"], hull: Bool[Tensor, "X Y Z"]) -> Space:
        """The box with these bounds [2, 3] and cells."""
        low, high = bounds.float()
        return cls(low, (high - low) / torch.tensor(hull.shape), hull)

    def distance(self, film: Film) -> float:
        """From a camera to the middle of the box."""
        return float((self.low + 0.5 * self.size * torch.tensor(self.hull.shape) - film.centre).norm())

    def coarse_cells(self) -> Float[Tensor, "N 3"]:
        """Middles of coarse cells that may hold something, [N, 3]."""
        some = max_pool3d(self.hull[None].float(), COARSENESS, ceil_mode=True)[0]
        return self.low + (some.nonzero() + 0.5) * (COARSENESS * self.size)

    @property
    def side(self) -> float:
        """Largest side of a cell."""
        return float(self.size.max())


def agreement(
    shots: Sequence[Shot], places: Float[Tensor, "*N 3"], steps: Float[Tensor, "*N 3"], radius: Sequence[int] | int
) -> Float[Tensor, "*N"]:
    """Share of the frames that see places, and can tell, in which something passes there; 0 where these are too few.

    Args:
        shots: the frames.
        places: at the moment.
        steps: their displacements from frame to frame.
        radius: pixels within which something has to pass, in all frames or in each.
    """
    seen, telling, passing = torch.zeros(3, *places.shape[:-1])
    each = [radius] * len(shots) if isinstance(radius, int) else radius
    for shot, grown in zip(shots, each, strict=True):
        pixel, _, inside = shot.film.project(places + shot.after * steps)
        found = inside & shot.grown(grown)[pixel]
        seen += inside
        telling += found | inside & shot.film.telling.reshape(-1)[pixel]
        passing += found
    enough = (seen >= LEAST_SEEING * len(shots)) & (telling >= LEAST_TELLING * len(shots))
    return torch.where(enough, passing / telling.clamp_min(1), 0.0)


def coarse_cells(space: Space, shots: Sequence[Shot], speed: float) -> Float[Tensor, "N 3"]:
    """Coarse cells in which something may pass that moves by ``speed`` from frame to frame at most: their middles."""
    cells, side = space.coarse_cells(), COARSENESS * space.side
    radius = []
    for shot in shots:
        reach = (speed * abs(shot.after) + 0.5 * side) * shot.film.focal / space.distance(shot.film)
        radius.append(int(reach) + 1)
    return cells[agreement(shots, cells, torch.zeros_like(cells), radius) >= SUPPORT]


def fine_surface(
    space: Space, shots: Sequence[Shot], cells: Float[Tensor, "N 3"], steps: Float[Tensor, "N 3"]
) -> tuple[Float[Tensor, "P 3"], Float[Tensor, "P 3"], Float[Tensor, "P 3"]]:
    """Places, colours and displacements of the surface that is left of coarse cells with displacements."""
    ticks = torch.arange(COARSENESS)
    corner = ((cells - space.low) / space.size - 0.5 * COARSENESS).round().long()
    fine = (corner[:, None] + torch.cartesian_prod(ticks, ticks, ticks)).flatten(0, 1)
    steps = steps.repeat_interleave(COARSENESS**3, dim=0)
    inside = (fine < torch.tensor(space.hull.shape)).all(dim=1)
    fine, steps = fine[inside], steps[inside]
    places = space.low + (fine + 0.5) * space.size
    surface = on_surface(agreement(shots, places, steps, 1) >= SUPPORT, fine, space.hull.shape)
    places, steps = places[surface], steps[surface]
    near = [shot.colours_of(places + shot.after * steps, space.side) for shot in shots if abs(shot.after) <= NEAR]
    colours = torch.stack(near).nanmedian(dim=0).values
    known = colours.isfinite().all(dim=-1)
    return places[known], colours[known], steps[known]
