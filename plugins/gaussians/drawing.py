"""Answers of Gaussians as they are at a step: views drawn, loose rays followed, and their derivatives by time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.questions import RayQuestion, Rendering, ViewQuestion
from syncnerf.rendering.backdrop import Backdrop
from syncnerf.scene.views import Views
from syncnerf_gaussians.cloud import Cloud
from syncnerf_gaussians.gaussians import Gaussians, Motion, PinholePicture
from syncnerf_gaussians.pictures import as_views, at_moments, before, before_slopes
from syncnerf_gaussians.raster import (
    Influence,
    Raster,
    cast,
    cast_rates,
    influence,
    rasterise,
    rasterise_rates,
    ray_influence,
)
from syncnerf_gaussians.scaffold import Scaffold

AT_ONCE = 8
"""Views, at most, that are drawn together: where the Gaussians and their nodes are is asked once for all of them, and
the projections of all are in memory."""


@dataclass(frozen=True)
class Drawing:
    """Draws a cloud of Gaussians before its backdrop.

    Attributes:
        cloud: the Gaussians.
        scaffold: whose nodes carry them; None where they fly freely.
        backdrop: what is behind them.
        engine: what draws whole views.
    """

    cloud: Cloud
    scaffold: Scaffold | None
    backdrop: Backdrop
    engine: str

    def views(self, question: ViewQuestion) -> Rendering:
        """B views without a lens.

        The extra ``seen`` is a function of their pixels' errors, [B, height, width]: :func:`seen`.
        """
        parts, asked = [], []
        for own in self._together(question):
            pictures, times = at_moments(own)
            gaussians, motion = self.cloud.at(times, self.scaffold)
            raster = rasterise(gaussians, pictures, motion, question.wanted.depth, self.engine)
            part = self._pictures(raster, own.views)
            if question.wanted.parts:
                part.extras |= self._parts(gaussians, motion, pictures, own.views)
            parts.append(part)
            asked.append((len(own), partial(influence, gaussians, pictures, motion, engine=self.engine)))
        return Rendering.of(parts, torch.cat, {"seen": partial(seen, asked)})

    @torch.no_grad()
    def view_slopes(self, question: ViewQuestion) -> Rendering:
        """B views without a lens, and their colours' derivatives by their times."""
        parts = []
        for own in self._together(question):
            pictures, times = at_moments(own)
            gaussians, motion = self.cloud.at(times, self.scaffold, with_rates=True)
            raster, slopes = rasterise_rates(gaussians, pictures, motion, self.engine)
            background = self.backdrop.of_views(own.views).flatten(0, 2)
            part = as_views(before(raster, background, own.views.far), own.views)
            part.slopes = before_slopes(slopes, background).reshape(part.rgb.shape)
            parts.append(part)
        return Rendering.of(parts, torch.cat)

    def rays(self, question: RayQuestion) -> Rendering:
        """Colours of N loose rays; of those that share origin and time, one has all the gradient by their time."""
        gaussians, motion, moments = self._at_times_of(question)
        raster = cast(gaussians, question.rays, moments, motion)
        return before(raster, self.backdrop(question.rays.directions), question.rays.far)

    @torch.no_grad()
    def ray_slopes(self, question: RayQuestion) -> Rendering:
        """Colours of N loose rays and their derivatives by their times."""
        gaussians, motion, moments = self._at_times_of(question, with_rates=True)
        raster, slopes = cast_rates(gaussians, question.rays, moments, motion)
        background = self.backdrop(question.rays.directions)
        return replace(before(raster, background, question.rays.far), slopes=before_slopes(slopes, background))

    def influence_along(self, question: RayQuestion, errors: Float[Tensor, " N"]) -> Influence:
        """What the Gaussians have to do with rays' errors [N]."""
        gaussians, motion, moments = self._at_times_of(question)
        return ray_influence(gaussians, question.rays, moments, motion, errors)

    def _at_times_of(self, question: RayQuestion, with_rates: bool = False) -> tuple[Gaussians, Motion, Tensor]:
        """The Gaussians at the moments of rays, each origin's its own, and which of these each ray has, int64 [N]."""
        # Cameras that stand in different places never share a moment: each one's clock gets its own gradient.
        keys = torch.cat([question.rays.origins.double(), question.times.detach()[:, None]], dim=1)
        found, moments = keys.unique(dim=0, return_inverse=True)
        first = torch.zeros(len(found), dtype=torch.int64, device=moments.device)
        first[moments] = torch.arange(len(moments), device=moments.device)
        gaussians, motion = self.cloud.at(question.times[first], self.scaffold, with_rates)
        return gaussians, motion, moments

    def _parts(
        self, gaussians: Gaussians, motion: Motion, pictures: list[PinholePicture], views: Views
    ) -> dict[str, Tensor]:
        """Pictures of what rests alone, and of what moves alone."""
        rests, nothing = self.cloud.rests, -torch.inf
        found = {}
        for name, shown in (("static_rgb", rests), ("dynamic_rgb", ~rests)):
            some = replace(gaussians, opacity_logits=torch.where(shown, gaussians.opacity_logits, nothing))
            found[name] = self._pictures(rasterise(some, pictures, motion, False, self.engine), views).rgb
        return found

    def _pictures(self, raster: Raster, views: Views) -> Rendering:
        """Pictures [B, H, W] of views before their background."""
        return as_views(before(raster, self.backdrop.of_views(views).flatten(0, 2), views.far), views)

    def _together(self, question: ViewQuestion) -> list[ViewQuestion]:
        """The question in parts whose views are drawn by one call; where colours change with time, each on its own."""
        count = AT_ONCE if self.cloud.shades is None else 1
        return [question[first : first + count] for first in range(0, len(question), count)]


def seen(
    asked: Sequence[tuple[int, Callable[..., Influence]]], errors: Float[Tensor, "B height width"]
) -> Float[Tensor, "3 N"]:
    """What each Gaussian adds to views, the same weighted by the pixels' errors, and the number of views it is in.

    Args:
        asked: of some views after the other, their number, and what tells the influence on them.
        errors: of the views' pixels, shape [B, height, width].
    """
    sums = []
    for (count, influence_on), wrong in zip(asked, errors.split([count for count, _ in asked]), strict=True):
        found = influence_on(errors=wrong.reshape(-1))
        sums.append(torch.stack([found.weights, found.errors, count * found.presence]))
    return torch.stack(sums).sum(dim=0)
