"""Which steps of rays lie in marked cells of a box over time: a C kernel and its torch twin."""

import ctypes
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from syncnerf.native import compile_native, useful_threads
from syncnerf.scene.rays import Rays

WORTH_A_THREAD = 256
"""Rays that are worth a thread."""


def time_bins(times: Float[Tensor, "*shape"], count: int) -> Int[Tensor, "*shape"]:
    """Which of equal intervals of [-1, 1] times are in, int32; times beyond are in the first or the last."""
    return (0.5 * (times.detach() + 1.0) * count).int().clamp(0, count - 1)


def cells_hold(
    occupied: Bool[Tensor, "T R R R"],
    bounds: Float[Tensor, "2 3"],
    points: Float[Tensor, "*#shape 3"],
    bins: Int[Tensor, "*#shape"],
) -> Bool[Tensor, "*#shape"]:
    """Whether points [..., 3] in the units of the bounds lie in occupied cells in their intervals of time [...]."""
    side = occupied.shape[-1]
    cells = ((points - bounds[0]) * (side / (bounds[1] - bounds[0]))).floor()
    inside = ((cells >= 0) & (cells < side)).all(dim=-1)
    cells = cells.clamp(0, side - 1).int()
    flat = ((bins * side + cells[..., 0]) * side + cells[..., 1]) * side + cells[..., 2]
    return occupied.reshape(-1)[flat] & inside


def occupied_steps(
    occupied: Bool[Tensor, "T R R R"],
    bounds: Float[Tensor, "2 3"],
    rays: Rays,
    distances: Float[Tensor, "N S"],
    bins: Int[Tensor, " N"],
) -> Bool[Tensor, "N S"]:
    """Which steps of rays lie in occupied cells, between the rays' near and far, bool, shape [N, S].

    Args:
        occupied: cells of a box in each of equal intervals of time, shape [T, R, R, R].
        bounds: corners of the box, float32, shape [2, 3].
        rays: N rays in the units of the bounds, float32.
        distances: of their steps, shape [N, S].
        bins: each ray's interval, shape [N].

    Raises:
        ValueError: the kernel would read beyond a tensor's end.
    """
    tensors = (bounds, rays.origins, rays.directions, rays.near, rays.far, distances)
    fits = all(value.device.type == "cpu" and value.dtype == torch.float32 for value in tensors)
    if not fits or _library() is None:
        return occupied_steps_torch(occupied, bounds, rays, distances, bins)
    _check(occupied, rays, distances, bins)
    (low, high), side = bounds, occupied.shape[-1]
    values = (rays.origins, rays.directions, distances, rays.near, rays.far, bins.int())
    values = tuple(value.detach().contiguous() for value in values)
    low, scale, cells = low.contiguous(), side / (high - low), occupied.contiguous()
    inside = torch.empty(distances.shape, dtype=torch.bool)
    _library().occupied_steps(
        *(value.data_ptr() for value in values), *distances.shape, low.data_ptr(), scale.data_ptr(), side,
        cells.data_ptr(), inside.data_ptr(), useful_threads(len(distances), WORTH_A_THREAD),
    )  # fmt: skip
    return inside


def occupied_steps_torch(
    occupied: Bool[Tensor, "T R R R"],
    bounds: Float[Tensor, "2 3"],
    rays: Rays,
    distances: Float[Tensor, "N S"],
    bins: Int[Tensor, " N"],
) -> Bool[Tensor, "N S"]:
    """The same without the kernel: runs anywhere, and is what the kernel is tested against."""
    points = rays.origins[:, None] + distances[..., None] * rays.directions[:, None]
    between = (distances > rays.near[:, None]) & (distances < rays.far[:, None])
    return between & cells_hold(occupied, bounds, points, bins[:, None])


def _check(occupied: Tensor, rays: Rays, distances: Tensor, bins: Tensor) -> None:
    rows = {len(value) for value in (rays.origins, rays.directions, rays.near, rays.far, distances, bins)}
    bins_fit = not len(bins) or (bins.min() >= 0 and bins.max() < len(occupied))
    if len(rows) > 1 or len(set(occupied.shape[1:])) > 1 or not bins_fit:
        raise ValueError(f"cells {tuple(occupied.shape)}, rays {rows}: should be [T, R, R, R], N alike, bins below T")


@cache
def _library() -> ctypes.CDLL | None:
    library = compile_native(Path(__file__).with_suffix(".c"))
    if library is not None:
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        library.occupied_steps.argtypes = [
            *[pointer] * 6, ctypes.c_long, integer, pointer, pointer, integer, pointer, pointer, integer,
        ]  # fmt: skip
    return library
