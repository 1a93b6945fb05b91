"""Loose rays with the kernel in C: bundles of rays that share their origin and moment."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from syncnerf.scene.rays import Rays
from syncnerf_gaussians.gaussians import Gaussians, Motion
from syncnerf_gaussians.kernel import gradients_of, library, motion_indices, motion_tensors, scene_of
from syncnerf_gaussians.reference import bundled

PIECE = 512
"""Rays that one thread follows through all Gaussians at a time."""


class _Rays(ctypes.Structure):
    """The kernel's structure ``Rays``."""

    _fields_ = (
        ("bundles", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("moments", "origins", "begin", "directions", "near", "far")),
    )


def cast_rays(
    gaussians: Gaussians, rays: Rays, moments: Int64[Tensor, " R"], motion: Motion
) -> tuple[Float[Tensor, "R 3"], Float[Tensor, " R"], Float[Tensor, " R"]]:
    """Colours [R, 3], opacity [R] and depth [R] of rays; see :func:`syncnerf_gaussians.raster.cast`."""
    pieces, order = _pieces(rays, moments)
    rgb, accumulation, depth = _Cast.apply(pieces, motion_indices(motion), *motion_tensors(gaussians, motion))
    back = order.argsort()
    return rgb[back], accumulation[back], depth[back]


@torch.no_grad()
def cast_rates(
    gaussians: Gaussians, rays: Rays, moments: Int64[Tensor, " R"], motion: Motion
) -> tuple[Float[Tensor, "R 3"], Float[Tensor, " R"], Float[Tensor, "R 4"]]:
    """Colours [R, 3], opacity [R] and the derivatives of both by time [R, 4]."""
    pieces, order = _pieces(rays, moments)
    rates = None if motion.skinning is None else motion.skinning.rates
    scene, _kept = scene_of(motion_indices(motion), motion_tensors(gaussians, motion), rates)
    rgb, accumulation, slopes = torch.empty(len(rays), 3), torch.empty(len(rays)), torch.empty(len(rays), 4)
    library().raster_cast(
        ctypes.byref(scene), _structure(pieces), rgb.data_ptr(), accumulation.data_ptr(), None, slopes.data_ptr()
    )
    back = order.argsort()
    return rgb[back], accumulation[back], slopes[back]


class _Cast(torch.autograd.Function):
    """Pieces of bundles through the kernel, and back."""

    @staticmethod
    def forward(ctx, pieces: list[Tensor], indices: tuple[Tensor | None, ...], *tensors: Tensor | None):
        scene, ctx.kept = scene_of(indices, tensors)
        ctx.pieces, ctx.scene, count = pieces, scene, len(pieces[3])
        rgb, accumulation, depth = torch.empty(count, 3), torch.empty(count), torch.empty(count)
        library().raster_cast(
            ctypes.byref(scene), _structure(pieces), rgb.data_ptr(), accumulation.data_ptr(), depth.data_ptr(), None
        )
        ctx.save_for_backward(rgb, accumulation, *tensors)
        ctx.mark_non_differentiable(depth)
        return rgb, accumulation, depth

    @staticmethod
    def backward(ctx, by_rgb: Tensor, by_accumulation: Tensor, _: Tensor):
        rgb, accumulation, *tensors = ctx.saved_tensors
        slopes, structure = gradients_of(tensors)
        upstream = torch.cat([by_rgb, by_accumulation[:, None]], dim=-1)
        library().raster_cast_backward(
            ctypes.byref(ctx.scene), _structure(ctx.pieces), rgb.data_ptr(), accumulation.data_ptr(),
            upstream.data_ptr(), ctypes.byref(structure),
        )  # fmt: skip
        return None, None, *slopes


def _pieces(rays: Rays, moments: Tensor) -> tuple[list[Tensor], Tensor]:
    """Moments, origins, beginnings, directions, near and far of bundles no longer than :data:`PIECE`; rays' order."""
    places, lengths, order = bundled(rays, moments)
    counts = (lengths + PIECE - 1) // PIECE
    places = places.repeat_interleave(counts, dim=0)
    first = torch.cat([torch.arange(0, length, PIECE) for length in lengths.tolist()] or [torch.zeros(0)])
    ends = torch.minimum(first + PIECE, lengths.repeat_interleave(counts))
    begin = torch.nn.functional.pad((ends - first).cumsum(0), (1, 0)).long()
    own = rays[order]
    pieces = [places[:, 3].int(), places[:, :3], begin, own.directions.float(), own.near.float(), own.far.float()]
    return [tensor.contiguous() for tensor in pieces], order


def _structure(pieces: list[Tensor]) -> Any:
    """A reference to the kernel's structure of rays."""
    return ctypes.byref(_Rays(len(pieces[0]), *(tensor.data_ptr() for tensor in pieces)))
