"""The small network's Triton engine: all layers of a block of points without leaving the chip."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from syncnerf.encodings.mlp_weights import split_weights

BLOCK = 64
"""Points of a program."""


@triton.jit
def _load_inputs(values, rows, count, INPUTS: tl.constexpr, PADDED: tl.constexpr, COLUMNS: tl.constexpr):
    """A block of inputs, [BLOCK, COLUMNS]: ones in the padding, zeros beyond it."""
    columns = tl.arange(0, COLUMNS)[None, :]
    block = tl.load(values + rows * INPUTS + columns, mask=(rows < count) & (columns < INPUTS), other=0.0)
    return tl.where((columns >= INPUTS) & (columns < PADDED), 1.0, block.to(tl.float32)).to(values.dtype.element_ty)


@triton.jit
def _load_matrix(weights, AFTER: tl.constexpr, BEFORE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A row-major matrix [AFTER, BEFORE] in a block of powers of two, [ROWS, COLUMNS], zeros beyond it."""
    rows, columns = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    return tl.load(weights + rows * BEFORE + columns, mask=(rows < AFTER) & (columns < BEFORE), other=0.0)


@triton.jit
def _forward(
    values, weights, hidden, outputs, count,
    INPUTS: tl.constexpr, PADDED: tl.constexpr, COLUMNS: tl.constexpr, WIDTH: tl.constexpr, LAYERS: tl.constexpr,
    OUTPUTS: tl.constexpr, LAST: tl.constexpr, LAST_ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    rows = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)[:, None]
    neurons = tl.arange(0, WIDTH)[None, :]
    kind: tl.constexpr = values.dtype.element_ty
    block = _load_inputs(values, rows, count, INPUTS, PADDED, COLUMNS)
    matrix = _load_matrix(weights, WIDTH, PADDED, WIDTH, COLUMNS)
    layer = tl.maximum(tl.dot(block, tl.trans(matrix), input_precision="ieee"), 0.0).to(kind)
    tl.store(hidden + rows * WIDTH + neurons, layer, mask=rows < count)
    for index in tl.static_range(1, LAYERS):
        matrix = _load_matrix(weights + WIDTH * (PADDED + (index - 1) * WIDTH), WIDTH, WIDTH, WIDTH, WIDTH)
        layer = tl.maximum(tl.dot(layer, tl.trans(matrix), input_precision="ieee"), 0.0).to(kind)
        tl.store(hidden + (index * count + rows) * WIDTH + neurons, layer, mask=rows < count)
    matrix = _load_matrix(weights + WIDTH * (PADDED + (LAYERS - 1) * WIDTH), LAST, WIDTH, LAST_ROWS, WIDTH)
    result = tl.dot(layer, tl.trans(matrix), input_precision="ieee")
    columns = tl.arange(0, LAST_ROWS)[None, :]
    tl.store(outputs + rows * OUTPUTS + columns, result.to(kind), mask=(rows < count) & (columns < OUTPUTS))


