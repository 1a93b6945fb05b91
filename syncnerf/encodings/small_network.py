"""Small networks of the torch engine on a CPU: a C kernel, compiled on first use."""

from __future__ import annotations

import ctypes
import itertools
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.encodings.told_rows import put_back, told_alone
from syncnerf.native import compile_native, useful_threads

WIDEST, MOST_LAYERS = 128, 8
"""Sides and number of matrices that the kernel has room for."""
WORTH_A_THREAD = 512
"""Points that are worth a thread."""


def network_fits(
    values: Float[Tensor, "N inputs"], weights: Float[Tensor, " W"], shapes: list[tuple[int, int]]
) -> bool:
    """Whether :func:`native_network` can take these: float32, on the CPU, not too large, and a C compiler was found."""
    fits = all(value.device.type == "cpu" and value.dtype == torch.float32 for value in (values, weights))
    small = len(shapes) <= MOST_LAYERS and max(itertools.chain(*shapes)) <= WIDEST
    return fits and small and _library() is not None


def native_network(
    values: Float[Tensor, "N inputs"],
    weights: Float[Tensor, " W"],
    inputs: int,
    outputs: int,
    shapes: list[tuple[int, int]],
) -> Float[Tensor, "N outputs"]:
    """The same as :func:`syncnerf.encodings.mlp_weights.mlp_values`, faster.

    Raises:
        ValueError: the shapes do not belong together.
    """
    sides = [shapes[0][1], *(after for after, _ in shapes)]
    chained = [(after, before) for before, after in itertools.pairwise(sides)] == shapes
    padded = inputs <= sides[0] and outputs <= sides[-1] and not any(side % 16 for side in sides)
    numbers = sum(after * before for after, before in shapes)
    if values.shape[1:] != (inputs,) or weights.shape != (numbers,) or not chained or not padded:
        raise ValueError(f"values {tuple(values.shape)} and {weights.numel()} weights of matrices {shapes}")
    return _Network.apply(values, weights, outputs, tuple(sides))


class _Network(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, weights: Tensor, outputs: int, sides: tuple[int, ...]) -> Tensor:
        values, weights = values.contiguous(), weights.contiguous()
        layers, (points, width) = len(sides) - 1, values.shape
        wanted = any(ctx.needs_input_grad)
        hidden = values.new_empty(layers - 1, points, sides[1]) if wanted else None
        output, scratch = values.new_empty(points, outputs), values.new_empty(layers, WIDEST, WIDEST)
        _library().network_forward(
            values.data_ptr(), points, width, weights.data_ptr(), _integers(sides), layers, outputs,
            hidden.data_ptr() if wanted else None, output.data_ptr(), scratch.data_ptr(),
            useful_threads(points, WORTH_A_THREAD),
        )  # fmt: skip
        if wanted:
            ctx.save_for_backward(values, weights, hidden)
            ctx.sides = sides
        return output

    @staticmethod
    def backward(ctx, upstream: Tensor):
        (values, weights, hidden), every = ctx.saved_tensors, len(upstream)
        rows, upstream, values = told_alone(upstream, values)
        if rows is not None:
            hidden = hidden.index_select(1, rows)
        points, outputs = upstream.shape
        threads = useful_threads(points, WORTH_A_THREAD)
        of_weights = weights.new_zeros(threads, len(weights))
        of_values = torch.empty_like(values) if ctx.needs_input_grad[0] else None
        _library().network_backward(
            values.data_ptr(), points, values.shape[1], weights.data_ptr(), _integers(ctx.sides), len(ctx.sides) - 1,
            outputs, hidden.data_ptr(), upstream.data_ptr(), of_weights.data_ptr(),
            None if of_values is None else of_values.data_ptr(), threads,
        )  # fmt: skip
        return put_back(of_values, rows, every), of_weights.sum(dim=0), None, None


def _integers(values: tuple[int, ...]) -> ctypes.Array:
    return (ctypes.c_int * len(values))(*values)


@cache
def _library() -> ctypes.CDLL | None:
    library = compile_native(Path(__file__).with_suffix(".c"))
    if library is not None:
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        shared = [pointer, ctypes.c_long, integer, pointer, pointer, integer, integer]
        library.network_forward.argtypes = [*shared, pointer, pointer, pointer, integer]
        library.network_backward.argtypes = [*shared, pointer, pointer, pointer, pointer, integer]
    return library
