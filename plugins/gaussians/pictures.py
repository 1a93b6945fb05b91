"""From a question about a view to pictures that the rasteriser draws, and from what it draws to an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from syncnerf.questions import Rendering, ViewQuestion
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.views import Views
from syncnerf_gaussians.gaussians import Gaussians, PinholePicture
from syncnerf_gaussians.raster import Raster


def at_moments(question: ViewQuestion) -> tuple[list[PinholePicture], Float64[Tensor, " V"]]:
    """One view as pictures that are each taken at one moment: itself, or its rows; and their moments [V]."""
    views = question.views
    size = views.intrinsics[0].tolist()
    left, top = views.corners[0].tolist()
    whole = PinholePicture(
        Intrinsics(views.width, views.height, size[2], size[3], size[4] - left, size[5] - top),
        views.poses[0].cpu(), views.near, views.far,
    )  # fmt: skip
    if not bool((question.readouts != 0).any()) and not question.readouts.requires_grad:
        return [whole], question.times
    # Each row at its own moment.
    return whole.bands(1), question.row_times()[0]


def before(raster: Raster, background: Float[Tensor, "*P 3"], far: Float[Tensor, "*P"] | float) -> Rendering:
    """P pixels before a background [P, 3] or [3], which is ``far`` away (a number, or of each pixel [P])."""
    behind = 1.0 - raster.accumulation
    depth = None if raster.depth is None else raster.depth + behind * far
    return Rendering(raster.rgb + behind[:, None] * background, depth, raster.accumulation)


def as_views(rendering: Rendering, views: Views) -> Rendering:
    """The rendering of all pixels of B views, row by row, [B * H * W], as pictures [B, H, W]."""
    return rendering.changed(lambda values: values.reshape(len(views), views.height, views.width, *values.shape[1:]))


def before_slopes(
    gaussians: Gaussians,
    draw: Callable[[Gaussians], tuple[Raster, Float[Tensor, "P 3"]]],
    background: Float[Tensor, "*P 3"],
) -> tuple[Raster, Float[Tensor, "N 3"]]:
    """What is drawn of Gaussians, and the derivatives by time of colours before a background.

    Args:
        gaussians: that are drawn.
        draw: pixels of Gaussians without a background, and their colours' derivatives by time [P, 3].
        background: shape [P, 3] or [3].
    """
    raster, slopes = draw(gaussians)
    # Grey ones tell how the opacity changes, and with it what is seen of the background.
    grey = replace(gaussians, harmonics=torch.zeros_like(gaussians.harmonics[:, :1]))
    return raster, slopes - 2.0 * draw(grey)[1] * background
