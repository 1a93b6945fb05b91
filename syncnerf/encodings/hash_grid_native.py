"""The hash grid's torch engine on a CPU: a C kernel, compiled on first use."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.encodings.hash_grid_layout import GridLayout
from syncnerf.encodings.told_rows import put_back, told_alone
from syncnerf.native import compile_native


def native_is_there(coordinates: Float[Tensor, "N D"], table: Float[Tensor, " numbers"]) -> bool:
    """Whether :func:`native_features` can take these: both float32, on the CPU, and a C compiler was found."""
    fits = all(value.device.type == "cpu" and value.dtype == torch.float32 for value in (coordinates, table))
    return fits and _library() is not None


def native_features(
    coordinates: Float[Tensor, "N D"], table: Float[Tensor, " numbers"], layout: GridLayout
) -> Float[Tensor, "N width"]:
    """The same as :func:`syncnerf.encodings.hash_grid.hash_grid_features`, several times faster."""
    return _NativeLookup.apply(coordinates, table, layout)


class _NativeLookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx, coordinates: Tensor, table: Tensor, layout: GridLayout) -> Tensor:
        coordinates, table = coordinates.contiguous(), table.contiguous()
        ctx.save_for_backward(coordinates, table)
        ctx.layout = layout
        features = coordinates.new_empty(len(coordinates), layout.width)
        _library().hash_grid_forward(*_arguments(coordinates, table, layout), features.data_ptr(), _threads(layout))
        return features

    @staticmethod
    def backward(ctx, upstream: Tensor):
        (coordinates, table), layout, threads = ctx.saved_tensors, ctx.layout, _threads(ctx.layout)
        every = len(upstream)
        rows, upstream, coordinates = told_alone(upstream, coordinates)
        of_coordinates = coordinates.new_zeros(threads, *coordinates.shape) if ctx.needs_input_grad[0] else None
        of_table = torch.zeros_like(table) if ctx.needs_input_grad[1] else None
        _library().hash_grid_backward(
            *_arguments(coordinates, table, layout), upstream.data_ptr(),
            None if of_table is None else of_table.data_ptr(),
            None if of_coordinates is None else of_coordinates.data_ptr(), threads,
        )  # fmt: skip
        summed = None if of_coordinates is None else of_coordinates.sum(dim=0)
        return put_back(summed, rows, every), of_table, None


def _arguments(coordinates: Tensor, table: Tensor, layout: GridLayout) -> tuple:
    """The kernels' first arguments; raises ValueError where they would read beyond a tensor's end."""
    if coordinates.ndim != 2 or coordinates.shape[1] != layout.dimensions or table.numel() != layout.size:
        raise ValueError(
            f"a table of {table.numel()} numbers at points {tuple(coordinates.shape)}: should be {layout.size}, and "
            f"[N, {layout.dimensions}]"
        )
    return (
        coordinates.data_ptr(), len(coordinates), table.data_ptr(), _levels(layout), layout.levels, layout.dimensions,
        layout.features, int(layout.smooth),
    )  # fmt: skip


class _Level(ctypes.Structure):
    _fields_ = (
        ("scale", ctypes.c_float), ("side", ctypes.c_uint32), ("size", ctypes.c_uint32), ("offset", ctypes.c_uint32),
        ("hashed", ctypes.c_uint32),
    )  # fmt: skip


@cache
def _levels(layout: GridLayout) -> ctypes.Array:
    return (_Level * layout.levels)(*[_Level(g.scale, g.side, g.size, g.offset, g.hashed) for g in layout.grids])


def _threads(layout: GridLayout) -> int:
    """Threads share the work by levels."""
    return min(torch.get_num_threads(), layout.levels)


@cache
def _library() -> ctypes.CDLL | None:
    library = compile_native(Path(__file__).with_name("hash_grid.c"))
    if library is not None:
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        shared = [pointer, ctypes.c_long, pointer, pointer, integer, integer, integer, integer]
        library.hash_grid_forward.argtypes = [*shared, pointer, integer]
        library.hash_grid_backward.argtypes = [*shared, pointer, pointer, pointer, integer]
    return library
