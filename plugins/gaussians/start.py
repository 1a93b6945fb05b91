"""What a training starts from: Gaussians on the points that are known, and nodes that follow the tracks."""

from __future__ import annotations

import torch
from torch import Tensor

from syncnerf.scene.geometry import SceneGeometry, StartingPaths, StartingPoints
from syncnerf_gaussians.cloud import Cloud
from syncnerf_gaussians.first_paths import first_paths, velocities
from syncnerf_gaussians.flow import fit_paths
from syncnerf_gaussians.options import CloudConfig
from syncnerf_gaussians.scaffold import Scaffold

ASKED = 1000
"""Points whose neighbours are searched at a time."""
FLYING_SHARE = 4.0
"""Gaussians for what flies, as a multiple of its points at one moment."""
LIVELY_SHARE = 0.3
"""Share of the Gaussians, at least, for what moves or flies, if anything does."""
LONELY = 3.0
"""Largest spacing of a lonely point, as a multiple of the median."""
NEAREST = 3
"""Rank of the neighbour whose distance counts as a point's spacing."""
MOMENTS_SHOWN = 2.0
"""Moments, about, at which a flying Gaussian is visible at first."""
ANCHORS = 2000
"""Points that stand still, among the tracks, that hold nodes near them."""


@torch.no_grad()
def begin(cloud: Cloud, scaffold: Scaffold | None, geometry: SceneGeometry, config: CloudConfig) -> None:
    """Put the nodes and the Gaussians where something is known to be; where nothing is, anywhere in the space.

    Draws come from torch's own generator.
    """
    points = geometry.points or _anywhere(geometry, 4 * len(cloud))
    still, paths = points.times.isnan(), points.paths or _no_paths(geometry)
    flies = points.velocities.isfinite().all(dim=-1) | (~still if scaffold is None else False)
    resting, flying, moving = (_chosen(points, which) for which in (still, flies, ~still & ~flies))
    if scaffold is not None and len(moving.places):
        moving = _set_out(scaffold, cloud.rest_times, moving, _held(paths, resting))
    chosen, sizes = _drawn(resting, moving, flying, len(cloud), config.start_size)
    # Several on one point learn nothing that one would not.
    places = chosen.places.float()
    places = places + 0.5 * sizes[:, None] * torch.randn_like(places)
    speeds = chosen.velocities
    if scaffold is None:
        tracked = torch.where(chosen.times.isnan()[:, None], torch.nan, velocities(places, chosen.times, paths))
        speeds = torch.where(speeds.isfinite(), speeds, tracked)
    cloud.put(places, chosen.colours, chosen.times, sizes, config.start_opacity, speeds)
    if scaffold is not None:
        cloud.bind(scaffold, torch.arange(len(cloud)))


def _set_out(scaffold: Scaffold, homes: Tensor, moving: StartingPoints, paths: StartingPaths) -> StartingPoints:
    """Give the nodes their paths and choose the moments ``homes`` (in place); the points of these moments alone."""
    moments = moving.times.unique()
    homes.copy_(moments[torch.linspace(0, len(moments) - 1, len(homes)).round().long()])
    poses, spacing = first_paths(moving, paths, homes, len(scaffold))
    scaffold.spacing.fill_(spacing)
    fit_paths(scaffold, paths.times, poses)
    return _chosen(moving, torch.isin(moving.times, homes))


