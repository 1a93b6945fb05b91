"""Gaussians projected into pictures and sorted into their tiles, in plain torch: for a kernel on a GPU.

The numbers of a splat are those of the kernel in C (sight.h), here differentiable by autograd.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor
from torch.nn.functional import pad

from syncnerf.scene.camera import Intrinsics
from syncnerf_gaussians.gaussians import Gaussians, Motion, PinholePicture
from syncnerf_gaussians.motion import Moved, moved
from syncnerf_gaussians.reference import FAINTEST, harmonic_colours, seen_from
from syncnerf_gaussians.rotations import rotation_matrices

KEPT = 64
"""Tables of cameras that are kept, for a table made anew waits for the GPU."""
NUMBERS = 15
"""Numbers of a splat: u v log2_opacity, three of colour, l0 l1 l2, e f g h i, depth."""
SIDE = 16
"""Pixels of a tile's side."""


class Lists(NamedTuple):
    """What S splats of all views are, and which of them each tile sees, near to far.

    Attributes:
        numbers: of the splats, shape [S, 15].
        splats: the splats of tile after tile, int32, shape [E].
        begin: where each tile's part of them begins, int32, shape [tiles + 1].
        tiles: left and top pixel of each tile, width and height of its picture, index of its picture's first pixel,
            int32, shape [tiles, 5].
        order: for each splat after the other, the places of its entries, int64, shape [E].
        lengths: number of entries of each splat, int64, shape [S].
    """

    numbers: Float[Tensor, "S 15"]
    splats: Int32[Tensor, " E"]
    begin: Int32[Tensor, " starts"]
    tiles: Int32[Tensor, "tiles 5"]
    order: Int64[Tensor, " E"]
    lengths: Int64[Tensor, " S"]


def pictures(gaussians: Gaussians, views: Sequence[PinholePicture], motion: Motion) -> Float[Tensor, "P 5"]:
    """Columns of colours, opacity and depth as :func:`syncnerf_gaussians.reference.pictures` has them, by Triton.

    Gaussians whose centres lie behind the plane of a camera are not drawn. Forward mode reaches the colours alone.
    """
    # Imported here: Triton is an extra.
    from syncnerf_gaussians.tiles_triton import TritonTiles

    lists = tile_lists(gaussians, views, motion)
    values = TritonTiles.apply(lists.numbers, sum(map(len, views)), lists)
    lengths = torch.cat([values.new_empty(0), *(_lengths(view.intrinsics, values.device) for view in views)])
    return torch.cat([values[:, :4], values[:, 4:] * lengths[:, None]], dim=-1)


@lru_cache(maxsize=KEPT)
def _lengths(size: Intrinsics, device: torch.device) -> Tensor:
    """Length of each pixel's ray per unit along its camera's axis, shape [P]."""
    x = (torch.arange(size.width, dtype=torch.float64) + 0.5 - size.centre_x) / size.focal_x
    y = (torch.arange(size.height, dtype=torch.float64) + 0.5 - size.centre_y) / size.focal_y
    return (1.0 + x * x + (y * y)[:, None]).sqrt().flatten().float().to(device)


@lru_cache(maxsize=KEPT)
def _tiles(width: int, height: int, device: torch.device) -> Tensor:
    """Left and top pixel of each tile of a picture and the picture's size, int32, shape [tiles, 4]."""
    top, left = torch.meshgrid(torch.arange(0, height, SIDE), torch.arange(0, width, SIDE), indexing="ij")
    places = torch.stack([left, top, torch.full_like(left, width), torch.full_like(left, height)], dim=-1)
    return places.flatten(0, 1).int().to(device)


