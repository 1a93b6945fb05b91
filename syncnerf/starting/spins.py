"""How flying pieces spin: the spin by which a camera's consecutive frames agree best in colour."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.starting.films import Shot

LINKED = 2.5
"""Cells within which points hang together, and displacements within which they move alike."""
LEAST_PIECE, ASKED = 60, 200
"""Points that make a piece that can spin, and those at most by which its spin is found."""
MOST_SPIN, SPINS = 0.6, 5
"""Radians from frame to frame that are tried about each axis, and how many between them at first."""
REFINEMENTS = (1.0, 0.5, 0.25, 0.125)
"""Spins and steps are looked for in rounds, each between closer ones."""
FRONT = 0.7
"""Cosine to the way to the camera from which on a piece's points are seen."""


def spun(
    shots: Sequence[Shot], places: Float[Tensor, "P 3"], steps: Float[Tensor, "P 3"], side: float
) -> Float[Tensor, "P 3"]:
    """Displacements of points from frame to frame, each piece with the spin by which a camera's frames agree best.

    Pieces are what hangs together and moves alike; small ones do not spin.

    Args:
        shots: frames around the moment, those of a camera one after the other.
        places: the points at the moment.
        steps: their displacements without spin.
        side: of the cells in whose middles they are.
    """
    steps = steps.clone()
    label = _pieces(places, steps, LINKED * side)
    for name in label.unique():
        piece = (label == name).nonzero()[:, 0]
        if len(piece) >= LEAST_PIECE:
            steps[piece] = _spun_piece(shots, places[piece], steps[piece], side)
    return steps


def _pieces(places: Tensor, steps: Tensor, reach: float) -> Tensor:
    """A number for each point [P, 3], the same for those that hang together and move alike, [P]."""
    one, two = ((torch.cdist(places, places) < reach) & (torch.cdist(steps, steps) < reach)).nonzero().unbind(-1)
    label = torch.arange(len(places))
    while True:
        lowest = label.scatter_reduce(0, one, label[two], "amin")
        lowest = lowest[lowest]
        if bool((lowest == label).all()):
            return label
        label = lowest


def _spun_piece(shots: Sequence[Shot], places: Tensor, steps: Tensor, side: float) -> Tensor:
    """Displacements [P, 3] of a piece that steps as one and spins."""
    axes = torch.linspace(-MOST_SPIN, MOST_SPIN, SPINS)
    around = torch.tensor(list(product((-1.0, 0.0, 1.0), repeat=3)))
    centre, step = places.mean(dim=0), steps.mean(dim=0)
    some = places[:: -(-len(places) // ASKED)] - centre
    spins = torch.cartesian_prod(axes, axes, axes)
    for refinement in REFINEMENTS:
        costs = _spin_costs(shots, some, centre, step.expand(len(spins), 3), spins)
        spin = spins[costs.argmin()]
        moves = step + refinement * side * around
        step = moves[_spin_costs(shots, some, centre, moves, spin.expand(len(moves), 3)).argmin()]
        spins = spin + refinement * MOST_SPIN / (SPINS - 1) * around
    arms = places - centre
    return step + torch.linalg.cross(spin.expand_as(arms), arms)


def _spin_costs(shots: Sequence[Shot], arms: Tensor, centre: Tensor, steps: Tensor, spins: Tensor) -> Tensor:
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