@triton.jit
def _backward(
    upstream, weights, hidden, gradients, of_values, count,
    INPUTS: tl.constexpr, PADDED: tl.constexpr, COLUMNS: tl.constexpr, WIDTH: tl.constexpr, LAYERS: tl.constexpr,
    OUTPUTS: tl.constexpr, LAST: tl.constexpr, LAST_ROWS: tl.constexpr, BLOCK: tl.constexpr, OF_VALUES: tl.constexpr,
):  # fmt: skip
    rows = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)[:, None]
    neurons, columns = tl.arange(0, WIDTH)[None, :], tl.arange(0, LAST_ROWS)[None, :]
    kind: tl.constexpr = weights.dtype.element_ty
    above = tl.load(upstream + rows * OUTPUTS + columns, mask=(rows < count) & (columns < OUTPUTS), other=0.0).to(kind)
    matrix = _load_matrix(weights + WIDTH * (PADDED + (LAYERS - 1) * WIDTH), LAST, WIDTH, LAST_ROWS, WIDTH)
    for index in tl.static_range(LAYERS - 1, -1, -1):
        layer = tl.load(hidden + (index * count + rows) * WIDTH + neurons, mask=rows < count, other=0.0)
        below = tl.where(layer > 0, tl.dot(above, matrix, input_precision="ieee"), 0.0).to(kind)
        tl.store(gradients + (index * count + rows) * WIDTH + neurons, below, mask=rows < count)
        if index > 0:
            matrix = _load_matrix(weights + WIDTH * (PADDED + (index - 1) * WIDTH), WIDTH, WIDTH, WIDTH, WIDTH)
        above = below
    if OF_VALUES:
        first = _load_matrix(weights, WIDTH, PADDED, WIDTH, COLUMNS)
        result = tl.dot(above, first, input_precision="ieee").to(kind)
        inputs = tl.arange(0, COLUMNS)[None, :]
        tl.store(of_values + rows * INPUTS + inputs, result, mask=(rows < count) & (inputs < INPUTS))


class _Network(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, weights: Tensor, inputs: int, outputs: int, shapes: list[tuple[int, int]]):
        values, read = values.contiguous(), weights.to(values.dtype)
        ctx.inputs, ctx.outputs, ctx.shapes, ctx.weight_type = inputs, outputs, shapes, weights.dtype
        hidden = values.new_empty(len(shapes) - 1, len(values), shapes[0][0])
        result = values.new_empty(len(values), outputs)
        if len(values):
            _forward[(triton.cdiv(len(values), BLOCK),)](
                values, read, hidden, result, len(values), **_constants(inputs, outputs, shapes)
            )
        ctx.save_for_backward(values, read, hidden)
        return result

    @staticmethod
    def backward(ctx, upstream: Tensor):
        values, weights, hidden = ctx.saved_tensors
        upstream = upstream.to(values.dtype).contiguous()
        gradients, of_values = torch.empty_like(hidden), torch.empty_like(values)
        if len(values):
            _backward[(triton.cdiv(len(values), BLOCK),)](
                upstream, weights, hidden, gradients, of_values, len(values),
                **_constants(ctx.inputs, ctx.outputs, ctx.shapes), OF_VALUES=ctx.needs_input_grad[0],
            )  # fmt: skip
        of_weights = None
        if ctx.needs_input_grad[1]:
            of_weights = weights.new_zeros(len(weights), dtype=ctx.weight_type)
            first, *between, last = split_weights(of_weights, ctx.shapes)
            first[:, : ctx.inputs] = gradients[0].T @ values
            first[:, ctx.inputs :] = gradients[0].sum(dim=0)[:, None]
            for index, part in enumerate(between):
                part[:] = gradients[index + 1].T @ hidden[index]
            last[: ctx.outputs] = upstream.T @ hidden[-1]
        return of_values if ctx.needs_input_grad[0] else None, of_weights, None, None, None


def triton_mlp(
    values: Float[Tensor, "N inputs"],
    weights: Float[Tensor, " W"],
    inputs: int,
    outputs: int,
    shapes: list[tuple[int, int]],
) -> Float[Tensor, "N outputs"]:
    """The same as :func:`syncnerf.encodings.mlp_weights.mlp_values`; in the number type of the values."""
    return _Network.apply(values, weights, inputs, outputs, shapes)


def _constants(inputs: int, outputs: int, shapes: list[tuple[int, int]]) -> dict[str, int]:
    (width, padded), (last, _) = shapes[0], shapes[-1]
    return {
        "INPUTS": inputs, "PADDED": padded, "COLUMNS": triton.next_power_of_2(padded), "WIDTH": width,
        "LAYERS": len(shapes) - 1, "OUTPUTS": outputs, "LAST": last, "LAST_ROWS": triton.next_power_of_2(last),
        "BLOCK": BLOCK,
    }  # fmt: skip
