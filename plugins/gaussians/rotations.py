"""Quaternions (w, x, y, z) as rotations."""

import torch
from jaxtyping import Float
from torch import Tensor


def rotation_matrices(quaternions: Float[Tensor, "*N 4"]) -> Float[Tensor, "*N 3 3"]:
    """Rotation matrices [..., 3, 3] of unit quaternions [..., 4]."""
    w, x, y, z = quaternions.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).reshape(*quaternions.shape[:-1], 3, 3)


def product(first: Float[Tensor, "*#N 4"], second: Float[Tensor, "*#N 4"]) -> Float[Tensor, "*M 4"]:
    """The rotation ``second`` followed by ``first``, quaternions [..., 4]."""
    a, b, c, d = first.unbind(-1)
    e, f, g, h = second.unbind(-1)
    parts = [a * e - b * f - c * g - d * h, a * f + b * e + c * h - d * g, a * g - b * h + c * e + d * f,
             a * h + b * g - c * f + d * e]  # fmt: skip
    return torch.stack(parts, dim=-1)


def inverse(quaternions: Float[Tensor, "*N 4"]) -> Float[Tensor, "*N 4"]:
    """The opposite rotations of unit quaternions [..., 4]."""
    return quaternions * quaternions.new_tensor([1.0, -1.0, -1.0, -1.0])
