"""The fused plane lookup on a GPU: all planes and scales in one pass over the points, forward and backward.

A program works on a block of points with all channels side by side: planes hold their channels last, so that every
corner is one contiguous read, or one contiguous row of atomic additions. The backward pass samples the planes again
instead of keeping six samples of every point in memory.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

PLANES = 6
FIRST_AXIS = tl.constexpr((0, 0, 1, 0, 1, 2))
SECOND_AXIS = tl.constexpr((1, 2, 2, 3, 3, 3))
FORWARD_TILE, BACKWARD_TILE = 1024, 256
"""Points times channels of a program; the backward pass holds more of each."""


@triton.jit
def _locate(coordinates, point, inside, axis: tl.constexpr, size):
    """Lower neighbour along an axis, distance from it in cells, and cells per unit (zero where clamped)."""
    last = size - 1.0
    position = (tl.load(coordinates + 4 * point + axis, mask=inside, other=0.0) + 1.0) * 0.5 * last
    slope = tl.where((position > 0.0) & (position <= last), 0.5 * last, 0.0)
    position = tl.minimum(tl.maximum(position, 0.0), last)
    cell = tl.minimum(position.to(tl.int32), size - 2)
    return cell, position - cell, slope


@triton.jit
def _locate_all(coordinates, point, inside, sizes, SCALE: tl.constexpr):
    x, fx, sx = _locate(coordinates, point, inside, 0, sizes[4 * SCALE])
    y, fy, sy = _locate(coordinates, point, inside, 1, sizes[4 * SCALE + 1])
    z, fz, sz = _locate(coordinates, point, inside, 2, sizes[4 * SCALE + 2])
    t, ft, st = _locate(coordinates, point, inside, 3, sizes[4 * SCALE + 3])
    return (x, y, z, t), (fx, fy, fz, ft), (sx, sy, sz, st)


@triton.jit
def _place(cells, fractions, sizes, SCALE: tl.constexpr, PLANE: tl.constexpr, CHANNELS: tl.constexpr):
    """A plane's lower corner and row length, as offsets, and the fractions along its first and second axis."""
    first_size = sizes[4 * SCALE + FIRST_AXIS[PLANE]]
    corner = (cells[SECOND_AXIS[PLANE]].to(tl.int64) * first_size + cells[FIRST_AXIS[PLANE]]) * CHANNELS
    return (
        corner[:, None], first_size * CHANNELS, fractions[FIRST_AXIS[PLANE]][:, None],
        fractions[SECOND_AXIS[PLANE]][:, None],
    )  # fmt: skip


@triton.jit
def _corners(plane, place, channel, mask, CHANNELS: tl.constexpr):
    """Values at the corners (first, second) = 00, 10, 01, 11."""
    corner, row, _, _ = place
    base = plane + corner + channel
    v00, v10 = tl.load(base, mask=mask, other=0.0), tl.load(base + CHANNELS, mask=mask, other=0.0)
    base += row
    v01, v11 = tl.load(base, mask=mask, other=0.0), tl.load(base + CHANNELS, mask=mask, other=0.0)
    return v00, v10, v01, v11


@triton.jit
def _sample(plane, place, channel, mask, CHANNELS: tl.constexpr):
    v00, v10, v01, v11 = _corners(plane, place, channel, mask, CHANNELS)
    _, _, f, s = place
    return (v00 * (1.0 - f) + v10 * f) * (1.0 - s) + (v01 * (1.0 - f) + v11 * f) * s


@triton.jit
def _scatter(gradients, place, gradient, channel, mask, CHANNELS: tl.constexpr):
    """Add a sample's gradient to its plane's corners."""
    corner, row, f, s = place
    base = gradients + corner + channel
    tl.atomic_add(base, gradient * (1.0 - f) * (1.0 - s), mask=mask, sem="relaxed")
    tl.atomic_add(base + CHANNELS, gradient * f * (1.0 - s), mask=mask, sem="relaxed")
    base += row
    tl.atomic_add(base, gradient * (1.0 - f) * s, mask=mask, sem="relaxed")
    tl.atomic_add(base + CHANNELS, gradient * f * s, mask=mask, sem="relaxed")


@triton.jit
def _slopes(plane, place, gradient, channel, mask, CHANNELS: tl.constexpr):
    """A sample's slope along both of its axes per cell, times its gradient, summed over the channels."""
    v00, v10, v01, v11 = _corners(plane, place, channel, mask, CHANNELS)
    _, _, f, s = place
    along_first = tl.sum(gradient * ((v10 - v00) * (1.0 - s) + (v11 - v01) * s), axis=1)
    along_second = tl.sum(gradient * ((v01 - v00) * (1.0 - f) + (v11 - v10) * f), axis=1)
    return along_first, along_second


@triton.jit
def _added(totals, value, AXIS: tl.constexpr):
    """Four sums with a value added to one of them."""
    x, y, z, t = totals
    if AXIS == 0:
        x += value
    if AXIS == 1:
        y += value
    if AXIS == 2:
        z += value
    if AXIS == 3:
        t += value
    return x, y, z, t


