"""Questions to a field: rays or whole views, at times, and what is wanted of them; never which camera asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from syncnerf.scene.rays import Rays
from syncnerf.scene.views import Views


@dataclass(frozen=True)
class Wanted:
    """What of an answer is wanted beside colours; what is not wanted may be left out or given all the same.

    Attributes:
        depth: the expected distance along each pixel's ray.
        accumulation: the opacity.
        parts: ``static_rgb`` and ``dynamic_rgb`` among the extras, where the field knows them.
        slopes: the colours' derivatives by time.
    """

    depth: bool = False
    accumulation: bool = False
    parts: bool = False
    slopes: bool = False


SHOWN_EXTRAS = ("static_rgb", "dynamic_rgb")
"""Extras of a rendering that are pictures."""
COLOURS = Wanted()
SHOWN = Wanted(depth=True, accumulation=True, parts=True)
SLOPES = Wanted(slopes=True)


class Question:
    """What is asked of a field: :class:`RayQuestion` or :class:`ViewQuestion`."""

    wanted: Wanted

    @property
    def pixels(self) -> tuple[int, ...]:
        """Shape of an answer's pixels."""
        raise NotImplementedError

    def fault_of(self, answer: Rendering) -> str:
        """Why an answer is none to this question; empty if it is one. A wrong shape would spread unseen in a loss."""
        if answer.rgb.shape != (*self.pixels, 3):
            return f"answered colours of shape {list(answer.rgb.shape)} where {[*self.pixels, 3]} were asked for"
        for name in ("depth", "accumulation", "slopes"):
            if getattr(self.wanted, name) and getattr(answer, name) is None:
                return f"gave no {name} where it was wanted"
        return ""


@dataclass(frozen=True)
class RayQuestion(Question):
    """What is seen along N rays, at one time each or at T times each?

    Attributes:
        rays: N rays.
        times: the field's coordinate, [-1, 1] over all that the cameras saw, float64, shape [N]; or [N, T], of a
            backend that likes several moments of a pixel at once. Gradients reach it.
        wanted: what of the answer is wanted.
    """

    rays: Rays
    times: Float64[Tensor, " N *T"]
    wanted: Wanted = COLOURS

    def __len__(self) -> int:
        return len(self.rays)

    def __getitem__(self, index: slice | Shaped[Tensor, " K"]) -> RayQuestion:
        """The same question about some of the rays."""
        return replace(self, rays=self.rays[index], times=self.times[index])

    @property
    def pixels(self) -> tuple[int, ...]:
        """[N] or [N, T]."""
        return tuple(self.times.shape)


@dataclass(frozen=True)
class ViewQuestion(Question):
    """What do B views show?

    Attributes:
        views: from where, through what, which part.
        times: the field's coordinate at the middle row of each whole picture, float64, shape [B]; or [B, T], of a ray
            backend that likes several moments of a pixel at once. Gradients reach it.
        readouts: what passes of that coordinate from the first row of the whole picture to its last (a rolling
            shutter), float64, shape [B]; negative for a camera mounted upside down. Gradients reach it.
        wanted: what of the answer is wanted.
    """

    views: Views
    times: Float64[Tensor, " B *T"]
    readouts: Float64[Tensor, " B"]
    wanted: Wanted = COLOURS

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: slice | Shaped[Tensor, " K"]) -> ViewQuestion:
        """The same question about some of the views."""
        return replace(self, views=self.views[index], times=self.times[index], readouts=self.readouts[index])

    @property
    def pixels(self) -> tuple[int, ...]:
        """[B, height, width] or [B, height, width, T]."""
        return (len(self), self.views.height, self.views.width, *self.times.shape[1:])

    def row_times(self) -> Float64[Tensor, "B H *T"]:
        """The field's coordinate of each row that is asked for, float64, shape [B, height] or [B, height, T]."""
        late = self.views.rows() * self.readouts[:, None]
        return self.times[:, None] + (late if self.times.ndim == 1 else late[..., None])

    def through_rays(self, pixels: Int64[Tensor, "B K"] | None = None) -> RayQuestion:
        """The same question about the rays through pixel centres, each at its row's time, view by view.

        Args:
            pixels: which pixels of each view, row * width + column in what is asked for, int64, shape [B, K]; None for
                all, row by row.
        """
        times, width = self.row_times(), self.views.width
        if pixels is None:
            times = times.repeat_interleave(width, dim=1)
        else:
            row = pixels.div(width, rounding_mode="floor")
            times = torch.take_along_dim(times, row if times.ndim == 2 else row[..., None], dim=1)
        return RayQuestion(self.views.rays(pixels), times.flatten(0, 1), self.wanted)


@dataclass
class Rendering:
    """What a backend answers, one entry for each pixel that was asked for (and each moment).

    Pixels are counted as in the question: [N] or [N, T] of rays; [B, height, width] or [B, height, width, T] of views.

    Attributes:
        rgb: colours in [0, 1], shape [..., 3]; what shines brighter is cut where pictures are made.
        depth: expected distance along the pixel's ray, shape [...]; None where it was not wanted.
        accumulation: opacity in [0, 1], shape [...]; None likewise.
        extras: named tensors for losses and pictures (``static_rgb`` and ``dynamic_rgb``, [..., 3], are shown).
        slopes: derivative of each colour by its own time, per unit of the field's coordinate, shape [..., 3]; without
            a graph; None where it was not wanted.
    """

    rgb: Float[Tensor, "*pixels 3"]
    depth: Float[Tensor, "*pixels"] | None = None
    accumulation: Float[Tensor, "*pixels"] | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    slopes: Float[Tensor, "*pixels 3"] | None = None

    def changed(self, change: Callable[[Shaped[Tensor, " ..."]], Shaped[Tensor, " ..."]]) -> Rendering:
        """The rendering with ``change`` applied to each of its tensors of pixels; other extras stay."""
        return Rendering.of([self], lambda values: change(values[0]), self.extras)

    @classmethod
    def of(
        cls,
        parts: Sequence[Rendering],
        join: Callable[[list[Shaped[Tensor, " ..."]]], Shaped[Tensor, " ..."]],
        extras: dict[str, Any] | None = None,
    ) -> Rendering:
        """One rendering of several, whose tensors of pixels ``join`` makes one; of the extras those are pictures.

        Args:
            parts: at least one, all with the same tensors.
            join: such as ``torch.cat``.
            extras: others to keep.
        """
        names = [name for name in ("depth", "accumulation", "slopes") if getattr(parts[0], name) is not None]
        tensors = {name: join([getattr(part, name) for part in parts]) for name in ("rgb", *names)}
        pictures = [name for name in SHOWN_EXTRAS if name in parts[0].extras]
        shown = {name: join([part.extras[name] for part in parts]) for name in pictures}
        return cls(**tensors, extras=(extras or {}) | shown)
