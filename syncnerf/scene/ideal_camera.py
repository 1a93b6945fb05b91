"""The pinhole camera that distorted pictures are converted to, chosen so that no border is left without content."""

import functools
from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.lens import Lens

ALONG = 65
"""Points along each side of a picture at which this is checked."""
FARTHEST = 8.0
"""No zoom beyond this is tried."""
HALVINGS = 40
INWARD = 0.99
"""To detect folds: a point at this share of another's distance from the axis must not be distorted to farther out."""


@functools.cache
def ideal_camera(lens: Lens, intrinsics: Intrinsics) -> tuple[Intrinsics, Lens]:
    """Intrinsics of the undistorted pictures, and the lens with the zoom that leads to them.

    A pincushion lens magnifies more towards the border. Part of what a pinhole camera of the same focal length would
    see then lies outside the recorded picture, and undistorting would have to invent the border. So the pinhole camera
    gets a longer focal length: the shortest, but not less than the lens's own, at which all of its picture was
    recorded. That also helps with lenses whose coefficients fold the border back over the middle. Size and principal
    point stay.

    Nothing is changed if even a zoom of 8 is not enough, as with a principal point outside the picture.

    Args:
        lens: distortion to undo, its zoom 1.
        intrinsics: of the recorded pictures, as the calibration states them.
    """
    if lens.is_ideal or _is_filled(lens, intrinsics, 1.0):
        return intrinsics, lens
    low, high = 1.0, 2.0
    while not _is_filled(lens, intrinsics, high):
        low, high = high, 2.0 * high
        if high > FARTHEST:
            return intrinsics, lens
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if _is_filled(lens, intrinsics, middle) else (middle, high)
    return intrinsics.zoomed(high), replace(lens, zoom=high)


def _is_filled(lens: Lens, intrinsics: Intrinsics, zoom: float) -> bool:
    """Whether the recorded picture holds all of the pinhole camera's."""
    centre = torch.tensor([intrinsics.centre_x, intrinsics.centre_y], dtype=torch.float64)
    size = torch.tensor([intrinsics.width, intrinsics.height], dtype=torch.float64)
    ideal = centre + (_border(size) - centre) / zoom
    recorded = lens.distorted(ideal, intrinsics)
    nearer = lens.distorted(centre + INWARD * (ideal - centre), intrinsics)
    unfolded = (recorded - centre).norm(dim=-1) >= (nearer - centre).norm(dim=-1)
    return bool(((recorded >= 0) & (recorded <= size)).all() and unfolded.all())


def _border(size: Float64[Tensor, " 2"]) -> Float64[Tensor, "N 2"]:
    """Points along a picture's edges, column and row, shape [N, 2]."""
    along = torch.linspace(0, 1, ALONG, dtype=torch.float64)
    sides = [torch.stack([along, torch.full_like(along, side)], dim=-1) for side in (0.0, 1.0)]
    return torch.cat([*sides, *(side.flip(-1) for side in sides)]) * size
