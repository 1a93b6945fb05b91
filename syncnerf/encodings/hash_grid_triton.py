"""The hash grid's Triton engine. Corners of a cell are an axis of the tensors: nothing is unrolled but dimensions."""

from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from syncnerf.encodings.hash_grid_layout import GridLayout

BLOCK = 64
"""Points of a program, of one level each."""


@triton.jit
def _vertex_bits(D: tl.constexpr, axis):
    """Which corners, [1, 2^D], are the upper ones along an axis."""
    return (tl.arange(0, 1 << D)[None, :] >> axis) & 1


@triton.jit
def _fraction(coordinates, rows, valid, scale, axis, D: tl.constexpr):
    """Lower vertex and distance from it in cells, [BLOCK, 1] each."""
    position = tl.load(coordinates + rows * D + axis, mask=valid, other=0.0) * scale + 0.5
    lower = tl.floor(position)
    return lower.to(tl.int32).to(tl.uint32), position - lower


@triton.jit
def _find_cells(coordinates, rows, valid, scale, record, D: tl.constexpr, SMOOTH: tl.constexpr, BLOCK: tl.constexpr):
    """Entries and weights of the cells' vertices, [BLOCK, 2^D] each; ``record``: see :func:`_records`."""
    size, offset = tl.load(record).to(tl.uint32), tl.load(record + 1)
    hashed = tl.load(record + 2)
    index = tl.zeros([BLOCK, 1 << D], tl.uint32)
    weight = tl.full([BLOCK, 1 << D], 1.0, tl.float32)
    for axis in tl.static_range(D):
        upper = _vertex_bits(D, axis)
        lower, fraction = _fraction(coordinates, rows, valid, scale, axis, D)
        if SMOOTH:
            fraction = fraction * fraction * (3.0 - 2.0 * fraction)
        term = (lower + upper.to(tl.uint32)) * tl.load(record + 3 + axis).to(tl.uint32)
        index = tl.where(hashed != 0, index ^ term, index + term)
        weight = weight * tl.where(upper == 1, fraction, 1.0 - fraction)
    if hashed:  # noqa: SIM108 a scalar's branch: only one of them is computed
        index = index & (size - 1)
    else:
        index = index % size
    return offset + index.to(tl.int64), weight


@triton.jit
def _forward(
    coordinates, table, scales, records, features, count,
    D: tl.constexpr, F: tl.constexpr, LEVELS: tl.constexpr, SMOOTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    level = tl.program_id(1)
    rows = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)[:, None]
    valid = rows < count
    record = records + level * (3 + D)
    index, weight = _find_cells(coordinates, rows, valid, tl.load(scales + level), record, D, SMOOTH, BLOCK)
    for feature in tl.static_range(F):
        values = tl.load(table + index * F + feature, mask=valid, other=0.0).to(tl.float32)
        total = tl.sum(values * weight, axis=1, keep_dims=True)
        tl.store(features + rows * (LEVELS * F) + level * F + feature, total, mask=valid)


