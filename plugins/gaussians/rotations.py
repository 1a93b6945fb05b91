"""Quaternions (w, x, y, z) as rotations.

Matrices and products are an outer product of two quaternions and a product with a table of whole numbers: on a GPU,
where each operation costs a launch, three or four instead of some twenty sums and products written out.
"""

from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

MATRIX = (
    ((-2, "yy", "zz"), (2, "xy", "-wz"), (2, "xz", "wy")),
    ((2, "xy", "wz"), (-2, "xx", "zz"), (2, "yz", "-wx")),
    ((2, "xz", "-wy"), (2, "yz", "wx"), (-2, "xx", "yy")),
)
"""A rotation matrix beyond the identity, row by row: a factor, and the two products that it multiplies."""
PRODUCT = (
    ("ww", "-xx", "-yy", "-zz"),
    ("wx", "xw", "yz", "-zy"),
    ("wy", "-xz", "yw", "zx"),
    ("wz", "xy", "-yx", "zw"),
)
"""The parts of a product, sums of products of a part of the first and one of the second quaternion."""


def rotation_matrices(quaternions: Float[Tensor, "*N 4"]) -> Float[Tensor, "*N 3 3"]:
    """Rotation matrices [..., 3, 3] of unit quaternions [..., 4]."""
    table, identity = _matrix_table(quaternions.device, quaternions.dtype)
    return (_pairs(quaternions, quaternions) @ table + identity).unflatten(-1, (3, 3))


def product(first: Float[Tensor, "*#N 4"], second: Float[Tensor, "*#N 4"]) -> Float[Tensor, "*M 4"]:
    """The rotation ``second`` followed by ``first``, quaternions [..., 4]."""
    return _pairs(first, second) @ _product_table(first.device, first.dtype)


def inverse(quaternions: Float[Tensor, "*N 4"]) -> Float[Tensor, "*N 4"]:
    """The opposite rotations of unit quaternions [..., 4]."""
    return quaternions * _signs(quaternions.device, quaternions.dtype)


def _pairs(first: Tensor, second: Tensor) -> Tensor:
    """Products of all parts of two quaternions, shape [..., 16]."""
    return (first[..., :, None] * second[..., None, :]).flatten(-2)


@cache
def _matrix_table(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Shares of the 16 pairs in the 9 numbers of a matrix, shape [16, 9], and the identity's numbers."""
    columns = [_column(terms, factor) for row in MATRIX for factor, *terms in row]
    return torch.tensor(columns, dtype=dtype).T.to(device), torch.eye(3, dtype=dtype).flatten().to(device)


@cache
def _product_table(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Shares of the 16 pairs in the 4 parts of a product, shape [16, 4]."""
    return torch.tensor([_column(terms, 1) for terms in PRODUCT], dtype=dtype).T.to(device)


@cache
def _signs(device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=dtype).to(device)


def _column(terms: Sequence[str], factor: int) -> list[float]:
    """What a sum of signed pairs, such as ``-wz``, takes of each of the 16."""
    column = [0.0] * 16
    for term in terms:
        one, other = ("wxyz".index(letter) for letter in term[-2:])
        column[4 * one + other] += -factor if term[0] == "-" else factor
    return column
