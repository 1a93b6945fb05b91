"""Features of points from planes times lines (TensoRF, Chen et al., ECCV 2022, equation 5)."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.encodings.plane_samples import plane_samples
from syncnerf.native import addresses, compile_native, useful_threads

PLANE_AXES = ((0, 1), (0, 2), (1, 2))
"""Axes of the three planes."""
LINE_AXES = (2, 1, 0)
"""Axis of the line that goes with each plane."""
LANES = 4
"""The fused kernel takes ranks in multiples of this."""
WORTH_A_THREAD = 1024
"""Points that are worth a thread."""


def vm_features(
    points: Float[Tensor, "N 3"], planes: list[Float[Tensor, "_ _ _"]], lines: list[Float[Tensor, "_ _"]]
) -> Float[Tensor, "N ranks"]:
    """Sample three planes and three lines at points and multiply each plane with its line.

    Differentiable in planes and lines; in the points only where the fused kernel is not used.

    Args:
        points: in [-1, 1] (beyond, the border's value), float32, shape [N, 3].
        planes: channels-last, in the order of :data:`PLANE_AXES`; shapes [second axis, first axis, rank], corners
            aligned.
        lines: in the order of :data:`LINE_AXES`; shapes [axis, rank].

    Returns:
        The products, the three groups one after the other, shape [N, sum of ranks].

    Raises:
        ValueError: the shapes do not belong together.
    """
    _check_shapes(points, planes, lines)
    # The kernel reads two neighbours along every axis, numbers of one type, and vectors of ranks.
    fits = all(line.shape[0] > 1 and line.shape[1] % LANES == 0 for line in lines)
    fits = fits and all(tensor.dtype == torch.float32 for tensor in (points, *planes, *lines))
    if points.device.type == "cpu" and fits and not points.requires_grad and _library() is not None:
        return _FusedLookup.apply(points, *planes, *lines)
    return vm_features_torch(points, planes, lines)


def vm_features_torch(
    points: Float[Tensor, "N 3"], planes: list[Float[Tensor, "_ _ _"]], lines: list[Float[Tensor, "_ _"]]
) -> Float[Tensor, "N ranks"]:
    """The same with ``grid_sample``: runs anywhere, and is what the fused kernel is tested against."""
    groups = []
    for plane, line, plane_axes, line_axis in zip(planes, lines, PLANE_AXES, LINE_AXES, strict=True):
        along = points[:, line_axis]
        on_line = plane_samples(line[:, None], torch.stack([torch.zeros_like(along), along], dim=-1))
        groups.append(plane_samples(plane, points[:, list(plane_axes)]) * on_line)
    return torch.cat(groups, dim=-1)


def _check_shapes(points: Tensor, planes: list[Tensor], lines: list[Tensor]) -> None:
    """Raise ValueError where the kernel would read beyond a tensor's end."""
    if points.ndim != 2 or points.shape[1] != 3 or len(planes) != 3 or len(lines) != 3:
        raise ValueError(f"{len(planes)} planes and {len(lines)} lines at points {tuple(points.shape)}: should be 3")
    cells = {axis: len(line) for axis, line in zip(LINE_AXES, lines, strict=True)}
    for plane, line, (first, second) in zip(planes, lines, PLANE_AXES, strict=True):
        expected = (cells[second], cells[first], line.shape[-1])
        if tuple(plane.shape) != expected or line.ndim != 2 or 0 in expected:
            raise ValueError(f"a plane has the shape {tuple(plane.shape)} instead of {expected}")


class _FusedLookup(torch.autograd.Function):
    """All planes and lines in one pass over the points, in C."""

    @staticmethod
    def forward(ctx, points: Tensor, *grids: Tensor) -> Tensor:
        points = points.contiguous()
        grids = tuple(grid.contiguous() for grid in grids)
        ctx.save_for_backward(points, *grids)
        features = points.new_empty(len(points), sum(plane.shape[-1] for plane in grids[:3]))
        _library().vm_lookup_forward(
            points.data_ptr(), len(points), addresses(grids), *_sizes(grids), features.data_ptr(),
            useful_threads(len(points), WORTH_A_THREAD),
        )  # fmt: skip
        return features

    @staticmethod
    def backward(ctx, upstream: Tensor):
        points, *grids = ctx.saved_tensors
        upstream = upstream.contiguous()
        threads = useful_threads(len(points), WORTH_A_THREAD, sum(grid.numel() for grid in grids))
        sums = [[torch.zeros_like(grid) for grid in grids] for _ in range(threads)]
        _library().vm_lookup_backward(
            points.data_ptr(), len(points), addresses(grids), *_sizes(grids), upstream.data_ptr(),
            addresses([grid for part in sums for grid in part]), threads,
        )  # fmt: skip
        for part in sums[1:]:
            torch._foreach_add_(sums[0], part)
        return (None, *sums[0])


@cache
def _library() -> ctypes.CDLL | None:
    library = compile_native(Path(__file__).with_name("vm_lookup.c"))
    if library is not None:
        pointer, integer, long = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
        library.vm_lookup_forward.argtypes = [pointer, long, pointer, pointer, pointer, pointer, integer]
        library.vm_lookup_backward.argtypes = [pointer, long, pointer, pointer, pointer, pointer, pointer, integer]
    return library


def _sizes(grids) -> tuple[ctypes.Array, ctypes.Array]:
    """Cells along x y z (read off the lines), and the three ranks."""
    cells = [grids[3 + LINE_AXES.index(axis)].shape[0] for axis in range(3)]
    ranks = [plane.shape[-1] for plane in grids[:3]]
    return (ctypes.c_int * 3)(*cells), (ctypes.c_int * 3)(*ranks)
