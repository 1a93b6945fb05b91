"""Inner products for chosen pairs of a point and a moment: most pairs are seen in no picture and need none."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from syncnerf.native import compile_native, kernel_takes

LANES = 8
"""The fused kernel takes widths in multiples of this."""


@dataclass
class Pairs:
    """Some points, each at some of T moments.

    Attributes:
        points: ascending, int64, shape [P].
        moments: int64, shape [P].
        length: T.
    """

    points: Int64[Tensor, " P"]
    moments: Int64[Tensor, " P"]
    length: int

    @staticmethod
    def where(mask: Bool[Tensor, "M T"]) -> Pairs:
        """Those that a mask [M, T] marks."""
        points, moments = mask.nonzero(as_tuple=True)
        return Pairs(points.contiguous(), moments.contiguous(), mask.shape[1])

    def flat(self, rows: Int64[Tensor, " M"] | None = None) -> Int64[Tensor, " P"]:
        """Places [P] in a list of T moments for each point, or for each row where points are given one of these."""
        first = self.points if rows is None else rows.index_select(0, self.points)
        return first * self.length + self.moments


def fits_kernel(vectors: Float[Tensor, "M C width"], queries: Float[Tensor, "Q width"]) -> bool:
    """Whether :func:`pair_products` can answer here: float32 on a CPU with a compiler, no forward derivatives."""
    return queries.shape[-1] % LANES == 0 and kernel_takes(vectors, queries) and _library() is not None


def pair_products(
    vectors: Float[Tensor, "M C width"],
    queries: Float[Tensor, "Q width"],
    points: Int64[Tensor, " P"],
    asked: Int64[Tensor, " P"],
) -> Float[Tensor, "P C"]:
    """Inner products [P, C] of points' vectors with queries; only where :func:`fits_kernel` says so.

    Args:
        vectors: C vectors for each of M points, shape [M, C, width].
        queries: shape [Q, width].
        points: each pair's point, ascending, shape [P].
        asked: each pair's query, shape [P].

    Raises:
        ValueError: the shapes do not belong together, or pairs are of points or queries that there are not.
    """
    if vectors.shape[-1] != queries.shape[-1] or len(points) != len(asked):
        raise ValueError(f"vectors {tuple(vectors.shape)}, queries {tuple(queries.shape)}: should be of one width")
    for numbers, values in ((points, vectors), (asked, queries)):
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(values):
            raise ValueError(f"pairs of numbers up to {int(numbers.max())}: there are {len(values)}")
    return _FusedProducts.apply(vectors, queries, points, asked)


class _FusedProducts(torch.autograd.Function):
    """One pass over the pairs, in C."""

    @staticmethod
    def forward(ctx, vectors: Tensor, queries: Tensor, points: Tensor, asked: Tensor) -> Tensor:
        vectors, queries = vectors.contiguous(), queries.contiguous()
        ctx.save_for_backward(vectors, queries, points, asked)
        products = vectors.new_empty(len(points), vectors.shape[1])
        _library().pair_products_forward(
            vectors.data_ptr(), queries.data_ptr(), points.data_ptr(), asked.data_ptr(), len(points),
            *vectors.shape[1:], products.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return products

    @staticmethod
    def backward(ctx, upstream: Tensor):
        vectors, queries, points, asked = ctx.saved_tensors
        upstream, threads = upstream.contiguous(), torch.get_num_threads()
        to_vectors, to_queries = torch.zeros_like(vectors), queries.new_zeros(threads, *queries.shape)
        _library().pair_products_backward(
            vectors.data_ptr(), queries.data_ptr(), points.data_ptr(), asked.data_ptr(), len(points),
            *vectors.shape[1:], upstream.data_ptr(), to_vectors.data_ptr(), to_queries.data_ptr(), queries.numel(),
            threads,
        )  # fmt: skip
        return to_vectors, to_queries.sum(dim=0), None, None


@cache
def _library() -> ctypes.CDLL | None:
    library = compile_native(Path(__file__).with_name("pair_products.c"))
    if library is not None:
        pointer, integer, long = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
        shared = [pointer] * 4 + [long] * 3 + [pointer]
        library.pair_products_forward.argtypes = [*shared, integer]
        library.pair_products_backward.argtypes = [*shared, pointer, pointer, long, integer]
    return library
