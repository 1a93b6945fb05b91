"""Lamps, suns and skies."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Light:
    """A light at ``position`` that points at ``target``.

    ``kind``: AREA or SUN; ``energy``: watts, of a sun watts per square metre; ``size``: metres, of a sun the radians
    of its disc.
    """

    kind: str
    position: tuple[float, float, float]
    energy: float
    size: float
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Lighting:
    """What lights a scene, and what is behind it.

    Attributes:
        lights: lamps and suns.
        sky: linear colour of the light from all around.
        sky_is_seen: whether the camera sees the sky, or nothing, so that pictures have transparent parts; a sky that is
            seen gives no light.
        ambient: share of each colour that shines of itself.
        bounces: of light between things.
    """

    lights: tuple[Light, ...] = (
        Light("SUN", (1.5, 1.8, 4.0), energy=2.0, size=0.12),
        Light("AREA", (3.0, -3.0, 2.5), energy=95.0, size=2.5),
    )
    sky: tuple[float, float, float] = (0.5, 0.5, 0.5)
    sky_is_seen: bool = False
    ambient: float = 0.0
    bounces: int = 1
