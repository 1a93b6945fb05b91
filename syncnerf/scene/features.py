"""Features of pictures, and which two of two pictures show the same place."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int64
from kornia.feature import SIFTFeature
from torch import Tensor

FEATURES = 1000
"""Features of a picture at most."""
SMALLEST = 32
"""Pixels a side of the smallest picture that is looked into: the detector's pyramid ends there."""
TOLERANCE = 3.0
"""Largest distance of a match from its epipolar line, in pixels."""
RATIO = 0.85
"""Largest ratio of the best to the second-best descriptor distance near the line (Lowe 2004, section 7.1)."""


@torch.no_grad()
def picture_features(picture: Float[Tensor, "H W"]) -> tuple[Float64[Tensor, "N 2"], Float[Tensor, "N 128"]]:
    """Places (column, row; pixel centres at halves), float64 [N, 2], and unit descriptors [N, 128] of a picture.

    One of less than :data:`SMALLEST` pixels a side has none.
    """
    if min(picture.shape) < SMALLEST:
        return torch.empty(0, 2, dtype=torch.float64), torch.empty(0, 128)
    detector = SIFTFeature(num_features=FEATURES, upright=True, device=picture.device)
    frames, _, descriptors = detector(picture[None, None])
    return frames[0, :, :, 2].double() + 0.5, torch.nn.functional.normalize(descriptors[0], dim=-1)


def match(
    left: Float64[Tensor, "N 2"],
    left_words: Float[Tensor, "N D"],
    right: Float64[Tensor, "K 2"],
    right_words: Float[Tensor, "K D"],
    fundamental: Float64[Tensor, "3 3"],
) -> Int64[Tensor, "M 2"]:
    """Pairs of features of two pictures that are each other's best match near their epipolar lines, int64 [M, 2].

    Args:
        left: places, float64, shape [N, 2].
        left_words: unit descriptors, shape [N, D].
        right: places, shape [K, 2].
        right_words: unit descriptors, shape [K, D].
        fundamental: of the pair: ``right^T F left = 0``, float64, shape [3, 3].
    """
    if len(left) < 2 or len(right) < 2:
        return torch.empty(0, 2, dtype=torch.int64)
    lines = torch.nn.functional.pad(left, (0, 1), value=1.0) @ fundamental.T
    lines = lines / lines[:, :2].norm(dim=-1, keepdim=True).clamp_min(1e-12)
    beside = (lines @ torch.nn.functional.pad(right, (0, 1), value=1.0).T).abs()
    apart = torch.where(beside < TOLERANCE, torch.cdist(left_words, right_words), 9.0)
    best, second = apart.topk(2, dim=1, largest=False).values.unbind(-1)
    chosen, back = apart.argmin(dim=1), apart.argmin(dim=0)
    own = torch.arange(len(left))
    good = (best < RATIO * second) & (best < 1.0) & (back[chosen] == own)
    return torch.stack([own[good], chosen[good]], dim=-1)
