"""Odd recordings made from scenes with known offsets: cameras that hang, stand still, stutter, black out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import odd_clocks
import odd_files
import odd_pictures
import odd_rates
from odd_frames import Odd, OddFrames, some_cameras

from syncnerf.scene import Scene


def damaged(scene: Scene, kind: str, seed: int) -> Scene:
    """A copy of a scene with one kind of damage, the true offsets changed accordingly.

    Args:
        scene: with true offsets; its frames are decoded.
        kind: one of :data:`DAMAGES`.
        seed: decides which cameras suffer, and where.
    """
    generator = np.random.default_rng(seed)
    odds = {c.name: Odd(np.arange(c.frame_count)) for c in scene.cameras}
    odds |= DAMAGES[kind](scene, generator)
    offsets = scene.true_offsets.clone()
    cameras = []
    for index, camera in enumerate(scene.cameras):
        odd = odds[camera.name]
        offsets[index] -= odd.lead / camera.fps
        times = camera.given_times if odd.told else None
        cameras.append(replace(camera, frame_count=len(odd.shown), fps=odd.rate * camera.fps, given_times=times))
    return replace(scene, cameras=tuple(cameras), frame_cache=OddFrames(scene, odds), true_offsets=offsets, _frames={})


def _coded(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """All files are strongly compressed, with key frames at equal places."""
    return {c.name: Odd(np.arange(c.frame_count), pixels=odd_pictures.key_frames) for c in scene.cameras}


def _changed(change: Callable[[np.ndarray, np.random.Generator], None], most: int = 2) -> Callable:
    """Apply ``change(frames, generator)``, in place, to some cameras' frames."""

    def damage(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
        odds = {}
        for camera in some_cameras(scene, generator, most):

            def pixels(frames: np.ndarray, seed: int = int(generator.integers(1 << 30))) -> np.ndarray:
                frames = np.array(frames)
                change(frames, np.random.default_rng(seed))
                return frames

            odds[camera.name] = Odd(np.arange(camera.frame_count), pixels=pixels)
        return odds

    return damage


def _burned_in(draw: Callable[[np.ndarray, np.random.Generator], None]) -> Callable:
    """Draw something into all cameras' pictures, by the frames of each file."""

    def damage(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
        def drawn(frames: np.ndarray, seed: int) -> np.ndarray:
            frames = np.array(frames)
            draw(frames, np.random.default_rng(seed))
            return frames

        seeds = generator.integers(1 << 30, size=len(scene.cameras)).tolist()
        return {
            camera.name: Odd(np.arange(camera.frame_count), pixels=partial(drawn, seed=seed))
            for camera, seed in zip(scene.cameras, seeds, strict=True)
        }

    return damage


DAMAGES: dict[str, Callable[[Scene, np.random.Generator], dict[str, Odd]]] = {
    "untouched": lambda scene, generator: {c.name: Odd(np.arange(c.frame_count), told=True) for c in scene.cameras},
    "one hangs": odd_clocks.hang,
    "one frozen": odd_clocks.frozen,
    "all pause": odd_clocks.pause,
    "still ends": odd_clocks.still_ends,
    "padded one": odd_clocks.padded_one,
    "padded all": odd_clocks.padded_all,
    "cadence": odd_rates.cadence,
    "decimated": odd_rates.decimated(5),
    "decimated to 25": odd_rates.decimated(6),
    "decimated by each": odd_rates.decimated(5, alike=False),
    "telecine": odd_rates.telecine(Fraction(5, 4)),
    "24 at 60": odd_rates.telecine(Fraction(5, 2)),
    "blended to 60": odd_rates.blended(Fraction(2)),
    "blended to 30": odd_rates.blended(Fraction(5, 4)),
    "blended to 25": odd_rates.blended(Fraction(5, 6)),
    "blended to 24": odd_rates.blended(Fraction(4, 5)),
    "looped": odd_clocks.looped,
    "clock jumps": odd_clocks.jump,
    "one frame lost": odd_clocks.one_lost,
    "each loses some": odd_clocks.each_loses,
    "held for half a second": odd_clocks.held,
    "held for a few": odd_clocks.held_few,
    "all lose frames": odd_rates.lossy,
    "key frames": _coded,
    "videos swapped": odd_files.swapped,
    "videos renamed": odd_files.renamed,
    "pieces shuffled": odd_files.shuffled,
    "smeared": odd_files.smeared,
    "black start": _changed(odd_pictures.black),
    "fade in": _changed(odd_pictures.fade),
    "cut": _changed(odd_pictures.cut),
    "lens cap": _changed(odd_pictures.cap),
    "flash": _changed(odd_pictures.flash),
    "flicker": _changed(odd_pictures.flicker, most=99),
    "burned-in clock": _burned_in(odd_pictures.clock),
    "burned-in mark": _burned_in(odd_pictures.blink),
}
