"""Depth from pictures of the same scene by calibrated cameras: plane sweep, then semi-global matching.

For many distances, each pixel is projected into the neighbouring cameras' pictures; the distance at which these look
the same as the pixel's own surroundings is its depth.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, pad

from syncnerf.scene.camera import Camera

WINDOW = 5
"""Side in pixels of the windows that are compared."""
BEST = 2
"""A window's score is the mean over its so many best neighbours; others may have something in front of it."""
FLAT = 3e-4
"""Variance, of grey in [0, 1], that is added to every window's as noise, so that flat windows match nothing."""
UNSEEN = 1.3
"""Cost of a distance at which no neighbour sees the pixel: that of a rather bad match."""
SMALL_JUMP, LARGE_JUMP = 0.05, 0.4
"""Costs of a change to the next distance, and to any farther one, between neighbouring pixels."""
EDGE = 10.0
"""How much less a jump costs where grey changes between the pixels, per unit of grey."""
AT_ONCE = 2**18
"""Pixels times distances that are compared at once, which take a hundred bytes each."""


def matching_costs(
    camera: Camera,
    picture: Float[Tensor, "H W"],
    neighbours: list[tuple[Camera, Float[Tensor, "h w"]]],
    distances: Float64[Tensor, " D"],
) -> Float32[Tensor, "D H W"]:
    """How badly a picture matches its neighbours' at each distance along its rays, in [0, 2], float32 [D, H, W].

    The cost is 1 minus the normalised cross-correlation of windows, which ignores gain and bias of a camera's colours.

    Args:
        camera: that took the picture.
        picture: grey in [0, 1].
        neighbours: other cameras, at least one, and their pictures.
        distances: that are tried, float64, shape [D].
    """
    planes = max(1, AT_ONCE // picture.numel())
    return torch.cat([_costs_at(camera, picture, neighbours, some) for some in distances.split(planes)])


def _costs_at(camera: Camera, picture: Tensor, neighbours: list[tuple[Camera, Tensor]], distances: Tensor) -> Tensor:
    """The same at a few distances."""
    height, width = picture.shape
    rays = camera.all_rays(0.0, 1.0)
    own_mean, own_spread = _moments(picture[None])
    scores = []
    for other, shown in neighbours:
        # Double precision is needed only where coordinates may be far from the world's origin.
        projection, tall = other.projection(), torch.tensor([shown.shape[1], shown.shape[0], 2.0]) / 2.0
        start = ((projection[:, :3] @ rays.origins[0] + projection[:, 3]) / tall).float()
        slope = (rays.directions @ projection[:, :3].float().T) / tall
        column, row, depth = (start[:, None, None] + distances.float()[:, None] * slope.T[:, None]).unbind(0)
        spots = torch.stack([column / depth, row / depth], dim=-1) - 1.0
        seen = ((depth > 0) & (spots.abs() < 1.0).all(dim=-1)).reshape(-1, height, width)
        warped = grid_sample(shown[None, None], spots[None], padding_mode="border", align_corners=False)
        warped = warped.reshape(-1, height, width)
        mean, spread = _moments(warped)
        correlation = (_window_mean(warped * picture) - mean * own_mean) / (spread * own_spread).sqrt()
        scores.append(torch.where(seen, correlation, 1.0 - UNSEEN))
    best = torch.stack(scores).topk(min(BEST, len(scores)), dim=0).values
    return 1.0 - best.mean(dim=0)


def _window_mean(pictures: Tensor) -> Tensor:
    """Means over windows of pictures [D, H, W]; beyond the borders there is nothing."""
    return avg_pool2d(pictures[None], WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)[0]


def _moments(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Means and variances of windows of pictures [D, H, W], noise included."""
    mean = _window_mean(pictures)
    return mean, (_window_mean(pictures.square()) - mean.square()).clamp_min(0.0) + FLAT


def smoothed_costs(costs: Float32[Tensor, "D H W"], picture: Float[Tensor, "H W"]) -> Float32[Tensor, "D H W"]:
    """Matching costs [D, H, W] smoothed along rows and columns: changes of distance between neighbours cost extra.

    Semi-global matching (Hirschmueller, PAMI 2008, section 2.3) with four directions.
    """
    total = torch.zeros_like(costs)
    for axis in (1, 2):
        for backward in (False, True):
            along, grey = costs.movedim(axis, 0).contiguous(), picture.movedim(axis - 1, 0)
            if backward:
                along, grey = along.flip(0), grey.flip(0)
            paths = _path_costs(along, grey)
            total += (paths.flip(0) if backward else paths).movedim(0, axis)
    return total


def _path_costs(costs: Tensor, grey: Tensor) -> Tensor:
    """Costs [L, D, N] of N paths of L pixels, from costs of the same shape and grey [L, N]."""
    paths = torch.empty_like(costs)
    paths[0] = last = costs[0]
    for place in range(1, len(costs)):
        jump = LARGE_JUMP / (1.0 + EDGE * (grey[place] - grey[place - 1]).abs())
        least = last.amin(dim=0)
        farther = pad(last[1:], (0, 0, 0, 1), value=torch.inf) + SMALL_JUMP
        nearer = pad(last[:-1], (0, 0, 1, 0), value=torch.inf) + SMALL_JUMP
        way = torch.minimum(torch.minimum(last, farther), torch.minimum(nearer, least + jump))
        paths[place] = last = costs[place] + way - least
    return paths


def best_distances(costs: Float32[Tensor, "D H W"], distances: Float64[Tensor, " D"]) -> Float32[Tensor, "H W"]:
    """Each pixel's distance of least cost, float32 [H, W], refined between the tried ones by a parabola.

    Args:
        costs: shape [D, H, W], D at least 3.
        distances: that were tried, evenly spaced in their inverse, float64, shape [D].
    """
    least = costs.argmin(dim=0)
    middle = least.clamp(1, len(distances) - 2)
    before, there, after = (costs.gather(0, (middle + shift)[None])[0] for shift in (-1, 0, 1))
    bend = (before - 2.0 * there + after).clamp_min(1e-6)
    shift = torch.where(least == middle, (0.5 * (before - after) / bend).clamp(-0.5, 0.5), 0.0)
    inverse = distances.reciprocal()
    return (inverse[0] + (least + shift) * (inverse[1] - inverse[0])).reciprocal().float()