@triton.jit
def _backward(
    coordinates, table, scales, records, upstream, table_gradient, coordinate_gradient, count,
    D: tl.constexpr, F: tl.constexpr, LEVELS: tl.constexpr, SMOOTH: tl.constexpr, BLOCK: tl.constexpr,
    OF_TABLE: tl.constexpr, OF_COORDINATES: tl.constexpr,
):  # fmt: skip
    level = tl.program_id(1)
    rows = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)[:, None]
    valid = rows < count
    scale, record = tl.load(scales + level), records + level * (3 + D)
    index, weight = _find_cells(coordinates, rows, valid, scale, record, D, SMOOTH, BLOCK)
    steepness = tl.zeros([BLOCK, 1 << D], tl.float32)
    for feature in tl.static_range(F):
        above = tl.load(upstream + rows * (LEVELS * F) + level * F + feature, mask=valid, other=0.0).to(tl.float32)
        if OF_TABLE:
            tl.atomic_add(table_gradient + index * F + feature, above * weight, mask=valid)
        if OF_COORDINATES:
            steepness += above * tl.load(table + index * F + feature, mask=valid, other=0.0).to(tl.float32)
    if OF_COORDINATES:
        for axis in tl.static_range(D):
            _, along = _fraction(coordinates, rows, valid, scale, axis, D)
            slope = tl.where(_vertex_bits(D, axis) == 1, scale, -scale)
            if SMOOTH:
                slope = slope * 6.0 * along * (1.0 - along)
            for other in tl.static_range(D):
                if other != axis:
                    _, fraction = _fraction(coordinates, rows, valid, scale, other, D)
                    if SMOOTH:
                        fraction = fraction * fraction * (3.0 - 2.0 * fraction)
                    slope = slope * tl.where(_vertex_bits(D, other) == 1, fraction, 1.0 - fraction)
            total = tl.sum(steepness * slope, axis=1, keep_dims=True)
            tl.atomic_add(coordinate_gradient + rows * D + axis, total, mask=valid)


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx, coordinates: Tensor, table: Tensor, layout: GridLayout, kind: torch.dtype) -> Tensor:
        coordinates, read = coordinates.contiguous(), table.to(kind).contiguous()
        features = coordinates.new_empty(len(coordinates), layout.width, dtype=kind)
        if len(coordinates):
            _forward[_programs(coordinates, layout)](
                coordinates, read, *_records(layout, table.device), features, len(coordinates), **_constants(layout)
            )
        ctx.save_for_backward(coordinates, read)
        ctx.layout, ctx.table_type = layout, table.dtype
        return features

    @staticmethod
    def backward(ctx, upstream: Tensor):
        (coordinates, table), layout = ctx.saved_tensors, ctx.layout
        of_coordinates, of_table = ctx.needs_input_grad[:2]
        # Sums of many small numbers: always in 32 bits.
        coordinate_gradient = torch.zeros_like(coordinates, dtype=torch.float32)
        table_gradient = torch.zeros_like(table, dtype=torch.float32)
        if len(coordinates):
            _backward[_programs(coordinates, layout)](
                coordinates, table, *_records(layout, table.device), upstream.contiguous(), table_gradient,
                coordinate_gradient, len(coordinates), **_constants(layout), OF_TABLE=of_table,
                OF_COORDINATES=of_coordinates,
            )  # fmt: skip
        return (
            coordinate_gradient.to(coordinates.dtype) if of_coordinates else None,
            table_gradient.to(ctx.table_type) if of_table else None, None, None,
        )  # fmt: skip


def triton_features(
    coordinates: Float[Tensor, "N D"], table: Float[Tensor, " numbers"], layout: GridLayout, kind: torch.dtype
) -> Float[Tensor, "N width"]:
    """The same as :func:`syncnerf.encodings.hash_grid.hash_grid_features`; the table is read, and features are
    answered, in numbers of ``kind``, sums are 32-bit."""
    return _Lookup.apply(coordinates, table, layout, kind)


def _programs(coordinates: Tensor, layout: GridLayout) -> tuple[int, int]:
    return triton.cdiv(len(coordinates), BLOCK), layout.levels


def _constants(layout: GridLayout) -> dict[str, int]:
    return {
        "D": layout.dimensions, "F": layout.features, "LEVELS": layout.levels, "SMOOTH": layout.smooth, "BLOCK": BLOCK,
    }  # fmt: skip


@cache
def _records(layout: GridLayout, device: torch.device) -> tuple[Tensor, Tensor]:
    """Per level the scale, float32; and its size, offset, whether it is hashed, and every axis's factor, int64."""
    records = [[grid.size, grid.offset, int(grid.hashed), *layout.factors(grid)] for grid in layout.grids]
    scales = torch.tensor([grid.scale for grid in layout.grids], dtype=torch.float32, device=device)
    return scales, torch.tensor(records, dtype=torch.int64, device=device)
