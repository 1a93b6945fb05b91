"""The rasteriser in C: Gaussians moved, projected, sorted into tiles and drawn in one call, and back."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float, Int32, Shaped
from torch import Tensor

from syncnerf.native import compile_native
from syncnerf_gaussians.gaussians import Gaussians, Motion, PinholePicture, Poses

SOURCE = Path(__file__).with_name("raster.c")
HEADERS = sorted(SOURCE.parent.glob("*.h"))
TWIN = "thousands of times slower (a training of Gaussians takes hours instead of minutes)"
"""What drawing as plain torch is like."""

ARRAYS = (
    "means", "quaternions", "log_scales", "logits", "colours",
    "weights", "rest_positions", "rest_quaternions", "positions", "turns",
    "velocities", "centres", "plateaus", "fades", "times",
)  # fmt: skip
"""What a scene has gradients by, in the order of the kernel's structure ``Gradients``."""


class _Scene(ctypes.Structure):
    """The kernel's structure ``Scene``."""

    _fields_ = (
        ("gaussians", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("moments", "nodes", "rests", "harmonics", "threads")),
        *((name, ctypes.c_void_p) for name in ARRAYS[:5]),
        *((name, ctypes.c_void_p) for name in ("carriers", "rest_rows")),
        *((name, ctypes.c_void_p) for name in (*ARRAYS[5:10], "position_rates", "turn_rates", *ARRAYS[10:])),
    )


class _Gradients(ctypes.Structure):
    """The kernel's structure ``Gradients``."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ARRAYS)


class _Work:
    """Projections and lists of one call, in the kernel's memory until nothing refers to them any more."""

    def __init__(self, scene: _Scene, kept: Sequence[Tensor | None], cameras: Tensor):
        self.kept = kept
        self.handle = ctypes.c_void_p(library().raster_prepare(ctypes.byref(scene), cameras.data_ptr(), len(cameras)))

    def __del__(self) -> None:
        library().raster_release(self.handle)


def runs_here(gaussians: Gaussians) -> bool:
    """Whether the kernel can take these Gaussians: numbers of 32 bits on a CPU, and a compiler was there."""
    means = gaussians.means
    return means.device.type == "cpu" and means.dtype == torch.float32 and library() is not None


def draw(
    gaussians: Gaussians, views: Sequence[PinholePicture], motion: Motion, with_depth: bool
) -> tuple[Float[Tensor, "P 3"], Float[Tensor, " P"], Float[Tensor, " P"] | None]:
    """Colours [P, 3], opacity [P] and depth [P] of views; see :func:`syncnerf_gaussians.raster.rasterise`."""
    tensors = motion_tensors(gaussians, motion)
    indices = motion_indices(motion)
    return _Draw.apply(_cameras(views), indices, with_depth, *tensors)


@torch.no_grad()
def draw_rates(
    gaussians: Gaussians, views: Sequence[PinholePicture], motion: Motion
) -> tuple[Float[Tensor, "P 3"], Float[Tensor, " P"], Float[Tensor, "P 4"]]:
    """Colours [P, 3], opacity [P] and the derivatives of both by time [P, 4]."""
    rates = None if motion.skinning is None else motion.skinning.rates
    cameras = _cameras(views)
    work = _prepare(cameras, motion_indices(motion), motion_tensors(gaussians, motion), rates)
    pixels = _pixels(cameras)
    rgb, accumulation, slopes = torch.empty(pixels, 3), torch.empty(pixels), torch.empty(pixels, 4)
    library().raster_rates(work.handle, rgb.data_ptr(), accumulation.data_ptr(), slopes.data_ptr())
    return rgb, accumulation, slopes


