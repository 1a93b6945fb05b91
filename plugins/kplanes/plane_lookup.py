"""Features of space-time points: products of samples from six planes, at several scales (K-Planes, section 3.1)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.encodings.engines import missing
from syncnerf.encodings.plane_samples import plane_samples
from syncnerf.encodings.told_rows import put_back, told_alone
from syncnerf.native import addresses, compile_native, useful_threads

PAIRS = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Axes of the six planes: xy xz yz (space), xt yt zt (space-time)."""

LANES = 8
"""The fused kernel takes channels in multiples of this."""
WORTH_A_THREAD = 512
"""Points that are worth a thread."""


def plane_features(
    coordinates: Float[Tensor, "N 4"],
    planes: list[Float[Tensor, "_ _ channels"]],
    engine: str = "torch",
    times_alone: bool = False,
) -> Float[Tensor, "N features"]:
    """Sample multi-scale planes at points and multiply (differentiable in both arguments).

    Args:
        coordinates: x y z t in [-1, 1] (beyond, the border's value), float32, shape [N, 4].
        planes: channels-last planes, scale by scale in the order of :data:`PAIRS`; each of shape
            [second axis, first axis, channels], corners aligned.
        engine: ``torch``; any other runs Triton's kernel where that can run. On a CPU, ``torch`` means a kernel in C.
        times_alone: nobody asks for gradients of x y z, which may then be zero: the kernel in C saves a third of its
            backward pass.

    Returns:
        The product over the six planes of a scale, scales concatenated, shape [N, scales * channels].

    Raises:
        ValueError: the shapes do not belong together.
    """
    device = coordinates.device
    _check_shapes(coordinates, planes)
    # The kernels read two neighbours along every axis, and numbers of one type.
    if min(plane_sizes(planes)) > 1 and all(tensor.dtype == torch.float32 for tensor in (coordinates, *planes)):
        if engine != "torch" and missing("triton", device) is None:
            from syncnerf_kplanes.plane_lookup_triton import TritonLookup

            return TritonLookup.apply(plane_sizes(planes), coordinates, *planes)
        if device.type == "cpu" and planes[0].shape[-1] % LANES == 0 and _library() is not None:
            return _FusedLookup.apply(times_alone, coordinates, *planes)
    return plane_features_torch(coordinates, planes)


def plane_features_torch(
    coordinates: Float[Tensor, "N 4"], planes: list[Float[Tensor, "_ _ channels"]]
) -> Float[Tensor, "N features"]:
    """The same with ``grid_sample``: runs anywhere, and is what the fused kernel is tested against."""
    scales = []
    for start in range(0, len(planes), len(PAIRS)):
        product: Tensor | float = 1.0
        for pair, plane in zip(PAIRS, planes[start : start + len(PAIRS)], strict=True):
            # Not by a list: it would be copied to the device in every step.
            at = torch.stack([coordinates[:, axis] for axis in pair], dim=-1)
            product = product * plane_samples(plane, at)
        scales.append(product)
    return torch.cat(scales, dim=-1)


def plane_sizes(planes: Sequence[Float[Tensor, "_ _ _"]]) -> tuple[int, ...]:
    """Cells along x y z t at each scale, read off the planes xy and zt."""
    sizes: list[int] = []
    for start in range(0, len(planes), len(PAIRS)):
        xy, zt = planes[start], planes[start + 5]
        sizes += [xy.shape[1], xy.shape[0], zt.shape[1], zt.shape[0]]
    return tuple(sizes)


def _check_shapes(coordinates: Tensor, planes: list[Tensor]) -> None:
    """Raise ValueError where a kernel would read beyond a tensor's end."""
    if coordinates.ndim != 2 or coordinates.shape[1] != 4 or not planes or len(planes) % len(PAIRS):
        raise ValueError(f"{len(planes)} planes at points {tuple(coordinates.shape)}: should be sixes and [N, 4]")
    if flat := [index for index, plane in enumerate(planes) if plane.ndim != 3]:
        raise ValueError(f"plane {flat[0]} has the shape {tuple(planes[flat[0]].shape)} instead of 2 axes and channels")
    sizes, channels = plane_sizes(planes), planes[0].shape[-1]
    for index, plane in enumerate(planes):
        scale, (first, second) = 4 * (index // len(PAIRS)), PAIRS[index % len(PAIRS)]
        expected = (sizes[scale + second], sizes[scale + first], channels)
        if tuple(plane.shape) != expected or 0 in expected:
            raise ValueError(f"plane {index} has the shape {tuple(plane.shape)} instead of {expected}")


class _FusedLookup(torch.autograd.Function):
    """All planes and scales in one pass over the points, in C."""

    @staticmethod
    def forward(ctx, times_alone: bool, coordinates: Tensor, *planes: Tensor) -> Tensor:
        ctx.times_alone = times_alone
        coordinates = coordinates.contiguous()
        planes = tuple(plane.contiguous() for plane in planes)
        ctx.save_for_backward(coordinates, *planes)
        channels, scales = planes[0].shape[-1], len(planes) // len(PAIRS)
        features = coordinates.new_empty(len(coordinates), scales * channels)
        _library().plane_lookup_forward(
            coordinates.data_ptr(), len(coordinates), addresses(planes), _sizes(planes), scales, channels,
            features.data_ptr(), useful_threads(len(coordinates), WORTH_A_THREAD),
        )  # fmt: skip
        return features

    @staticmethod
    def backward(ctx, upstream: Tensor):
        (coordinates, *planes), every = ctx.saved_tensors, len(upstream)
        rows, upstream, coordinates = told_alone(upstream, coordinates)
        channels, scales = planes[0].shape[-1], len(planes) // len(PAIRS)
        threads = useful_threads(len(coordinates), WORTH_A_THREAD, sum(plane.numel() for plane in planes))
        of_coordinates = torch.zeros_like(coordinates) if ctx.needs_input_grad[1] else None
        of_planes: list[list[Tensor]] = []
        if any(ctx.needs_input_grad[2:]):
            of_planes = [[torch.zeros_like(plane) for plane in planes] for _ in range(threads)]
        _library().plane_lookup_backward(
            coordinates.data_ptr(), len(coordinates), addresses(planes), _sizes(planes), scales, channels,
            upstream.data_ptr(), addresses([p for part in of_planes for p in part]) if of_planes else None,
            None if of_coordinates is None else of_coordinates.data_ptr(), ctx.times_alone, threads,
        )  # fmt: skip
        for part in of_planes[1:]:
            torch._foreach_add_(of_planes[0], part)
        return (None, put_back(of_coordinates, rows, every), *(of_planes[0] if of_planes else [None] * len(planes)))


@cache
def _library() -> ctypes.CDLL | None:
    library = compile_native(Path(__file__).with_name("plane_lookup.c"))
    if library is not None:
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        library.plane_lookup_forward.argtypes = [
            pointer, ctypes.c_long, pointer, pointer, integer, integer, pointer, integer,
        ]  # fmt: skip
        library.plane_lookup_backward.argtypes = [
            pointer, ctypes.c_long, pointer, pointer, integer, integer, pointer, pointer, pointer, integer, integer,
        ]  # fmt: skip
    return library


def _sizes(planes) -> ctypes.Array:
    sizes = plane_sizes(planes)
    return (ctypes.c_int * len(sizes))(*sizes)
