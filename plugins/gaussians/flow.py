"""The nodes' first paths: carried from a moment on, frame by frame, by tracks and by the surfaces that they lie on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor
from torch.nn.functional import normalize

from syncnerf_gaussians import splines
from syncnerf_gaussians.gaussians import Poses
from syncnerf_gaussians.rotations import product
from syncnerf_gaussians.scaffold import Scaffold

GUIDES = 16
"""Tracks, those passing nearest, that tell a node's motion."""
ROUNDS = 4
"""Reweighted fits of a node's step."""
STIFFNESS = 0.05
"""Squared distance, in units of the reach, by which every step prefers not to turn: few tracks tell no rotation."""
LEAST_WEIGHT = 0.2
"""Sum of the guides' weights below which a node goes as its neighbours do."""
COLOUR_LENGTH = 0.3
"""Distance in the scene, in units of it, that a whole difference of colour counts as."""
SMOOTH = 1e-3
"""Weight of a spline's second differences against the distances from what it is fitted to."""


@dataclass(frozen=True)
class Surface:
    """Points of what moves, at one moment.

    Attributes:
        places: shape [P, 3].
        colours: in [0, 1], shape [P, 3].
    """

    places: Float[Tensor, "P 3"]
    colours: Float[Tensor, "P 3"]


def follow(
    nodes: Float[Tensor, "M 3"],
    begin: int,
    places: Float[Tensor, "T N 3"],
    seen: Bool[Tensor, "T N"],
    surfaces: Sequence[Surface],
    reach: float,
) -> Poses:
    """Carry nodes along tracks and surfaces, forward and back.

    From one moment to the next a node takes the rigid motion that suits the tracks around it best: weighted least
    squares (Kabsch), the weights falling with the distance and, reweighted, with what is left unexplained. It is
    refined, or found where no track passes, by laying the surface around the node onto that of the next moment, place
    and colour alike (iterated closest points).

    Args:
        nodes: at the moment where they begin, shape [M, 3].
        begin: that moment's number.
        places: of N tracks at T moments, shape [T, N, 3].
        seen: where they are known, bool, shape [T, N].
        surfaces: what moves, at each of the moments; without points where nothing is known.
        reach: distance at which a track counts for little.

    Returns:
        Positions [T, M, 3] and unit quaternions [T, M, 4]; no rotation at the beginning.
    """
    count = len(places)
    positions = nodes.expand(count, -1, 3).clone()
    quaternions = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(count, len(nodes), 4).clone()
    for way in (1, -1):
        before = torch.zeros_like(nodes)
        now = begin
        while 0 <= now + way < count:
            both = seen[now] & seen[now + way]
            turns, step = _steps(positions[now], places[now, both], places[now + way, both], reach, before)
            turns, step = _laid(positions[now], surfaces[now], surfaces[now + way], reach, turns, step)
            positions[now + way] = positions[now] + step
            quaternions[now + way] = normalize(product(_quaternions(turns), quaternions[now]), dim=-1)
            now, before = now + way, step
    return Poses(positions, quaternions)


def _laid(
    nodes: Tensor, start: Surface, end: Surface, reach: float, turns: Tensor, steps: Tensor
) -> tuple[Tensor, Tensor]:
    """Rotations [M, 3, 3] and steps [M, 3] that lay the surface around nodes onto the next, from first guesses."""
    if min(len(start.places), len(end.places)) < GUIDES:
        return turns, steps
    distance, around = torch.cdist(nodes, start.places).topk(GUIDES, dim=1, largest=False)
    lies = distance[:, 0] < reach
    near = torch.exp(-0.5 * (distance / reach).square())
    source, colours = start.places[around] - nodes[:, None], COLOUR_LENGTH * start.colours[around]
    target = torch.cat([end.places, COLOUR_LENGTH * end.colours], dim=-1)
    first = turns, steps
    for _ in range(ROUNDS):
        guess = torch.einsum("mij,mnj->mni", turns, source) + (nodes + steps)[:, None]
        found = torch.cdist(torch.cat([guess, colours], dim=-1).flatten(0, 1), target).min(dim=1)
        aim = end.places[found.indices].reshape(source.shape) - nodes[:, None]
        left = found.values.reshape(near.shape)
        turns, steps = _rigid(near / (1.0 + (left / (0.3 * reach)).square()), source, aim, reach)
    return torch.where(lies[:, None, None], turns, first[0]), torch.where(lies[:, None], steps, first[1])