def _drawn(
    resting: StartingPoints, moving: StartingPoints, flying: StartingPoints, count: int, size: float
) -> tuple[StartingPoints, Tensor]:
    """``count`` of the points, some of them several times, and ``size`` times their distances, shape [count].

    What rests and what moves get as many as they have points at one moment, what flies more, since it is new at
    others; a share at least goes to what moves or flies.
    """
    shown = MOMENTS_SHOWN / max(_moments(flying), MOMENTS_SHOWN)
    groups = [(resting, 1.0), (moving, 1.0), (flying, shown)]
    there = torch.tensor([len(group.places) / max(_moments(group), 1) for group, _ in groups])
    shares = there * torch.tensor([1.0, 1.0, FLYING_SHARE])
    lively = float(shares[1:].sum())
    if lively:
        shares[0] = min(float(shares[0]), (1.0 / LIVELY_SHARE - 1.0) * lively)
    ends = (shares.cumsum(0) / shares.sum() * count).round().long()
    parts, sizes = [], []
    for (group, at_once), wanted, now in zip(groups, ends.diff(prepend=ends[:1] * 0).tolist(), there, strict=True):
        if wanted:
            order = torch.cat([torch.randperm(len(group.places)) for _ in range(-(-wanted // len(group.places)))])
            parts.append(_chosen(group, order[:wanted]))
            spacing = _spacing(group, order[:wanted]) * (float(now) / (at_once * wanted)) ** 0.5
            sizes.append(size * spacing)
    fields = ("places", "colours", "times", "velocities")
    return StartingPoints(*(torch.cat([getattr(part, name) for part in parts]) for name in fields)), torch.cat(sizes)


def _moments(points: StartingPoints) -> int:
    """At how many moments points move."""
    return len(points.times[points.times.isfinite()].unique())


def _held(paths: StartingPaths, resting: StartingPoints) -> StartingPaths:
    """Tracks, and points that stand still among them."""
    some = resting.places[torch.randperm(len(resting.places))[:ANCHORS]].float()
    count = len(paths.times)
    return StartingPaths(
        paths.times,
        torch.cat([paths.places, some.expand(count, -1, 3)], dim=1),
        torch.cat([paths.seen, torch.ones(count, len(some), dtype=torch.bool)], dim=1),
    )


def _anywhere(geometry: SceneGeometry, count: int) -> StartingPoints:
    """Grey points in the space that may hold something, at a few moments."""
    low, high = geometry.bounds.double()
    places = low + torch.rand(count, 3, dtype=torch.float64) * (high - low)
    if geometry.occupied is not None and bool(geometry.occupied.any()):
        cells = geometry.occupied.nonzero()[torch.randint(int(geometry.occupied.sum()), (count,))]
        share = (cells + torch.rand(count, 3)) / torch.tensor(geometry.occupied.shape)
        places = low + share * (high - low)
    times = torch.zeros(count, dtype=torch.float64)
    times[::2] = torch.nan
    return StartingPoints(places, torch.full((count, 3), 0.5), times, torch.full((count, 3), torch.nan))


def _no_paths(geometry: SceneGeometry) -> StartingPaths:
    times = torch.linspace(-1.0, 1.0, max(2, geometry.frame_count), dtype=torch.float64)
    return StartingPaths(times, torch.empty(len(times), 0, 3), torch.empty(len(times), 0, dtype=torch.bool))


def _chosen(points: StartingPoints, which: Tensor) -> StartingPoints:
    return StartingPoints(
        points.places[which], points.colours[which], points.times[which], points.velocities[which]
    )


def _spacing(points: StartingPoints, chosen: Tensor) -> Tensor:
    """Distances from some of the points (numbers [K]) to others of their moment, shape [K]; the largest are cut."""
    found = torch.ones(len(chosen))
    when = points.times.nan_to_num(torch.inf)
    for moment in when.unique():
        there, mine = points.places[when == moment], when[chosen] == moment
        parts = points.places[chosen[mine]].split(ASKED)
        found[mine] = torch.cat([_apart(part, there) for part in parts])
    return found.clamp_max(LONELY * float(found.median()))


def _apart(asked: Tensor, points: Tensor) -> Tensor:
    """Distances [K] from points [K, 3] to their third nearest others: this suits points on a grid and random ones.

    1 where there are no others.
    """
    apart = torch.cdist(asked.float(), points.float())
    apart[apart == 0] = torch.inf
    found = apart.topk(min(NEAREST, len(points)), dim=1, largest=False).values
    return torch.where(found.isfinite(), found, 0.0).amax(dim=1).where(found[:, 0].isfinite(), 1.0)
