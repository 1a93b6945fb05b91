"""Which tracks of two cameras are of one point: by their ids, by epipolar geometry, or by optimal transport."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor
from torch.nn.functional import normalize

from syncnerf.errors import UserError
from syncnerf.sync.sampson import LEAST_COMMON, RayTracks, match_energy, may_match

LARGEST_ENERGY = 0.3
"""Robust Sampson error of a match at most."""
FEATURE_WEIGHT = 0.3
"""Cost of features at right angles to each other, beside Sampson errors in [0, 1]."""
STRUCTURE = 0.5
"""Weight of the distances within a video against what tells single tracks apart, in :func:`transport_matches`."""
AT_ONCE = 2**23
"""Pairs of tracks, times frames, that are compared at once."""
MOST_MOMENTS = 24
"""Moments at which distances within a video are measured."""

Matches = tuple[Int64[Tensor, " K"], Int64[Tensor, " K"]]
Matching = Callable[[RayTracks, RayTracks, float], Matches]


def same_points(one: RayTracks, two: RayTracks) -> Matches:
    """Tracks of two cameras that have the same id: numbers of the ones and of the others, shape [K] each."""
    rows, columns = (one.ids[:, None] == two.ids).nonzero().unbind(-1)
    return rows, columns


def epipolar_matches(one: RayTracks, two: RayTracks, shift: float) -> Matches:
    """Tracks that are each other's best partners over all their common frames, and agree well enough.

    Args:
        one: tracks of a camera.
        two: tracks of another.
        shift: offset[one] - offset[two], seconds.

    Returns:
        Numbers of the ones and of the others, shape [K] each.
    """
    return mutual(*_compared(one, two, shift))


def transport_matches(one: RayTracks, two: RayTracks, shift: float) -> Matches:
    """Tracks that optimal transport takes to each other: fused Gromov-Wasserstein (Vayer et al., ICML 2019).

    Two tracks cost what :func:`epipolar_matches` compares them by; two pairs of tracks cost, as in SyncTrack4D (arXiv
    2512.04315, section 3.2), how differently far apart each pair is at most, here in the picture. What the plan leaves
    undecided, or does not agree with the cameras, is no match.

    Raises:
        UserError: POT is not installed.
    """
    cost, agreeing = _compared(one, two, shift)
    return mutual(-transported(cost, one, two), agreeing)


def transported(cost: Float[Tensor, "N M"], one: RayTracks, two: RayTracks) -> Float32[Tensor, "N M"]:
    """How much of each track goes to each of another camera's, at costs [N, M]; sums to 1.

    Raises:
        UserError: POT is not installed.
    """
    # Imported here: an extra.
    try:
        from ot.gromov import fused_gromov_wasserstein
    except ImportError:
        raise UserError(
            "track_matching = transport needs POT: pip install 'syncnerf[tracks]', or leave track_matching at epipolar"
        ) from None
    apart = [spread(tracks).double().numpy() for tracks in (one, two)]
    return torch.from_numpy(fused_gromov_wasserstein(cost.double().numpy(), *apart, alpha=STRUCTURE)).float()


MATCHINGS: dict[str, Matching] = {"epipolar": epipolar_matches, "transport": transport_matches}
"""Ways to match tracks without common ids, by the value of the option ``track_matching``."""


def spread(tracks: RayTracks) -> Float32[Tensor, "N N"]:
    """Largest angle between two tracks over the moments at which both are seen, in units of the median one.

    The median where they are never seen together.
    """
    moments = torch.linspace(0, len(tracks.times) - 1, min(MOST_MOMENTS, len(tracks.times))).round().long()
    rays, visible = tracks.rays[moments].float(), tracks.visible[moments]
    # Chords of unit vectors, without the loss of precision that 1 - cos has.
    apart = torch.cdist(rays, rays, compute_mode="donot_use_mm_for_euclid_dist")
    both = visible[:, :, None] & visible[:, None]
    largest = torch.where(both, apart, 0.0).amax(dim=0)
    known = both.any(dim=0)
    usual = largest[known].median().clamp_min(1e-6)
    return torch.where(known, largest / usual, 1.0)


def _compared(one: RayTracks, two: RayTracks, shift: float) -> tuple[Tensor, Tensor]:
    """What pairs of tracks cost, and which of them may be of one point, [N, M] each.

    Sampson errors in [0, 1], more where features differ, and 1 more where two tracks cannot be of one point.
    """
    rows = max(1, AT_ONCE // (len(one.times) * max(len(two), 1)))
    parts = torch.arange(len(one)).split(rows)
    energy, common = map(torch.cat, zip(*(match_energy(one.chosen(part), two, shift) for part in parts), strict=True))
    possible = may_match(one, two) & (common >= LEAST_COMMON)
    cost = energy + (~possible).float()
    if one.features is not None and two.features is not None:
        cost = cost + FEATURE_WEIGHT * (1.0 - normalize(one.features, dim=-1) @ normalize(two.features, dim=-1).T)
    return cost, possible & (energy < LARGEST_ENERGY)


def mutual(cost: Float[Tensor, "N M"], allowed: Bool[Tensor, "N M"]) -> Matches:
    """Pairs of tracks that are each other's cheapest, and allowed; [N, M] both."""
    partner = cost.argmin(dim=1)
    rows = torch.arange(len(cost))
    kept = (cost.argmin(dim=0)[partner] == rows) & allowed[rows, partner]
    return rows[kept], partner[kept]
