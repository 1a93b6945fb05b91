"""The scaffold: a few hundred nodes that move and turn along splines, and carry the Gaussians near them.

After the sparse graphs of embedded deformation (Sumner et al., SIGGRAPH 2007) and the motion scaffold of MoSca (Lei et
al., CVPR 2025), in continuous time: the cameras' offsets get their gradients through the splines.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from syncnerf_gaussians import splines
from syncnerf_gaussians.gaussians import Poses
from syncnerf_gaussians.rotations import rotation_matrices

NEIGHBOURS = 8
"""Other nodes that a node is held to keep its distance from."""
CARRIERS = 4
"""Nodes that move a Gaussian."""
MOMENTS = 24
"""Moments, evenly spaced, at which distances over time are measured."""
AT_ONCE = 2**22
"""Distances that are in memory at once."""


class Scaffold(nn.Module):
    """Nodes on uniform cubic B-splines of the field's time, from coarse to fine.

    A path is the sum of a coarse spline and of details on knots twice, four times as dense, which begin at zero: the
    slow part of the motion is learned first and fastest, no parameter changes its shape on the way, and taking a finer
    level in changes nothing at first, since a spline refines exactly.

    Args:
        places: of the nodes, shape [M, 3].
        segments: of the coarsest spline between -1 and 1.
        levels: splines that are summed, each of twice the segments of the one before.
        spacing: distance between neighbouring nodes: the reach at first of what each carries.
    """

    def __init__(self, places: Float[Tensor, "M 3"], segments: int, levels: int, spacing: float):
        super().__init__()
        count, knots = len(places), segments + splines.DEGREE
        still = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(knots, count, 4)
        self.places = nn.ParameterList([places.float().expand(knots, count, 3).clone()])
        self.turns = nn.ParameterList([still.clone()])
        for _ in range(levels - 1):
            knots = 2 * knots - splines.DEGREE
            self.places.append(torch.zeros(knots, count, 3))
            self.turns.append(torch.zeros(knots, count, 4))
        self.register_buffer("spacing", torch.tensor(spacing))
        self.register_buffer("neighbours", torch.zeros(count, min(NEIGHBOURS, count - 1), dtype=torch.int64))
        self.register_buffer("closeness", torch.zeros(count, min(NEIGHBOURS, count - 1)))
        self.renew_neighbours()

    def __len__(self) -> int:
        return self.places[0].shape[1]

    def knots(self) -> Float[Tensor, "K M 7"]:
        """Control values of the paths on the finest knots: places, and quaternions of any length, shape [K, M, 7]."""
        levels = [torch.cat(pair, dim=-1) for pair in zip(self.places, self.turns, strict=True)]
        total = levels[0]
        for detail in levels[1:]:
            total = splines.refined(total) + detail
        return total

    def poses(self, times: Float64[Tensor, " T"]) -> Poses:
        """Where the nodes are at times (float64, shape [T]), which gradients reach."""
        places, turns = splines.evaluate(self.knots(), times).split((3, 4), dim=-1)
        return Poses(places, torch.nn.functional.normalize(turns, dim=-1))

    def slopes(self, times: Float64[Tensor, " T"]) -> Poses:
        """How fast the places and the unit quaternions change with time at times (float64, shape [T])."""
        knots = self.knots()
        raw = splines.evaluate(knots[..., 3:], times)
        places, slope = splines.slopes(knots, times).split((3, 4), dim=-1)
        length = raw.norm(dim=-1, keepdim=True)
        unit = raw / length
        along = (unit * slope).sum(dim=-1, keepdim=True)
        return Poses(places, (slope - along * unit) / length)

    def hold_levels(self, active: int) -> None:
        """Let the ``active`` coarsest splines learn, and none of the others."""
        for group in (self.places, self.turns):
            for level, values in enumerate(group):
                values.requires_grad_(level < active)

    # -- who is near whom ----------------------------------------------------------------------------------------

    @torch.no_grad()
    def renew_neighbours(self) -> None:
        """Find each node's nearest by the largest distance over time: what moves together, however near at times."""
        paths = self.poses(self._moments()).positions
        apart = torch.stack([torch.cdist(place, place) for place in paths]).amax(dim=0)
        apart.fill_diagonal_(torch.inf)
        nearest = apart.topk(self.neighbours.shape[1], dim=1, largest=False)
        self.neighbours.copy_(nearest.indices)
        self.closeness.copy_(torch.exp(-0.5 * (nearest.values / (2.0 * self.spacing)).square()))

    @torch.no_grad()
    def carriers(
        self, places: Float[Tensor, "N 3"], times: Float64[Tensor, " N"]
    ) -> tuple[Int64[Tensor, "N C"], Float[Tensor, "N C"]]:
        """Who should carry points, as if each were fixed to the node nearest to it.

        Args:
            places: of the points at their own times, shape [N, 3].
            times: these, float64, shape [N].

        Returns:
            The nodes, nearest by the largest distance over time, int64, shape [N, C], and that distance, shape [N, C];
            C is 4, or the number of nodes where there are fewer.
        """
        count = min(CARRIERS, len(self))
        nodes = torch.empty(len(places), count, dtype=torch.int64, device=places.device)
        distances = torch.empty(len(places), count, device=places.device)
        every = self.poses(self._moments())
        for moment in times.unique():
            now = self.poses(moment[None])
            for part in (times == moment).nonzero()[:, 0].split(max(1, AT_ONCE // (len(self) * MOMENTS))):
                first = torch.cdist(places[part], now.positions[0]).argmin(dim=1)
                path = carried(places[part], first, now, every)
                found = torch.cdist(path, every.positions).amax(dim=0).topk(count, dim=1, largest=False)
                nodes[part], distances[part] = found.indices, found.values
        return nodes, distances

    def _moments(self) -> Tensor:
        return torch.linspace(-1.0, 1.0, MOMENTS, dtype=torch.float64, device=self.places[0].device)

    # -- what holds the motion back ------------------------------------------------------------------------------

    def rigidity(self, times: Float64[Tensor, " P"], later: Float64[Tensor, " P"]) -> Float[Tensor, ""]:
        """How much neighbours move against each other from one moment to another, mean over pairs of moments [P].

        Sorkine and Alexa's measure as MoSca has it: changes of the distance, and of the neighbour's place as the node
        sees it, in units of the nodes' spacing. 0 of a single node, which has no neighbours.
        """
        views = self._seen_by_nodes(self.poses(torch.cat([times, later]))).split(len(times))
        turned = (views[1] - views[0]).norm(dim=-1)
        stretched = (views[1].norm(dim=-1) - views[0].norm(dim=-1)).abs()
        moved = self.closeness * (turned + stretched)
        return moved.sum() / max(moved.numel(), 1) / self.spacing

    def _seen_by_nodes(self, poses: Poses) -> Tensor:
        """Each node's neighbours from where and as it stands, shape [T, M, neighbours, 3]."""
        apart = poses.positions[:, self.neighbours] - poses.positions[:, :, None]
        return torch.einsum("tmji,tmnj->tmni", rotation_matrices(poses.quaternions), apart)

    def acceleration(self) -> Float[Tensor, ""]:
        """Mean square of the paths' second difference over the finest knots, in units of the nodes' spacing."""
        knots = self.knots()
        places, turns = (knots[:-2] - 2.0 * knots[1:-1] + knots[2:]).split((3, 4), dim=-1)
        return sum(bend.square().sum(dim=-1).mean() for bend in (places / self.spacing, turns))


def carried(
    places: Float[Tensor, "N 3"], node: Int64[Tensor, " N"], now: Poses, later: Poses
) -> Float[Tensor, "T N 3"]:
    """Where points [N, 3] at a moment (``now``, T = 1) are at T moments if one node [N] each moves them, [T, N, 3]."""
    local = places - now.positions[0, node]
    local = torch.einsum("nji,nj->ni", rotation_matrices(now.quaternions[0, node]), local)
    return later.positions[:, node] + torch.einsum("tnij,nj->tni", rotation_matrices(later.quaternions[:, node]), local)


def spread_out(points: Float[Tensor, "N 3"], count: int, first: int = 0) -> Int64[Tensor, " K"]:
    """Numbers of ``count`` of the points [N, 3] that lie far from each other (farthest-point sampling), int64."""
    chosen = torch.empty(min(count, len(points)), dtype=torch.int64)
    nearest = torch.full((len(points),), torch.inf, dtype=points.dtype)
    following = first
    for place in range(len(chosen)):
        chosen[place] = following
        nearest = torch.minimum(nearest, (points - points[following]).square().sum(dim=-1))
        following = int(nearest.argmax())
    return chosen