@triton.jit
def _forward_kernel(
    coordinates, planes, sizes, features, points,
    SCALES: tl.constexpr, CHANNELS: tl.constexpr, LANES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, LANES)[None, :]
    inside = point < points
    mask = inside[:, None] & (channel < CHANNELS)
    for scale in tl.static_range(SCALES):
        cells, fractions, _ = _locate_all(coordinates, point, inside, sizes, scale)
        product = tl.full((BLOCK, LANES), 1.0, tl.float32)
        for plane in tl.static_range(6):
            place = _place(cells, fractions, sizes, scale, plane, CHANNELS)
            product *= _sample(planes[6 * scale + plane], place, channel, mask, CHANNELS)
        tl.store(features + (point * SCALES + scale)[:, None] * CHANNELS + channel, product, mask=mask)


@triton.jit
def _backward_kernel(
    coordinates, planes, sizes, upstream, plane_gradients, coordinate_gradients, points,
    SCALES: tl.constexpr, CHANNELS: tl.constexpr, LANES: tl.constexpr, BLOCK: tl.constexpr,
    OF_PLANES: tl.constexpr, OF_COORDINATES: tl.constexpr,
):  # fmt: skip
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, LANES)[None, :]
    inside = point < points
    mask = inside[:, None] & (channel < CHANNELS)
    zero = tl.zeros((BLOCK,), tl.float32)
    totals = (zero, zero, zero, zero)
    for scale in tl.static_range(SCALES):
        cells, fractions, slopes = _locate_all(coordinates, point, inside, sizes, scale)
        values = ()
        for plane in tl.static_range(6):
            place = _place(cells, fractions, sizes, scale, plane, CHANNELS)
            sample = _sample(planes[6 * scale + plane], place, channel, mask, CHANNELS)
            values = values + (sample,)  # noqa: RUF005 (Triton knows no starred tuples)
        # Gradient of each sample: the upstream one times the product of the other five, never a division.
        before = tl.load(upstream + (point * SCALES + scale)[:, None] * CHANNELS + channel, mask=mask, other=0.0)
        for plane in tl.static_range(6):
            place = _place(cells, fractions, sizes, scale, plane, CHANNELS)
            gradient = before
            for later in tl.static_range(plane + 1, 6):
                gradient *= values[later]
            before *= values[plane]
            if OF_PLANES:
                _scatter(plane_gradients[6 * scale + plane], place, gradient, channel, mask, CHANNELS)
            if OF_COORDINATES:
                first, second = _slopes(planes[6 * scale + plane], place, gradient, channel, mask, CHANNELS)
                totals = _added(totals, first * slopes[FIRST_AXIS[plane]], FIRST_AXIS[plane])
                totals = _added(totals, second * slopes[SECOND_AXIS[plane]], SECOND_AXIS[plane])
    if OF_COORDINATES:
        for axis in tl.static_range(4):
            tl.store(coordinate_gradients + 4 * point + axis, totals[axis], mask=inside)


class TritonLookup(torch.autograd.Function):
    """Features of points; see :func:`syncnerf_kplanes.plane_lookup.plane_features` for arguments and shapes."""

    @staticmethod
    def forward(ctx, sizes: tuple[int, ...], coordinates: Tensor, *planes: Tensor) -> Tensor:
        coordinates, planes = coordinates.contiguous(), tuple(plane.contiguous() for plane in planes)
        ctx.save_for_backward(coordinates, *planes)
        ctx.sizes = sizes
        shape = _Shape(coordinates, planes)
        features = coordinates.new_empty(len(coordinates), shape.scales * shape.channels)
        if len(coordinates):
            _forward_kernel[shape.grid(FORWARD_TILE)](
                coordinates, planes, sizes, features, len(coordinates), **shape.constants(FORWARD_TILE)
            )
        return features

    @staticmethod
    def backward(ctx, upstream: Tensor):
        """Gradients to the coordinates and to every plane, each only where it is asked for."""
        coordinates, *planes = ctx.saved_tensors
        shape = _Shape(coordinates, planes)
        of_coordinates, of_planes = ctx.needs_input_grad[1], any(ctx.needs_input_grad[2:])
        to_coordinates = torch.zeros_like(coordinates) if of_coordinates else coordinates
        to_planes: list[Tensor] = list(planes)
        if of_planes:
            flat = coordinates.new_zeros(sum(plane.numel() for plane in planes))
            parts = flat.split([plane.numel() for plane in planes])
            to_planes = [part.view(plane.shape) for part, plane in zip(parts, planes, strict=True)]
        if len(coordinates):
            _backward_kernel[shape.grid(BACKWARD_TILE)](
                coordinates, tuple(planes), ctx.sizes, upstream.contiguous(), tuple(to_planes), to_coordinates,
                len(coordinates), **shape.constants(BACKWARD_TILE), OF_PLANES=of_planes, OF_COORDINATES=of_coordinates,
            )  # fmt: skip
        gradients = to_planes if of_planes else [None] * len(planes)
        return (None, to_coordinates if of_coordinates else None, *gradients)


class _Shape:
    """How points and channels are laid out over programs."""

    def __init__(self, coordinates: Tensor, planes):
        self.points, self.channels, self.scales = len(coordinates), planes[0].shape[-1], len(planes) // PLANES
        self.lanes = triton.next_power_of_2(self.channels)

    def grid(self, tile: int) -> tuple[int]:
        return (triton.cdiv(self.points, self.block(tile)),)

    def block(self, tile: int) -> int:
        return max(1, tile // self.lanes)

    def constants(self, tile: int) -> dict[str, int]:
        return {"SCALES": self.scales, "CHANNELS": self.channels, "LANES": self.lanes, "BLOCK": self.block(tile)}
