"""What passes in the frames of static cameras around a moment, before a scene that stands still."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import avg_pool2d

from syncnerf.scene.camera import pixels_at
from syncnerf.scene.scene import Scene
from syncnerf.scene.visual_hull import grown
from syncnerf.starting.sights import NEAREST_CELLS, frames_looked_at, usual_picture
from syncnerf.starting.surfaces import STILL

PASSING = 0.1
"""Difference from a pixel's median over time, of colours in [0, 1], from which on it shows something that passes."""
NEARLY_ALL = 0.98
"""Share of what passes that is no faster than :meth:`Film.fastest`."""


class Film:
    """A static camera's video, and what passes in it.

    Args:
        scene: the scene.
        index: of the camera.

    Attributes:
        telling: the pixels that can tell whether something passes, bool, shape [H, W].
    """

    def __init__(self, scene: Scene, index: int):
        own = scene.cameras[index]
        self.camera, self.frames, self.times = index, scene.frames(index), own.frame_times
        self.height, self.width = own.intrinsics.height, own.intrinsics.width
        self.focal, self.centre = own.intrinsics.focal_x, own.pose(0)[:3, 3].float()
        self.projection = own.projection(0).float()
        median, change = usual_picture(self.frames)
        self.median, self.steady = median / 255.0, change < 255.0 * STILL
        self.length = float(self.times.diff().median()) if own.frame_count > 1 else 1.0
        self.background = None if scene.background is None else torch.tensor(scene.background)
        # What usually changes shows nothing still that something could pass before.
        self.telling = self.steady if self.background is None else torch.ones_like(self.steady)

    def passing(self, frame: int) -> tuple[Bool[Tensor, "H W"], Float[Tensor, "H W 3"]]:
        """Which pixels of a frame show what passes, and its colours in [0, 1]."""
        colours = torch.from_numpy(self.frames[frame].copy()).float() / 255.0
        apart = (colours - self.median).abs().amax(dim=-1)
        if self.background is not None:
            apart = torch.minimum(apart, (colours - self.background).abs().amax(dim=-1))
        return (apart > PASSING) & self.steady, colours

    def fastest(self) -> float:
        """The speed, in pixels per frame, that nearly all of what passes stays below."""
        apart = []
        for frame in frames_looked_at(len(self.frames))[:-1]:
            now, later = (self.passing(number)[0].nonzero().float() for number in (frame, frame + 1))
            if len(now) and len(later):
                apart.append(torch.cdist(now, later).amin(dim=1))
        return float(torch.cat(apart).quantile(NEARLY_ALL)) if apart else 0.0

    def shots(self, time: float, within: float = 1.0) -> list[Shot]:
        """The two frames around a time on the camera's clock, those that are ``within`` so many frames of it."""
        after = ((self.times - time) / self.length).tolist()
        nearest = sorted(range(len(after)), key=lambda number: abs(after[number]))[:2]
        return [Shot.of(self, frame, after[frame]) for frame in nearest if abs(after[frame]) <= within]

    def project(
        self, places: Float[Tensor, "*P 3"]
    ) -> tuple[Int64[Tensor, "*P"], Float[Tensor, "*P"], Bool[Tensor, "*P"]]:
        """Pixels of places (0 outside the picture), their depths, and whether they are within it."""
        return pixels_at(places, self.projection, self.width, self.height)


@dataclass(frozen=True)
class Shot:
    """A camera's frame near a moment.

    Attributes:
        film: the camera's.
        after: frames that it was taken after the moment.
        passing: where it shows what passes, bool, shape [H, W].
        colours: in [0, 1], shape [H * W, 3].
    """

    film: Film
    after: float
    passing: Bool[Tensor, "H W"]
    colours: Float[Tensor, "P 3"]

    @classmethod
    def of(cls, film: Film, frame: int, after: float) -> Shot:
        """A frame of a film."""
        passing, colours = film.passing(frame)
        return cls(film, after, passing, colours.reshape(-1, 3))

    @cached_property
    def blurred(self) -> Float[Tensor, "P 3"]:
        """The colours, smoothed over 3 pixels by 3."""
        pictures = self.colours.reshape(*self.passing.shape, 3).permute(2, 0, 1)
        return avg_pool2d(pictures, 3, 1, 1).permute(1, 2, 0).reshape(-1, 3)

    def grown(self, radius: int) -> Bool[Tensor, " P"]:
        """Where something passes, or does within some pixels."""
        return grown(self.passing, radius).reshape(-1)

    def colours_of(self, places: Float[Tensor, "N 3"], side: float) -> Float[Tensor, "N 3"]:
        """Colours of places on cells of a side as wide as a pixel; NaN where something lies before them."""
        film = self.film
        pixel, depth, inside = film.project(places)
        # On half the pixels the cells' depths leave no holes.
        across = film.width // 2 + 1
        place = pixel // film.width // 2 * across + pixel % film.width // 2
        nearest = torch.full((across * (film.height // 2 + 1),), torch.inf)
        nearest.scatter_reduce_(0, place, torch.where(inside, depth, torch.inf), "amin")
        seen = inside & (depth < nearest[place] + NEAREST_CELLS * side) & self.passing.reshape(-1)[pixel]
        return torch.where(seen[:, None], self.colours[pixel], torch.nan)
