"""What passes before a still scene whose colours are unknown: surfaces where nearly all cameras see something pass."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor
from tqdm import tqdm

from syncnerf.scene.scene import Scene
from syncnerf.starting.carving import NEAR, Space, coarse_cells, fine_surface
from syncnerf.starting.films import Film
from syncnerf.starting.own_times import OwnTimes
from syncnerf.starting.surfaces import ColouredPoints

CELLS = 128
"""Cells along each side of the box."""
FEWEST = 4
"""Cameras that must have seen a moment."""


def fine_space(scene: Scene) -> Space:
    """The box of a scene in the cells that are carved."""
    return Space.of(scene.bounds, torch.ones(CELLS, CELLS, CELLS, dtype=torch.bool))


@torch.no_grad()
def passing_surfaces(
    scene: Scene, moments: Float64[Tensor, " J"], own_times: OwnTimes
) -> ColouredPoints:
    """Surfaces of what passes at moments, each carved from each training camera's nearest frame.

    Args:
        scene: the scene; its cameras must not move.
        moments: scene times in seconds.
        own_times: of the cameras at moments of the scene.
    """
    films = [Film(scene, index) for index in scene.train]
    space = fine_space(scene)
    found = ColouredPoints(torch.empty(0, 3), torch.empty(0, dtype=torch.float64), torch.empty(0, 3))
    for moment in tqdm(moments.tolist(), desc="carving what passes", leave=False):
        shots = [shot for film in films for shot in film.shots(own_times(film.camera, moment), NEAR)]
        cells = coarse_cells(space, shots, 0.0) if len(shots) >= FEWEST else space.low.new_empty(0, 3)
        if len(cells):
            places, colours, _ = fine_surface(space, shots, cells, torch.zeros_like(cells))
            times = torch.full((len(places),), moment, dtype=torch.float64)
            found = found.and_also(ColouredPoints(places, times, colours))
    return found
