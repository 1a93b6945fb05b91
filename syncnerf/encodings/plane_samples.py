"""Samples of a plane of features, with plain torch: what fused lookups of many planes are tested against."""

import torch
from jaxtyping import Float
from torch import Tensor


def plane_samples(
    plane: Float[Tensor, "rows columns channels"], at: Float[Tensor, "N 2"]
) -> Float[Tensor, "N channels"]:
    """Bilinear samples of a plane, shape [N, channels]; differentiable in both arguments.

    Args:
        plane: values at the corners of its cells, shape [second axis, first axis, channels].
        at: first and second coordinate in [-1, 1] (beyond, the border's value), shape [N, 2].
    """
    sampled = torch.nn.functional.grid_sample(
        plane.permute(2, 0, 1)[None], at[None, :, None], align_corners=True, padding_mode="border"
    )
    return sampled[0, :, :, 0].T