def _rigid(weights: Tensor, source: Tensor, target: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Rotations [M, 3, 3] and steps [M, 3] that take points [M, N, 3] to others best, by weights [M, N] (Kabsch)."""
    total = weights.sum(dim=1, keepdim=True).clamp_min(1e-6)
    middle, aim = ((weights[..., None] * part).sum(dim=1) / total for part in (source, target))
    spread = torch.einsum("mn,mni,mnj->mij", weights, target - aim[:, None], source - middle[:, None])
    u, _, v = torch.linalg.svd(spread + STIFFNESS * reach**2 * torch.eye(3))
    signs = torch.ones(len(weights), 3)
    signs[:, 2] = torch.linalg.det(u @ v)
    turns = u @ (signs[..., None] * v)
    return turns, aim - (turns @ middle[..., None])[..., 0]


def _steps(nodes: Tensor, start: Tensor, end: Tensor, reach: float, expected: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations [M, 3, 3] and steps [M, 3] of nodes, from tracks [N, 3] before and after."""
    turns = torch.eye(3).expand(len(nodes), 3, 3)
    if not len(start):
        return turns, expected
    distance, guides = torch.cdist(nodes, start).topk(min(GUIDES, len(start)), dim=1, largest=False)
    near = torch.exp(-0.5 * (distance / reach).square())
    source, target = start[guides] - nodes[:, None], end[guides] - nodes[:, None]
    left = (target - source - expected[:, None]).norm(dim=-1)
    steps = expected
    for _ in range(ROUNDS):
        weights = near / (1.0 + (left / (0.3 * reach)).square())
        turns, steps = _rigid(weights, source, target, reach)
        left = (target - steps[:, None] - torch.einsum("mij,mnj->mni", turns, source)).norm(dim=-1)
    known = (near / (1.0 + (left / (0.3 * reach)).square())).sum(dim=1) > LEAST_WEIGHT
    if bool(known.any()) and not bool(known.all()):
        # What no track passes goes as the nearest node that one does.
        share = torch.softmax(-torch.cdist(nodes[~known], nodes[known]) / (0.5 * reach), dim=1)
        close = torch.cdist(nodes[~known], nodes[known]).amin(dim=1, keepdim=True) < 2.0 * reach
        steps = steps.clone()
        steps[~known] = torch.where(close, share @ steps[known], expected[~known])
        turns = turns.clone()
        turns[~known] = torch.eye(3)
    return turns, steps


def _quaternions(matrices: Tensor) -> Tensor:
    """Quaternions of small rotations [..., 3, 3] (less than half a turn)."""
    w = 0.5 * (1.0 + matrices.diagonal(dim1=-2, dim2=-1).sum(dim=-1)).clamp_min(1e-6).sqrt()
    axis = torch.stack(
        [
            matrices[..., 2, 1] - matrices[..., 1, 2],
            matrices[..., 0, 2] - matrices[..., 2, 0],
            matrices[..., 1, 0] - matrices[..., 0, 1],
        ],
        dim=-1,
    )
    return normalize(torch.cat([w[..., None], axis / (4.0 * w[..., None])], dim=-1), dim=-1)


@torch.no_grad()
def fit_paths(scaffold: Scaffold, times: Float64[Tensor, " T"], poses: Poses) -> None:
    """Give a scaffold's splines the paths that come nearest to poses at times (float64, shape [T]): least squares.

    The coarse spline takes what it can, each finer one what is left.
    """
    for levels, values in ((scaffold.places, poses.positions), (scaffold.turns, poses.quaternions)):
        left = values.double().flatten(1)
        for level in levels:
            knots = len(level)
            design = splines.evaluate(torch.eye(knots, dtype=torch.float64), times)
            bend = torch.eye(knots, dtype=torch.float64).diff(n=2, dim=0)
            normal = design.T @ design + SMOOTH * len(times) / knots * bend.T @ bend
            solved = torch.linalg.solve(normal + 1e-9 * torch.eye(knots), design.T @ left)
            level.copy_(solved.reshape(level.shape))
            left = left - design @ solved
    scaffold.renew_neighbours()
