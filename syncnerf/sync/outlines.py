"""Outlines: where what stands before a known background, or what moves before a still one, ends in the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, UInt8
from torch import Tensor

from syncnerf.scene import Camera, Scene
from syncnerf.scene.frame_cache import release_pages
from syncnerf.scene.points import median_picture
from syncnerf.sync.burned_in import Patch
from syncnerf.sync.flicker import CLIPPED
from syncnerf.sync.frame_samples import PIECE_BYTES
from syncnerf.sync.pencils import PencilView, view_through

LEAST_CONTRAST, LEAST_CHANGE = 12, 38
"""Grey levels of difference from a known background, and from the median picture, that are no noise."""
EDGE = 0.5
"""A pixel's difference, as a share of the largest one next to it, at which half of the pixel is taken to be covered."""
AROUND, LEAST_AROUND = 3, 10
"""Pixels to every side, and how many of all these must be covered, for a covered pixel to be more than a speck."""


@dataclass(frozen=True)
class Outlines:
    """Points of a camera's outlines: the first and the last covered point of every row and of every column.

    The convex hull of all that is covered is that of these points.

    Attributes:
        view: the camera's place and the unit directions through the points, those of each frame together, NaN where a
            row or column has none, shape [T P, 3].
        cut: whether the picture ends there, and not what it shows, bool, shape [T, P].
        times: of the frames' middle rows on the camera's own clock, seconds, float64, shape [T].
        late: by how much later the points' rows were read, seconds, float32, shape [T, P].
    """

    view: PencilView
    cut: Bool[Tensor, "T P"]
    times: Float64[Tensor, " T"]
    late: Float32[Tensor, "T P"]


