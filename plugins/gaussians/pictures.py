"""From a question about a view to pictures that the rasteriser draws, and from what it draws to an answer."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from syncnerf.questions import Rendering, ViewQuestion
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.views import Views
from syncnerf_gaussians.gaussians import PinholePicture
from syncnerf_gaussians.raster import Raster

BANDS = 32
"""Bands, at most, that a picture is drawn in while its readout time is learned, or its clock is fitted. Each takes
nearly as long as a whole picture; its rows are off by a hundredth of a readout time, evenly to both sides."""


def at_moments(question: ViewQuestion) -> tuple[list[PinholePicture], Float64[Tensor, " V"]]:
    """Views as pictures that are each taken at one moment: themselves, or their rows; and the moments [V].

    Where a gradient reaches the readout time, or slopes by time are wanted, bands at the moments of their middles stand
    for the rows.
    """
    found = [_picture_at_moments(question[index : index + 1]) for index in range(len(question))]
    return [picture for pictures, _ in found for picture in pictures], torch.cat([times for _, times in found])


def _picture_at_moments(question: ViewQuestion) -> tuple[list[PinholePicture], Float64[Tensor, " V"]]:
    """The same of one view."""
    views = question.views
    size = views.intrinsics[0].tolist()
    left, top = views.corners[0].tolist()
    whole = PinholePicture(
        Intrinsics(views.width, views.height, size[2], size[3], size[4] - left, size[5] - top),
        views.poses[0].cpu(), views.near, views.far,
    )  # fmt: skip
    if not bool((question.readouts != 0).any()) and not question.readouts.requires_grad:
        return [whole], question.times
    times = question.row_times()[0]
    rows = -(-len(times) // BANDS) if question.readouts.requires_grad or question.wanted.slopes else 1
    return whole.bands(rows), torch.stack([part.mean() for part in times.split(rows)])


def before(raster: Raster, background: Float[Tensor, "*P 3"], far: Float[Tensor, "*P"] | float) -> Rendering:
    """P pixels before a background [P, 3] or [3], which is ``far`` away (a number, or of each pixel [P])."""
    behind = 1.0 - raster.accumulation
    depth = None if raster.depth is None else raster.depth + behind * far
    return Rendering(raster.rgb + behind[:, None] * background, depth, raster.accumulation)


def as_views(rendering: Rendering, views: Views) -> Rendering:
    """The rendering of all pixels of B views, row by row, [B * H * W], as pictures [B, H, W]."""
    return rendering.changed(lambda values: values.reshape(len(views), views.height, views.width, *values.shape[1:]))


def before_slopes(slopes: Float[Tensor, "P 4"], background: Float[Tensor, "*P 3"]) -> Float[Tensor, "P 3"]:
    """Derivatives of colours before a background [P, 3] or [3], from those of colours and opacity without one."""
    return slopes[:, :3] - slopes[:, 3:] * background
