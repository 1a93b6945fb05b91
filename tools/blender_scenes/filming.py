"""What one camera takes of a scene at a moment: of things on white, or of a place where only some of it moves."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import numpy as np

from blender_scenes.clocks import CameraClock
from blender_scenes.lighting import Light
from blender_scenes.parts import Part
from blender_scenes.places import Place
from blender_scenes.sensors import IdealView, Sensor, over_white
from blender_scenes.sounds import heard

BORDER = 2
"""Pixels added around what moves, for the renderer's own pixel filter."""
RENDER_COST = 4000
"""Pixels that take as long as what each rendering costs beside its pixels."""
Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, the last two not included."""


class FilmingCamera:
    """A camera with a clock; what it takes at a moment is its subclass's matter.

    Attributes:
        renderer: a :class:`cycles.CyclesRenderer`, or what renders like it.
        clock: when it exposes which frame.
        poses: camera to world at each frame, [F, 4, 4].
        size: width and height of its pictures, pixels.
        sensor: of a real camera; None before white.
    """

    sensor: Sensor | None = None

    def __init__(self, renderer, clock: CameraClock, poses: np.ndarray, size: tuple[int, int]) -> None:
        self.renderer, self.clock, self.poses, self.size = renderer, clock, poses, size

    def pictures(self) -> Iterator[np.ndarray]:
        """Each frame, its rows as the shutter reads them, float [height, width, 3], display values in 0..1."""
        height = self.size[1]
        for frame in range(self.clock.frames):
            bands = self.clock.bands(height)
            moments = [self.clock.moment(frame, (first + last) / (2 * height) - 0.5) for first, last in bands]
            yield np.concatenate([self.take(frame, moment, *band) for moment, band in zip(moments, bands, strict=True)])

    def take(self, frame: int, moment: float, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last`` - 1 of ``frame``, as of ``moment``, the middle of the exposure in seconds."""
        raise NotImplementedError


class WhiteCamera(FilmingCamera):
    """A pinhole camera before white; ``focal`` in pixels."""

    def __init__(self, renderer, clock: CameraClock, poses: np.ndarray, size: tuple[int, int], focal: float) -> None:
        super().__init__(renderer, clock, poses, size)
        self.focal = focal

    def take(self, frame: int, moment: float, first: int, last: int) -> np.ndarray:
        """See :class:`FilmingCamera`."""
        self.renderer.aim(self.poses[frame], self.size, self.focal)
        return over_white(self.renderer.render(moment, self.clock.exposure, (0, first, self.size[0], last)))