def outlines(
    scene: Scene,
    index: int,
    told: Bool[Tensor, " T"],
    gains: Float32[Tensor, " T"] | None = None,
    burned: Sequence[Patch] = (),
) -> Outlines:
    """The outlines in a static camera's frames, of everything before a known background, else of what moves.

    What moves differs from the median picture of the frames that say something: where it stands still for long, that of
    all frames would show it.

    Args:
        scene: cameras and frames.
        index: global index of the camera.
        told: frames that say something, bool, shape [T]; the others have no outlines.
        gains: each frame's brightness factor, which is divided out, shape [T]; None where the brightness is even.
        burned: patches of the image in which something burned in changes: nothing there is an outline.
    """
    camera, frames = scene.cameras[index], scene.frame_cache.open(scene.cameras[index])
    known = scene.background is not None
    colours = torch.tensor(scene.background) if known else median_picture(frames, among=_frames_of(told))
    size, floor = camera.intrinsics, LEAST_CONTRAST if known else LEAST_CHANGE
    # A whole picture, though of one colour: differences from three numbers take several times as long.
    background = (255.0 * colours).round().byte().expand(size.height, size.width, 3).contiguous().numpy()
    step = max(1, PIECE_BYTES // (size.height * size.width * 3))
    places, cuts = [], []
    for first in range(0, len(frames), step):
        part = frames[first : first + step]
        if gains is not None:
            part = _evened(part, gains[first : first + step].numpy())
        share, inside = covered(part, background, floor)
        for patch in burned:
            share[:, patch.top : patch.bottom, patch.left : patch.right] = 0
            inside[:, patch.top : patch.bottom, patch.left : patch.right] = False
        place, cut = ends(share, inside)
        places.append(place)
        cuts.append(cut)
        release_pages(frames)
    seen = torch.from_numpy(np.concatenate(places))
    seen[~told] = torch.nan
    return _seen_by(camera, *_packed(seen, torch.from_numpy(np.concatenate(cuts))))


def _evened(frames: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Frames without flicker, uint8; a clipped value may stand for any brighter one, so it stays."""
    even = (frames / gains.astype(np.float32)[:, None, None, None]).clip(0, 255).round().astype(np.uint8)
    return np.where(frames >= CLIPPED, frames, even)


def _frames_of(told: Tensor) -> np.ndarray:
    """Indices of the frames that say something; of all where none does."""
    return (told if bool(told.any()) else torch.ones_like(told)).nonzero()[:, 0].numpy()


def _packed(places: Tensor, cuts: Tensor) -> tuple[Tensor, Tensor]:
    """Places and cuts, the known ones of each frame first, cut off where no frame has any more."""
    there = ~places[..., 0].isnan()
    order = there.int().argsort(dim=1, descending=True, stable=True)[:, : max(1, int(there.sum(dim=1).max()))]
    return places.gather(1, order[..., None].expand(-1, -1, 2)), cuts.gather(1, order)


def _seen_by(camera: Camera, places: Tensor, cuts: Tensor) -> Outlines:
    """Outlines of points [T, P, 2] of a camera's frames."""
    view = view_through(camera, places.flatten(0, 1).double())
    late = (places[..., 1] / camera.intrinsics.height - 0.5) * camera.row_time
    return Outlines(view, cuts, camera.frame_times, late)


def covered(
    frames: UInt8[np.ndarray, "T H W 3"], background: UInt8[np.ndarray, "*picture 3"], floor: int
) -> tuple[Float32[np.ndarray, "T H W"], Bool[np.ndarray, "T H W"]]:
    """How much of each pixel is covered, about, in [0, 1], and where that is more than half and no speck.

    A pixel at an edge shows as much of the difference from the background as of it is covered; what the whole
    difference would be there, the pixels next to it show.

    Args:
        frames: colours.
        background: one colour, or a picture.
        floor: differences below this are noise.
    """
    channels = np.maximum(frames, background) - np.minimum(frames, background)
    # Many times faster than a maximum over an axis of three.
    difference = np.maximum(np.maximum(channels[..., 0], channels[..., 1]), channels[..., 2])
    largest = difference
    for axis in (1, 2):
        largest = _shifted(largest, 1, axis, np.maximum)
    share = np.divide(difference, np.maximum(largest, np.uint8(floor)), dtype=np.float32)
    inside = (share > EDGE) & (largest >= floor)
    around = inside.astype(np.uint8)
    for axis in (1, 2):
        around = _shifted(around, AROUND, axis, np.add)
    return share, inside & (around >= LEAST_AROUND)


def _shifted(values: np.ndarray, reach: int, axis: int, combine: np.ufunc) -> np.ndarray:
    """Values combined with those up to ``reach`` places before and after along an axis."""
    result, moved = values.copy(), np.moveaxis(values, axis, 0)
    into = np.moveaxis(result, axis, 0)
    for by in range(1, reach + 1):
        combine(into[by:], moved[:-by], out=into[by:])
        combine(into[:-by], moved[by:], out=into[:-by])
    return result


def ends(
    share: Float32[np.ndarray, "T H W"], inside: Bool[np.ndarray, "T H W"]
) -> tuple[Float32[np.ndarray, "T P 2"], Bool[np.ndarray, "T P"]]:
    """First and last covered points (column, row) of all rows and columns, to a fraction of a pixel; P = 2 (H + W).

    Args:
        share: of each pixel that is covered.
        inside: where that is more than half.

    Returns:
        The points, NaN where a row or a column is empty; and whether each lies at the picture's border.
    """
    places, cuts = [], []
    for axis in (2, 1):
        lines, hits = np.moveaxis(share, axis, 2), np.ascontiguousarray(np.moveaxis(inside, axis, 2))
        across = np.broadcast_to(np.arange(lines.shape[1], dtype=np.float32) + 0.5, lines.shape[:2])
        for turn in (1, -1):
            along, cut = _first_end(lines[..., ::turn], hits[..., ::turn])
            along = along if turn == 1 else lines.shape[2] - along
            pair = (along, across) if axis == 2 else (across, along)
            places.append(np.where(np.isnan(along)[..., None], np.float32("nan"), np.stack(pair, -1)))
            cuts.append(cut)
    return np.concatenate(places, axis=1), np.concatenate(cuts, axis=1)


def _first_end(share: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where along the last dimension of [T, L, S] something begins, NaN where nothing does; whether it does at once."""
    first = inside.argmax(axis=-1)[..., None]
    value, found = (np.take_along_axis(each, first, -1)[..., 0] for each in (share, inside))
    before = np.take_along_axis(share, np.maximum(first - 1, 0), -1)[..., 0]
    first = first[..., 0]
    cut = found & (first == 0)
    # What is covered of the first pixel and of the one before it, if the next one is covered wholly.
    place = first + 1.0 - value - before
    place = np.where(cut, 0.0, place)
    return np.where(found, place, np.nan).astype(np.float32), cut