def tile_lists(gaussians: Gaussians, views: Sequence[PinholePicture], motion: Motion) -> Lists:
    """Project all views; Gaussians whose centres lie behind the plane of a camera are left out."""
    at, device = moved(gaussians, motion), gaussians.means.device
    numbers = [gaussians.means.new_empty(0, NUMBERS)]
    boxes = [torch.empty(0, 6, dtype=torch.int64, device=device)]
    tiles = [torch.empty(0, 5, dtype=torch.int32, device=device)]
    before = pixels = 0
    for index, view in enumerate(views):
        own, box = _project(gaussians, Moved(*(tensor[index] for tensor in at)), view)
        width, height = view.intrinsics.width, view.intrinsics.height
        places = _tiles(width, height, device)
        numbers.append(own)
        boxes.append(pad(pad(box, (0, 1), value=before), (0, 1), value=-(-width // SIDE)))
        tiles.append(pad(places, (0, 1), value=pixels))
        before, pixels = before + len(places), pixels + len(view)
    return _sorted(torch.cat(numbers), torch.cat(boxes), torch.cat(tiles))


def _sorted(numbers: Tensor, boxes: Tensor, tiles: Tensor) -> Lists:
    """Lists of splats that come near to far, from their tiles: left, top, right, bottom, view's first tile, columns."""
    left, top, right, bottom, first, columns = boxes.unbind(-1)
    across = right - left + 1
    lengths = across * (bottom - top + 1)
    splats = torch.repeat_interleave(torch.arange(len(boxes), device=boxes.device), lengths)
    within = torch.arange(len(splats), device=boxes.device) - (lengths.cumsum(0) - lengths)[splats]
    row, column = within.div(across[splats], rounding_mode="floor"), within.remainder(across[splats])
    where = first[splats] + (top[splats] + row) * columns[splats] + left[splats] + column
    order = where.argsort(stable=True)
    begin = pad(where.bincount(minlength=len(tiles)).cumsum(0), (1, 0))
    return Lists(numbers, splats[order].int(), begin.int(), tiles, order.argsort(), lengths)


def _project(gaussians: Gaussians, at: Moved, view: PinholePicture) -> tuple[Tensor, Tensor]:
    """Numbers [S, 15] of the splats of a view, near to far, and the tiles that they touch: left top right bottom."""
    pose = view.camera_to_world.to(at.means.device, torch.float64)
    away = (at.means.double() - pose[:3, 3]).to(at.means.dtype)
    with torch.no_grad():
        seen = seen_from(gaussians, at, away)
        distances = away[seen].norm(dim=-1)
        seen = seen[(distances >= view.near) & (distances <= view.far)]
        found, box = _boxed(_numbers(gaussians, at, away, view, pose, seen), at.opacities[seen], view)
        seen, box = seen[found], box[found]
    return _numbers(gaussians, at, away, view, pose, seen), box


def _numbers(gaussians: Gaussians, at: Moved, away: Tensor, view: PinholePicture, pose: Tensor, seen: Tensor) -> Tensor:
    """Numbers of the splats of some Gaussians, see sight.h, shape [S, 15]."""
    size = view.intrinsics
    right, up, back = pose[:3, :3].to(away.dtype).unbind(-1)
    away, scales = away[seen], torch.exp(gaussians.log_scales[seen])
    turns = rotation_matrices(torch.nn.functional.normalize(at.quaternions[seen], dim=-1))
    whiten = turns.transpose(-1, -2) / scales[..., None]
    origin = -(whiten @ away[..., None])[..., 0]
    depth = -(away @ back)
    length = origin.norm(dim=-1, keepdim=True)
    scale = depth[:, None] / length
    first, second, third = (
        scale * (whiten @ (right / size.focal_x)),
        scale * (whiten @ (-up / size.focal_y)),
        -origin / length,
    )
    one, two = torch.linalg.cross(origin, first), torch.linalg.cross(origin, second)
    long = one.norm(dim=-1)
    values = [
        size.centre_x + size.focal_x * (away @ right) / depth, size.centre_y - size.focal_y * (away @ up) / depth,
        torch.log2(at.opacities[seen]),
        *harmonic_colours(gaussians.harmonics[seen], torch.nn.functional.normalize(away, dim=-1)).unbind(-1),
        long, (one * two).sum(-1) / long, torch.linalg.cross(one, two).norm(dim=-1) / long,
        (first * third).sum(-1), (second * third).sum(-1),
        (first * first).sum(-1), (first * second).sum(-1), (second * second).sum(-1), depth,
    ]  # fmt: skip
    return torch.stack(values, dim=-1)


def _boxed(numbers: Tensor, opacities: Tensor, view: PinholePicture) -> tuple[Tensor, Tensor]:
    """Which splats are in the picture, bool, shape [S], and the tiles that hold all that is visible of them [S, 4]."""
    u, v, _, _, _, _, l0, l1, l2, e, f, g, h, i, depth = numbers.double().unbind(-1)
    visible = 2.0 * torch.log(opacities.double() / FAINTEST)
    xx, xy, yy = l0 * l0 - visible * g, l0 * l1 - visible * h, l1 * l1 + l2 * l2 - visible * i
    x, y = -visible * e, -visible * f
    determinant = xx * yy - xy * xy
    middle_x, middle_y = (xy * y - yy * x) / determinant, (xy * x - xx * y) / determinant
    rest = (visible - x * middle_x - y * middle_y) / determinant
    found = (depth > 0) & numbers.isfinite().all(dim=-1)
    # What reaches across the camera's plane is no ellipse in the picture, and may be anywhere in it.
    bounded = (xx > 0) & (yy > 0) & (determinant > 0)
    sides = []
    for at, middle, square, size in (
        (u, middle_x, yy, view.intrinsics.width),
        (v, middle_y, xx, view.intrinsics.height),
    ):
        half = 1.0001 * (square * rest).clamp_min(0.0).sqrt() + 1e-3
        low = torch.where(bounded, at + middle - half - 0.5, 0.0).ceil().clamp_min(0.0)
        high = torch.where(bounded, at + middle + half - 0.5, size).floor().clamp_max(size - 1.0)
        found &= low <= high
        sides.append((low, high))
    (left, right), (top, bottom) = sides
    corners = torch.stack([left, top, right, bottom], dim=-1)
    return found, torch.where(found[:, None], corners, 0.0).long() // SIDE
