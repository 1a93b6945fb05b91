"""How what is known of the motion moves a scaffold's nodes, and Gaussians that fly, at the start."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from syncnerf.scene.geometry import StartingPaths, StartingPoints
from syncnerf_gaussians.flow import Surface, follow
from syncnerf_gaussians.gaussians import Poses
from syncnerf_gaussians.scaffold import spread_out

MOST_CANDIDATES = 20_000
"""Points among which nodes are chosen."""
MOST_LAID = 2000
"""Points of a moment's surface that are laid onto another's, about twice as many at most."""
FIRST_SHARE = 0.75
"""Share of the nodes that are chosen at the first moment."""
COVERED = 1.5
"""A point is covered where a node is within so many times the nodes' spacing."""


def velocities(
    places: Float[Tensor, "N 3"], times: Float64[Tensor, " N"], paths: StartingPaths
) -> Float[Tensor, "N 3"]:
    """Velocities [N, 3] of points at times, those of the tracks that pass nearest then; 0 where none is near."""
    found = torch.zeros_like(places)
    lengths = paths.times.diff()
    # What is there at the last moment moves as since the one before.
    numbers = (torch.searchsorted(paths.times, times, right=True) - 1).clamp_max(len(lengths) - 1)
    for number in range(len(lengths)):
        mine = (numbers == number) & (times <= paths.times[-1])
        both = paths.seen[number] & paths.seen[number + 1]
        if not bool(mine.any()) or not bool(both.any()):
            continue
        before, after = paths.places[number, both], paths.places[number + 1, both]
        distance, nearest = torch.cdist(places[mine], before).min(dim=1)
        speed = (after - before)[nearest] / float(lengths[number])
        reach = float(torch.cdist(before, before).fill_diagonal_(torch.inf).amin(dim=1).median())
        found[mine] = torch.where((distance < 3.0 * reach)[:, None], speed, 0.0)
    return found


def first_paths(
    points: StartingPoints, paths: StartingPaths, homes: Float64[Tensor, " H"], count: int
) -> tuple[Poses, float]:
    """Nodes on moving points, and the paths that tracks give them.

    They are spread over the points of the middlemost moment first, then, moment by moment away from it, over those
    points that none of them has come near by then.

    Args:
        points: that move.
        paths: what is known of the motion.
        homes: moments at which nodes may begin.
        count: number of nodes.

    Returns:
        The nodes' poses at the paths' times, [T, count, ...], and their spacing.
    """
    moments = homes.unique()
    order = (moments - moments.median()).abs().argsort(stable=True)
    surfaces = _surfaces(points, paths.times)
    positions: list[Tensor] = []
    quaternions: list[Tensor] = []
    spacing = 0.0
    for moment in moments[order].tolist():
        number = int((paths.times - moment).abs().argmin())
        there = points.places[points.times == moment].float()
        there = there[:: max(1, len(there) // MOST_CANDIDATES)]
        room = count - sum(part.shape[1] for part in positions)
        if not positions:
            chosen = there[spread_out(there, max(1, round(FIRST_SHARE * room)))]
            apart = torch.cdist(chosen, chosen).fill_diagonal_(torch.inf).amin(dim=1)
            spacing = float(apart.median()) if len(chosen) > 1 else 1.0
        else:
            nodes = torch.cat([part[number] for part in positions])
            chosen = _uncovered(there, nodes, room, COVERED * spacing)
        if len(chosen):
            found = follow(chosen, number, paths.places, paths.seen, surfaces, 2.0 * spacing)
            positions.append(found.positions)
            quaternions.append(found.quaternions)
    poses = Poses(torch.cat(positions, dim=1), torch.cat(quaternions, dim=1))
    # Always as many: a checkpoint's shapes follow from the options alone.
    again = torch.arange(count) % poses.positions.shape[1]
    return Poses(poses.positions[:, again], poses.quaternions[:, again]), spacing


def _surfaces(points: StartingPoints, times: Tensor) -> list[Surface]:
    """What moves at each of the times (float64, shape [T]), as far as points are known then."""
    moments, which = points.times.unique(return_inverse=True)
    number = (moments[:, None] - times).abs().argmin(dim=1)[which]
    found = []
    for index in range(len(times)):
        mine = (number == index).nonzero()[:, 0]
        mine = mine[:: max(1, len(mine) // MOST_LAID)]
        found.append(Surface(points.places[mine].float(), points.colours[mine]))
    return found


def _uncovered(points: Tensor, nodes: Tensor, room: int, reach: float) -> Tensor:
    """Points further than ``reach`` from all nodes and from each other, as many as there is room for."""
    bare = points[torch.cdist(points, nodes).amin(dim=1) > reach]
    chosen = bare[:0]
    while len(chosen) < room and len(bare):
        chosen = torch.cat([chosen, bare[:1]])
        bare = bare[(bare - chosen[-1]).norm(dim=-1) > reach]
    return chosen