class PlaceCamera(FilmingCamera):
    """A real camera in a place. What stands is rendered once; then only where something moves, or its shadow.

    ``seed``: of the sensor's noise.
    """

    def __init__(self, renderer, clock: CameraClock, pose: np.ndarray, sensor: Sensor, place: Place, seed: list[int]):
        super().__init__(renderer, clock, np.repeat(pose[None], clock.frames, axis=0), (sensor.width, sensor.height))
        self.sensor, self.place, self.generator = sensor, place, np.random.default_rng(seed)

    @functools.cached_property
    def ideal(self) -> IdealView:
        """The pinhole view from which its pictures are resampled."""
        return IdealView(self.sensor)

    @functools.cached_property
    def background(self) -> np.ndarray:
        """The ideal view without what moves, linear light."""
        return self.renderer.render_standing()[..., :3]

    def take(self, frame: int, moment: float, first: int, last: int) -> np.ndarray:
        """See :class:`FilmingCamera`."""
        size, shutter = (self.ideal.width, self.ideal.height), self.clock.exposure
        self.renderer.aim(self.poses[frame], size, self.sensor.focal)
        picture = self.background.copy()
        top, bottom = self.ideal.rows(first, last)
        moments = (moment - shutter / 2, moment + shutter / 2)
        reached = [moving_rectangle(group, moments, self.place, self.projected, size) for group in self.place.moving]
        for left, upper, right, lower in merged([rectangle for rectangle in reached if rectangle]):
            upper, lower = max(upper, top), min(lower, bottom)
            if upper < lower:
                part = self.renderer.render(moment, shutter, (left, upper, right, lower))
                picture[upper:lower, left:right] = part[..., :3]
        return self.sensor.develop(self.ideal.resample(picture, first, last), self.generator)

    def sound(self) -> np.ndarray:
        """What it hears, float32 [samples] at :data:`sounds.RATE`."""
        return heard(self.place.claps, self.poses[0, :3, 3], self.clock, self.generator)

    def projected(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [N, 2] of world ``points`` [N, 3] in the ideal view, and their depths [N]."""
        local = (points - self.poses[0, :3, 3]) @ self.poses[0, :3, :3]
        depth = -local[:, 2]
        scale = self.sensor.focal / np.where(depth > 0, depth, 1.0)
        column, row = self.ideal.width / 2 + scale * local[:, 0], self.ideal.height / 2 - scale * local[:, 1]
        return np.stack([column, row], axis=-1), depth


def moving_rectangle(
    parts: list[Part], moments: tuple[float, ...], place: Place, projected, size: tuple[int, int]
) -> Rectangle | None:
    """Where a picture of ``size`` may show ``parts`` or their shadows at any of the ``moments``; None for nowhere.

    Shadows fall on the way from a part, away from a light, to the end of the place's box; that way's picture lies
    between those of its ends.
    """
    corners = np.concatenate([_corners(part) @ pose[:3, :3].T + pose[:3, 3]
                              for part in parts for pose in map(part.pose, moments)])  # fmt: skip
    points = np.concatenate([corners, *(_shadow_ends(corners, light, place.box) for light in place.lighting.lights)])
    pixels, depth = projected(points)
    if (depth <= 0.05).any():
        return (0, 0, *size)
    low = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - BORDER, 0)
    high = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + BORDER, size)
    return (*low.tolist(), *high.tolist()) if (low < high).all() else None


def _corners(part: Part) -> np.ndarray:
    """The corners [8, 3] of the box around a part's mesh."""
    ends = np.stack([part.mesh.vertices.min(axis=0), part.mesh.vertices.max(axis=0)])
    return np.array([[ends[i, 0], ends[j, 1], ends[k, 2]] for i, j, k in itertools.product((0, 1), repeat=3)])


def _shadow_ends(points: np.ndarray, light: Light, box: np.ndarray) -> np.ndarray:
    """Where the lines from each corner of the light through ``points`` [N, 3] leave the box, [4 N, 3]."""
    spread = light.size / 2 if light.kind == "AREA" else 0.0
    ends = []
    for x, y in itertools.product((-spread, spread), repeat=2):
        source = np.array(light.position)
        along = points - source - [x, y, 0.0] if light.kind == "AREA" else np.array(light.target) - source
        along = np.broadcast_to(along, points.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            ways = np.where(along > 0, (box[1] - points) / along, (box[0] - points) / along)
        way = np.where(along == 0, np.inf, ways).clip(0.0).min(axis=1, keepdims=True)
        ends.append(points + way * along)
    return np.concatenate(ends)


def merged(rectangles: list[Rectangle]) -> list[Rectangle]:
    """Rectangles that cover the same, two by two made the one around them where that is quicker to render."""
    for first, second in itertools.combinations(rectangles, 2):
        around = (
            min(first[0], second[0]),
            min(first[1], second[1]),
            max(first[2], second[2]),
            max(first[3], second[3]),
        )
        if _area(around) <= _area(first) + _area(second) + RENDER_COST:
            rest = [rectangle for rectangle in rectangles if rectangle not in (first, second)]
            return merged([*rest, around])
    return rectangles


def _area(rectangle: Rectangle) -> int:
    left, top, right, bottom = rectangle
    return (right - left) * (bottom - top)
