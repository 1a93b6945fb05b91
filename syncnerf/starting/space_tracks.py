"""Tracks of several cameras on a common clock, matched and triangulated: what moves in space, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.scene import Scene
from syncnerf.starting.matching import Matching, epipolar_matches, same_points
from syncnerf.starting.own_times import OwnTimes
from syncnerf.sync.sampson import RayTracks, at_times

COMPANIONS = 5
"""Cameras, those standing nearest, that each camera's tracks are matched with."""
LEAST_ANGLE = 4.0
"""Degrees between two rays below which they do not tell the depth."""
LARGEST_GAP = 1.5
"""Pixels that two rays may pass each other by."""
LEAST_MEETING = 0.25
"""Share of the rays of tracks with common ids that should meet, of those at an angle."""


@dataclass(frozen=True)
class SpaceTracks:
    """Points followed through space.

    Attributes:
        times: scene times in seconds, ascending, float64, shape [T].
        places: scene units, float32, shape [T, N, 3]; 0 where not seen.
        seen: where they are known, bool, shape [T, N].
    """

    times: Float64[Tensor, " T"]
    places: Float32[Tensor, "T N 3"]
    seen: Bool[Tensor, "T N"]

    def __len__(self) -> int:
        return self.places.shape[1]

    def lasting(self, moments: int = 2) -> SpaceTracks:
        """Those that are known at so many moments at least."""
        kept = self.seen.sum(dim=0) >= moments
        return SpaceTracks(self.times, self.places[:, kept], self.seen[:, kept])


def triangulated_tracks(
    scene: Scene,
    tracks: dict[int, RayTracks],
    own_times: OwnTimes,
    times: Float64[Tensor, " T"],
    matching: Matching = epipolar_matches,
) -> SpaceTracks:
    """Match moving tracks between cameras of known clocks, and triangulate them.

    Tracks with one id belong together; where cameras have no ids, matching finds the pairs. At each moment two rays
    make a point, the middle of where they pass each other, if they do so closely enough and at an angle.

    Args:
        scene: whose cameras they are.
        tracks: moving tracks by global camera index.
        own_times: of the cameras at moments of the scene.
        times: scene times at which the points are wanted, seconds, float64, shape [T].
        matching: of tracks without common ids.

    Raises:
        UserError: the rays of tracks with common ids do not meet.
    """
    none = torch.empty(len(times), 0, dtype=torch.bool)
    places, seen, angled = [torch.empty(len(times), 0, 3)], [none], [none]
    for first, second in camera_pairs(scene, tuple(tracks)):
        one, two = tracks[first], tracks[second]
        if min(len(one), len(two)) == 0:
            continue
        common = one.ids is not None and two.ids is not None
        own, others = own_times(first, times), own_times(second, times)
        # Rates change the shift by far less than tracks of one point may differ.
        shift = float((others - own).mean())
        rows, columns = same_points(one, two) if common else matching(one, two, shift)
        found = _triangulated(one.chosen(rows), two.chosen(columns), own, others)
        places.append(found[0].float())
        seen.append(found[1])
        angled.append(found[2] & common)
    meeting, asked = torch.cat(seen, dim=1), torch.cat(angled, dim=1)
    if bool(asked.any()) and float(meeting[asked].float().mean()) < LEAST_MEETING:
        raise UserError(
            f"{scene.root}: tracks do not fit the cameras: {float(meeting[asked].float().mean()):.0%} of the rays with "
            "common ids meet; leave out the ids if they are each video's own, or see what syncnerf sync says of the "
            "offsets"
        )
    return SpaceTracks(times, torch.cat(places, dim=1), meeting).lasting()


def camera_pairs(scene: Scene, cameras: tuple[int, ...]) -> list[tuple[int, int]]:
    """Pairs of cameras, each with those that stand nearest to it, ascending."""
    centres = torch.stack([scene.cameras[index].pose(0)[:3, 3] for index in cameras])
    apart = torch.cdist(centres, centres).fill_diagonal_(torch.inf)
    near = apart.topk(min(COMPANIONS, len(cameras) - 1), dim=1, largest=False).indices.tolist()
    pairs = {tuple(sorted((place, other))) for place, others in enumerate(near) for other in others}
    return [(cameras[a], cameras[b]) for a, b in sorted(pairs)]


def _triangulated(one: RayTracks, two: RayTracks, own: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Middles of pairs of rays [T, K, 3] at times on either clock, whether they are to be believed, and might be."""
    (start, ray, visible), (start_2, ray_2, visible_2) = at_times(one, own), at_times(two, others)
    between = (start_2 - start)[:, None]
    cosine = (ray * ray_2).sum(dim=-1)
    along, along_2 = (between * ray).sum(dim=-1), (between * ray_2).sum(dim=-1)
    sine_squared = (1.0 - cosine.square()).clamp_min(1e-9)
    distance = (along - cosine * along_2) / sine_squared
    distance_2 = (cosine * along - along_2) / sine_squared
    point, point_2 = start[:, None] + distance[..., None] * ray, start_2[:, None] + distance_2[..., None] * ray_2
    gap = (point - point_2).norm(dim=-1)
    near = torch.minimum(distance / one.focal, distance_2 / two.focal)
    angled = visible & visible_2 & (cosine.abs() < math.cos(math.radians(LEAST_ANGLE)))
    fine = angled & (near > 0) & (gap < LARGEST_GAP * near)
    return torch.where(fine[..., None], 0.5 * (point + point_2), 0.0), fine, angled
