"""What passes before a still scene whose colours are unknown: surfaces where nearly all cameras see something pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor
from tqdm import tqdm

from syncnerf.scene.scene import Scene
from syncnerf.starting.carving import COARSENESS, NEAR, Space, coarse_cells, fine_cells, fine_surface
from syncnerf.starting.films import Film
from syncnerf.starting.surfaces import ColouredPoints

LEAST_CELLS, MOST_CELLS = 128, 512
"""Cells along each side of the box: of about a pixel, as far as these allow."""
FEWEST_TOGETHER = 3
"""Points in a cell of a body."""
FEWEST = 4
"""Cameras that must have seen a moment."""


@torch.no_grad()
def passing_surfaces(scene: Scene, moments: Float64[Tensor, " J"], offsets: Float64[Tensor, " C"]) -> ColouredPoints:
    """Surfaces of what passes at moments, each carved from each training camera's nearest frame.

    Args:
        scene: the scene; its cameras must not move.
        moments: scene times in seconds.
        offsets: what is added to a camera's own time, seconds.
    """
    films = [Film(scene, index) for index in scene.train]
    space, finer = _spaces(scene, films)
    found = ColouredPoints(torch.empty(0, 3), torch.empty(0, dtype=torch.float64), torch.empty(0, 3))
    for moment in tqdm(moments.tolist(), desc="carving what passes", leave=False):
        both = [shot for film in films for shot in film.shots(moment - float(offsets[film.camera]))]
        shots = [shot for shot in both if abs(shot.after) <= NEAR]
        cells = coarse_cells(space, shots, 0.0) if len(shots) >= FEWEST else space.low.new_empty(0, 3)
        cells = fine_cells(space, shots, cells)
        if len(cells):
            places, colours, _ = fine_surface(finer, shots, cells, torch.zeros_like(cells))
            times = torch.full((len(places),), moment, dtype=torch.float64)
            surface = ColouredPoints(places, times, colours)
            found = found.and_also(surface.chosen(_together(places, COARSENESS * finer.size)))
    return found


def _together(places: Float32[Tensor, "P 3"], size: Float32[Tensor, " 3"]) -> Bool[Tensor, " P"]:
    """Which points have others in their cell of a size: a lone one is where masks cross by chance."""
    _, cell, counts = (places / size).floor().unique(dim=0, return_inverse=True, return_counts=True)
    return counts[cell] >= FEWEST_TOGETHER


def _spaces(scene: Scene, films: Sequence[Film]) -> tuple[Space, Space]:
    """The box, all of which may hold something, in cells that are split once more and in those that are not."""
    whole = Space.of(scene.bounds, torch.ones(1, 1, 1, dtype=torch.bool))
    pixel = float(torch.tensor([whole.distance(film) / film.focal for film in films]).median())
    count = min(max(whole.side / pixel, LEAST_CELLS), MOST_CELLS)
    middle = COARSENESS * round(count / COARSENESS**2)
    counts = (middle, COARSENESS * middle)
    return tuple(Space.of(scene.bounds, whole.hull.expand(each, each, each)) for each in counts)
