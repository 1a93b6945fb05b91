"""Spherical harmonics' Triton engine."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

BLOCK = 256


@triton.jit
def _forward(directions, values, count, BLOCK: tl.constexpr):
    rows = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    seen = rows < count
    x = tl.load(directions + rows * 3, mask=seen, other=0.0).to(tl.float32)
    y = tl.load(directions + rows * 3 + 1, mask=seen, other=0.0).to(tl.float32)
    z = tl.load(directions + rows * 3 + 2, mask=seen, other=0.0).to(tl.float32)
    xx, yy, zz, out = x * x, y * y, z * z, values + rows * 16
    tl.store(out, 0.28209479177387814, mask=seen)
    tl.store(out + 1, -0.48860251190291987 * y, mask=seen)
    tl.store(out + 2, 0.48860251190291987 * z, mask=seen)
    tl.store(out + 3, -0.48860251190291987 * x, mask=seen)
    tl.store(out + 4, 1.0925484305920792 * x * y, mask=seen)
    tl.store(out + 5, -1.0925484305920792 * y * z, mask=seen)
    tl.store(out + 6, 0.31539156525252005 * (3 * zz - 1), mask=seen)
    tl.store(out + 7, -1.0925484305920792 * x * z, mask=seen)
    tl.store(out + 8, 0.5462742152960396 * (xx - yy), mask=seen)
    tl.store(out + 9, -0.5900435899266435 * y * (3 * xx - yy), mask=seen)
    tl.store(out + 10, 2.890611442640554 * x * y * z, mask=seen)
    tl.store(out + 11, -0.4570457994644657 * y * (5 * zz - 1), mask=seen)
    tl.store(out + 12, 0.3731763325901154 * z * (5 * zz - 3), mask=seen)
    tl.store(out + 13, -0.4570457994644657 * x * (5 * zz - 1), mask=seen)
    tl.store(out + 14, 1.445305721320277 * z * (xx - yy), mask=seen)
    tl.store(out + 15, -0.5900435899266435 * x * (xx - 3 * yy), mask=seen)


@triton.jit
def _above(upstream, rows, seen, column):
    return tl.load(upstream + rows * 16 + column, mask=seen, other=0.0).to(tl.float32)


@triton.jit
def _backward(directions, upstream, gradient, count, BLOCK: tl.constexpr):
    rows = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    seen = rows < count
    x = tl.load(directions + rows * 3, mask=seen, other=0.0).to(tl.float32)
    y = tl.load(directions + rows * 3 + 1, mask=seen, other=0.0).to(tl.float32)
    z = tl.load(directions + rows * 3 + 2, mask=seen, other=0.0).to(tl.float32)
    xx, yy, zz = x * x, y * y, z * z
    along_y = -0.48860251190291987 * _above(upstream, rows, seen, 1)
    along_z = 0.48860251190291987 * _above(upstream, rows, seen, 2)
    along_x = -0.48860251190291987 * _above(upstream, rows, seen, 3)
    u = 1.0925484305920792 * _above(upstream, rows, seen, 4)
    along_x, along_y = along_x + u * y, along_y + u * x
    u = -1.0925484305920792 * _above(upstream, rows, seen, 5)
    along_y, along_z = along_y + u * z, along_z + u * y
    along_z += 0.31539156525252005 * 6 * z * _above(upstream, rows, seen, 6)
    u = -1.0925484305920792 * _above(upstream, rows, seen, 7)
    along_x, along_z = along_x + u * z, along_z + u * x
    u = 0.5462742152960396 * 2 * _above(upstream, rows, seen, 8)
    along_x, along_y = along_x + u * x, along_y - u * y
    u = -0.5900435899266435 * 3 * _above(upstream, rows, seen, 9)
    along_x, along_y = along_x + u * 2 * x * y, along_y + u * (xx - yy)
    u = 2.890611442640554 * _above(upstream, rows, seen, 10)
    along_x, along_y, along_z = along_x + u * y * z, along_y + u * x * z, along_z + u * x * y
    u = -0.4570457994644657 * _above(upstream, rows, seen, 11)
    along_y, along_z = along_y + u * (5 * zz - 1), along_z + u * 10 * y * z
    along_z += 0.3731763325901154 * (15 * zz - 3) * _above(upstream, rows, seen, 12)
    u = -0.4570457994644657 * _above(upstream, rows, seen, 13)
    along_x, along_z = along_x + u * (5 * zz - 1), along_z + u * 10 * x * z
    u = 1.445305721320277 * _above(upstream, rows, seen, 14)
    along_x, along_y, along_z = along_x + u * 2 * x * z, along_y - u * 2 * y * z, along_z + u * (xx - yy)
    u = -0.5900435899266435 * 3 * _above(upstream, rows, seen, 15)
    along_x, along_y = along_x + u * (xx - yy), along_y - u * 2 * x * y
    tl.store(gradient + rows * 3, along_x, mask=seen)
    tl.store(gradient + rows * 3 + 1, along_y, mask=seen)
    tl.store(gradient + rows * 3 + 2, along_z, mask=seen)


class _Harmonics(torch.autograd.Function):
    @staticmethod
    def forward(ctx, directions: Tensor, kind: torch.dtype) -> Tensor:
        directions = directions.contiguous()
        ctx.save_for_backward(directions)
        values = directions.new_empty(len(directions), 16, dtype=kind)
        if len(directions):
            _forward[(triton.cdiv(len(directions), BLOCK),)](directions, values, len(directions), BLOCK=BLOCK)
        return values

    @staticmethod
    def backward(ctx, upstream: Tensor):
        (directions,) = ctx.saved_tensors
        gradient = torch.empty_like(directions)
        if len(directions):
            _backward[(triton.cdiv(len(directions), BLOCK),)](
                directions, upstream.contiguous(), gradient, len(directions), BLOCK=BLOCK
            )
        return gradient, None


def triton_harmonics(directions: Float[Tensor, "N 3"], kind: torch.dtype) -> Float[Tensor, "N 16"]:
    """The same as :func:`syncnerf.encodings.spherical_harmonics.spherical_harmonics`, answered in ``kind``."""
    return _Harmonics.apply(directions, kind)
