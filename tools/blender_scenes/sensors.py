"""What a real camera makes of the light: distortion, exposure, white balance, noise, display values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sensor:
    """One camera's lens and sensor.

    Attributes:
        width, height: pixels.
        focal: focal length, pixels.
        centre: the principal point, pixels from the upper left corner.
        distortion: k1 and k2 of OpenCV's model.
        gains: what red, green and blue are multiplied by in linear light: exposure and white balance.
        noise: deviation of the noise at full white in linear light; most of it is the photons' own.
    """

    width: int
    height: int
    focal: float
    centre: tuple[float, float]
    distortion: tuple[float, float] = (0.0, 0.0)
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    noise: float = 0.0

    def ideal_places(self) -> np.ndarray:
        """Where on the plane at depth 1 (x right, y down) each pixel's centre looks, [height, width, 2].

        The inverse of the distortion, by fixed-point iteration.
        """
        column, row = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        seen = np.stack([column - self.centre[0], row - self.centre[1]], axis=-1) / self.focal
        ideal = seen
        for _ in range(30):
            square = (ideal**2).sum(axis=-1, keepdims=True)
            ideal = seen / (1.0 + self.distortion[0] * square + self.distortion[1] * square**2)
        return ideal

    def develop(self, light: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Display values, float in 0..1, of linear ``light`` [..., 3] as this sensor records it."""
        light = light * np.array(self.gains, dtype=np.float32)
        if self.noise:
            variance = self.noise**2 * (0.95 * light.clip(0.0) + 0.05)
            light = light + np.sqrt(variance) * generator.standard_normal(light.shape, dtype=np.float32)
        return to_display(light).clip(0.0, 1.0)

    def entry(self) -> dict:
        """The camera's keys in ``transforms.json``."""
        k1, k2 = self.distortion
        keys = {"fl_x": self.focal, "fl_y": self.focal, "cx": self.centre[0], "cy": self.centre[1]}
        return keys | {"w": self.width, "h": self.height} | ({"k1": k1, "k2": k2} if k1 or k2 else {})


class IdealView:
    """The pinhole picture, a little larger, from which a sensor's own is resampled.

    ``width`` and ``height`` in pixels; its focal length is the sensor's, its principal point in its middle.
    """

    def __init__(self, sensor: Sensor) -> None:
        places = sensor.ideal_places() * sensor.focal
        self.width, self.height = (2 * math.ceil(np.abs(places[..., axis]).max() + 1.0) for axis in (0, 1))
        # From the first pixel's centre.
        self._columns = places[..., 0] + (self.width / 2 - 0.5)
        self._rows = places[..., 1] + (self.height / 2 - 0.5)

    def rows(self, first: int, last: int) -> tuple[int, int]:
        """First and last-plus-one row of this view that the sensor's rows ``first`` to ``last`` - 1 are made of."""
        wanted = self._rows[first:last]
        return math.floor(wanted.min()), math.floor(wanted.max()) + 2

    def resample(self, picture: np.ndarray, first: int, last: int) -> np.ndarray:
        """The sensor's rows ``first`` to ``last`` - 1 from the ``picture`` [height, width, C], bilinearly."""
        columns, rows = self._columns[first:last], self._rows[first:last]
        left, top = np.floor(columns).astype(np.int64), np.floor(rows).astype(np.int64)
        right, down = (columns - left).astype(np.float32)[..., None], (rows - top).astype(np.float32)[..., None]
        upper = picture[top, left] * (1.0 - right) + picture[top, left + 1] * right
        lower = picture[top + 1, left] * (1.0 - right) + picture[top + 1, left + 1] * right
        return upper * (1.0 - down) + lower * down


def draw_sensors(
    count: int, size: tuple[int, int], angle: float, differences: dict[str, float], seed: int
) -> list[Sensor]:
    """Cameras of one make, each a little different.

    Args:
        count: how many.
        size: width and height, pixels.
        angle: horizontal field of view of the mean camera, radians.
        differences: ``focal`` (relative deviation), ``centre`` (deviation, share of the width), ``distortion`` (k1
            lies within +- this), ``exposure`` and ``balance`` (deviation of the logarithm of all gains and of red's and
            blue's), ``noise`` (as of :class:`Sensor`).
        seed: of the differences.
    """
    generator = np.random.default_rng([seed, 3])
    width, height = size
    sensors = []
    for _ in range(count):
        focal = 0.5 * width / math.tan(0.5 * angle) * (1.0 + differences["focal"] * generator.standard_normal())
        shift = differences["centre"] * width * generator.standard_normal(2)
        k1 = differences["distortion"] * generator.uniform(-1.0, 1.0)
        exposure = differences["exposure"] * generator.standard_normal()
        red, blue = differences["balance"] * generator.standard_normal(2)
        sensors.append(
            Sensor(
                width, height, float(focal), (width / 2 + float(shift[0]), height / 2 + float(shift[1])),
                (float(k1), float(-0.2 * k1)), tuple(np.exp([exposure + red, exposure, exposure + blue]).tolist()),
                differences["noise"],
            )
        )  # fmt: skip
    return sensors


def to_display(linear: np.ndarray) -> np.ndarray:
    """sRGB's display values of linear light of at least 0."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clip(0.0) ** (1.0 / 2.4) - 0.055)


def over_white(picture: np.ndarray) -> np.ndarray:
    """Display values [..., 3] of linear light times alpha, and alpha, [..., 4] over white.

    Mixed in display values, as fields mix colours.
    """
    alpha = picture[..., 3:].clip(0.0, 1.0)
    return to_display(picture[..., :3] / alpha.clip(1e-6)).clip(0.0, 1.0) * alpha + (1.0 - alpha)
