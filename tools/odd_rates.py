"""Recordings with another rate than they were filmed at: frames lost, shown again, or blended."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from odd_frames import Odd

from syncnerf.scene import Camera, Scene


def cadence(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """Each fifth frame shows the one before again, at equal places in most cameras."""
    odds = {}
    for camera in scene.cameras:
        frames = np.arange(camera.frame_count)
        if generator.random() < 0.7:
            odds[camera.name] = Odd(frames - (frames % 5 == 4))
    return odds


def decimated(period: int, alike: bool = True) -> Callable:
    """One frame of ``period`` is left out in all cameras: of 30 a second, 5 makes 24.

    At equal places in the files (``alike``), or in each from another frame on.
    """

    def damage(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
        odds = {}
        for camera in scene.cameras:
            frames = np.arange(camera.frame_count)
            lost = period - 1 if alike else int(generator.integers(period))
            shown, rate = frames[frames % period != lost], (period - 1) / period
            # The clock that the file claims is right on the average.
            odds[camera.name] = Odd(shown, float((np.arange(len(shown)) / rate - shown).mean()), rate)
        return odds

    return damage


def telecine(rate: Fraction) -> Callable:
    """Frames are shown again at equal places of all files: at 5/4 each fourth one twice, so that 24 become 30."""

    def damage(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
        counts = [math.floor(camera.frame_count * rate) for camera in scene.cameras]
        shown = [np.arange(count) * rate.denominator // rate.numerator for count in counts]
        return {c.name: Odd(own, rate=float(rate)) for c, own in zip(scene.cameras, shown, strict=True)}

    return damage


def blended(rate: Fraction) -> Callable:
    """All cameras' frames are blended from the two that they lie between, to reach another rate."""

    def damage(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
        odds = {}
        for camera in scene.cameras:
            places = np.arange(int((camera.frame_count - 1) * rate)) / float(rate)
            share = places % 1.0

            def pixels(frames: np.ndarray, own: Camera = camera, share: np.ndarray = share) -> np.ndarray:
                whole = scene.frames(scene.index_of(own.name))
                before, share = (np.arange(len(frames)) / float(rate)).astype(int), share[:, None, None, None]
                return ((1 - share) * whole[before] + share * whole[before + 1]).round().astype(np.uint8)

            odds[camera.name] = Odd(places.astype(int), rate=float(rate), pixels=pixels)
        return odds

    return damage


def lossy(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """All cameras lose one frame of 25, anywhere, and no file knows of it."""
    return {c.name: Odd(np.flatnonzero(generator.random(c.frame_count) > 0.04)) for c in scene.cameras}
