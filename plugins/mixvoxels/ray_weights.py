"""Rendering weights of samples kept in one list, at T moments at once (NeRF, equation 3)."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from syncnerf.native import compile_native, kernel_takes


def ray_weights(
    densities: Float[Tensor, "M T"], lengths: Float[Tensor, " M"], rays: Int64[Tensor, " M"], ray_count: int
) -> Float[Tensor, "M T"]:
    """Weight of each sample in its ray, at each moment, float32, shape [M, T].

    Differentiable in the densities; in the lengths only where the fused kernel is not used.

    Args:
        densities: non-negative, shape [M, T].
        lengths: of the samples' intervals, shape [M].
        rays: each sample's ray, ascending, int64, shape [M]; its samples come near to far.
        ray_count: number of rays, also of those that have no samples.

    Raises:
        ValueError: there are more or fewer lengths or rays than samples.
    """
    if len(densities) != len(lengths) or len(densities) != len(rays):
        raise ValueError(f"{len(lengths)} lengths and {len(rays)} rays of {len(densities)} samples")
    counts = torch.bincount(rays, minlength=ray_count)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    if kernel_takes(densities, lengths) and not lengths.requires_grad and _library() is not None:
        return _FusedWeights.apply(densities, lengths, starts)
    return ray_weights_torch(densities, lengths, rays, starts)


def ray_weights_torch(
    densities: Float[Tensor, "M T"],
    lengths: Float[Tensor, " M"],
    rays: Int64[Tensor, " M"],
    starts: Int64[Tensor, " R"],
) -> Float[Tensor, "M T"]:
    """The same as sums over the whole list: runs anywhere, and is what the fused kernel is tested against.

    Args:
        densities: see :func:`ray_weights`.
        lengths: see there.
        rays: see there.
        starts: first sample of each ray, and the number of samples.
    """
    depth = densities * lengths[:, None]
    # Differences of a sum over all rays: double precision keeps what float would lose.
    total = depth.double().cumsum(dim=0)
    before = total - depth
    light = torch.exp(-(before - before.index_select(0, starts.index_select(0, rays))).float())
    return light * -torch.expm1(-depth)


class _FusedWeights(torch.autograd.Function):
    """One pass over the samples of each ray, in C."""

    @staticmethod
    def forward(ctx, densities: Tensor, lengths: Tensor, starts: Tensor) -> Tensor:
        densities, lengths = densities.contiguous(), lengths.contiguous()
        weights = torch.empty_like(densities)
        _library().ray_weights_forward(
            densities.data_ptr(), lengths.data_ptr(), starts.data_ptr(), len(starts) - 1, densities.shape[1],
            weights.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(weights, lengths, starts)
        return weights

    @staticmethod
    def backward(ctx, upstream: Tensor):
        weights, lengths, starts = ctx.saved_tensors
        upstream, gradients = upstream.contiguous(), torch.empty_like(weights)
        _library().ray_weights_backward(
            weights.data_ptr(), lengths.data_ptr(), starts.data_ptr(), len(starts) - 1, weights.shape[1],
            upstream.data_ptr(), gradients.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return gradients, None, None


@cache
def _library() -> ctypes.CDLL | None:
    library = compile_native(Path(__file__).with_name("ray_weights.c"))
    if library is not None:
        pointer, integer, long = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
        for name in ("ray_weights_forward", "ray_weights_backward"):
            outputs = (pointer,) if name.endswith("forward") else (pointer, pointer)
            getattr(library, name).argtypes = [pointer, pointer, pointer, long, long, *outputs, integer]
    return library