@torch.no_grad()
def find_influence(
    gaussians: Gaussians, views: Sequence[PinholePicture], motion: Motion, errors: Float[Tensor, " P"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Sums over pixels of each Gaussian's weight, and of the weight times the pixel's error; shape [N] each."""
    work = _prepare(_cameras(views), motion_indices(motion), motion_tensors(gaussians, motion))
    sums = torch.zeros(2, len(gaussians))
    errors = errors.float().contiguous()
    library().raster_influence(work.handle, errors.data_ptr(), sums[0].data_ptr(), sums[1].data_ptr())
    return sums[0], sums[1]


class _Draw(torch.autograd.Function):
    """One call of the kernel, and one more on the way back."""

    @staticmethod
    def forward(ctx, cameras: Tensor, indices: tuple[Tensor | None, ...], with_depth: bool, *tensors: Tensor | None):
        ctx.work = work = _prepare(cameras, indices, tensors)
        pixels = _pixels(cameras)
        rgb, accumulation = torch.empty(pixels, 3), torch.empty(pixels)
        depth = torch.empty(pixels) if with_depth else None
        library().raster_draw(
            work.handle, rgb.data_ptr(), accumulation.data_ptr(), None if depth is None else depth.data_ptr()
        )
        ctx.save_for_backward(rgb, accumulation, *tensors)
        if depth is not None:
            ctx.mark_non_differentiable(depth)
        return rgb, accumulation, depth

    @staticmethod
    def backward(ctx, by_rgb: Tensor, by_accumulation: Tensor, _: Tensor | None):
        rgb, accumulation, *tensors = ctx.saved_tensors
        slopes, structure = gradients_of(tensors)
        upstream = torch.cat([by_rgb, by_accumulation[:, None]], dim=-1)
        library().raster_backward(
            ctx.work.handle, rgb.data_ptr(), accumulation.data_ptr(), upstream.data_ptr(), ctypes.byref(structure)
        )
        return None, None, None, *slopes


def _prepare(
    cameras: Tensor, indices: tuple[Tensor | None, ...], tensors: Sequence[Tensor | None], rates: Poses | None = None
) -> _Work:
    """Everything up to the tiles' lists."""
    return _Work(*scene_of(indices, tensors, rates), cameras)


def scene_of(
    indices: tuple[Int32[Tensor, " ..."] | None, ...],
    tensors: Sequence[Float[Tensor, " ..."] | None],
    rates: Poses | None = None,
) -> tuple[_Scene, list[Shaped[Tensor, " ..."] | None]]:
    """The kernel's scene of tensors in the order of :data:`ARRAYS`, and what has to live as long as it."""
    tensors = [None if tensor is None else tensor.contiguous() for tensor in tensors]
    derivatives = [None, None] if rates is None else [rates.positions.contiguous(), rates.quaternions.contiguous()]
    every = [*tensors[:5], *indices, *tensors[5:10], *derivatives, *tensors[10:]]
    named = dict(zip(ARRAYS, tensors, strict=True))
    nodes, rests = (0, 0) if named["positions"] is None else (named["positions"].shape[1], len(named["rest_positions"]))
    scene = _Scene(
        len(named["means"]), len(named["times"]), nodes, rests, named["colours"].shape[1], torch.get_num_threads(),
        *(None if tensor is None else tensor.data_ptr() for tensor in every),
    )  # fmt: skip
    return scene, every


def gradients_of(
    tensors: Sequence[Float[Tensor, " ..."] | None],
) -> tuple[list[Float[Tensor, " ..."] | None], _Gradients]:
    """Zeros to add gradients to, and the kernel's structure of them."""
    slopes = [None if t is None else torch.zeros_like(t, memory_format=torch.contiguous_format) for t in tensors]
    return slopes, _Gradients(*(None if slope is None else slope.data_ptr() for slope in slopes))


def motion_tensors(gaussians: Gaussians, motion: Motion) -> list[Float[Tensor, " ..."] | None]:
    """What the kernel differentiates by, in the order of :data:`ARRAYS`."""
    own = [gaussians.means, gaussians.quaternions, gaussians.log_scales, gaussians.opacity_logits, gaussians.harmonics]
    skinning: list[Tensor | None] = [None] * 5
    if motion.skinning is not None:
        rest, now = motion.skinning.rest, motion.skinning.poses
        skinning = [motion.skinning.weights, rest.positions, rest.quaternions, now.positions, now.quaternions]
    drift = [None] * 4 if motion.drift is None else list(vars(motion.drift).values())
    floats = [None if tensor is None else tensor.float() for tensor in (*own, *skinning, *drift)]
    return [*floats, motion.times.double()]


def motion_indices(motion: Motion) -> tuple[Int32[Tensor, "N 4"] | None, Int32[Tensor, " N"] | None]:
    """Nodes and moments of rest of each Gaussian, as the kernel reads them."""
    if motion.skinning is None:
        return None, None
    return motion.skinning.nodes.int().contiguous(), motion.skinning.moments.int().contiguous()


def _cameras(views: Sequence[PinholePicture]) -> Tensor:
    """Width, height, focal lengths, centre, near, far and the first three rows of the pose, float64, shape [V, 20]."""
    rows = []
    for view in views:
        size = view.intrinsics
        numbers = [
            size.width,
            size.height,
            size.focal_x,
            size.focal_y,
            size.centre_x,
            size.centre_y,
            view.near,
            view.far,
        ]
        rows.append(numbers + view.camera_to_world[:3].flatten().tolist())
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), 20)


def _pixels(cameras: Tensor) -> int:
    return int((cameras[:, 0] * cameras[:, 1]).sum())


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernel; None where it cannot be had."""
    found = compile_native(SOURCE, HEADERS, TWIN)
    if found is not None:
        pointer = ctypes.c_void_p
        found.raster_prepare.restype = pointer
        found.raster_prepare.argtypes = [pointer, pointer, ctypes.c_int]
        for name, count in (
            ("release", 1),
            ("draw", 4),
            ("rates", 4),
            ("influence", 4),
            ("backward", 5),
            ("cast", 6),
            ("cast_backward", 6),
        ):
            function = getattr(found, f"raster_{name}")
            function.restype, function.argtypes = None, [pointer] * count
    return found
