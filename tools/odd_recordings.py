"""Odd recordings made from scenes with known offsets: cameras that hang, stand still, stutter, black out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import odd_pictures

from syncnerf.scene import Camera, Scene

Pixels = Callable[[np.ndarray], np.ndarray]
"""Changes all frames of one camera, uint8 [T, height, width, 3]."""


@dataclass
class Odd:
    """What becomes of one camera's frames.

    Attributes:
        shown: which frame of the source each frame shows, int64, shape [T].
        lead: frames by which the recording now starts earlier than the source did.
        rate: frames per second now, as a share of the source's.
        pixels: what is done to the pictures afterwards; None for nothing.
    """

    shown: np.ndarray
    lead: int = 0
    rate: float = 1.0
    pixels: Pixels | None = None


@dataclass
class OddFrames:
    """A frame cache that shows the frames of a scene as its cameras' damages say.

    Attributes:
        scene: the whole scene.
        odd: by camera name.
    """

    scene: Scene
    odd: dict[str, Odd]
    _made: dict[str, np.ndarray] = field(default_factory=dict)

    def prepare(self, cameras: tuple[Camera, ...]) -> None:
        """Nothing to do: the whole scene's frames are decoded."""

    def open(self, camera: Camera) -> np.ndarray:
        """The odd frames, uint8, shape [T, height, width, 3]."""
        odd = self.odd[camera.name]
        frames = self.scene.frames(self.scene.index_of(camera.name))[odd.shown]
        return frames if odd.pixels is None else odd.pixels(frames)


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
        cameras.append(replace(camera, frame_count=len(odd.shown), fps=odd.rate * camera.fps, given_times=None))
    return replace(scene, cameras=tuple(cameras), frame_cache=OddFrames(scene, odds), true_offsets=offsets, _frames={})


def _some(scene: Scene, generator: np.random.Generator, most: int = 1) -> list[Camera]:
    """One camera or some, but less than half of them."""
    count = min(most, (len(scene.cameras) - 1) // 2)
    return [scene.cameras[index] for index in generator.permutation(len(scene.cameras))[:count]]


def _hang(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """One camera shows one frame for a third of its video, then jumps to the present."""
    odds = {}
    for camera in _some(scene, generator):
        count = camera.frame_count
        first = int(generator.integers(0, count - count // 3 + 1))
        shown = np.arange(count)
        shown[first : first + count // 3] = first
        odds[camera.name] = Odd(shown)
    return odds


def _frozen(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """One camera shows its first frame throughout."""
    return {camera.name: Odd(np.zeros(camera.frame_count, dtype=np.int64)) for camera in _some(scene, generator)}


def _pause(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """Everything stands still for half the video's length, somewhere, and goes on from there."""
    place = float(generator.uniform(0.3, 0.7)) * min(camera.duration for camera in scene.cameras)
    odds = {}
    for index, camera in enumerate(scene.cameras):
        count = camera.frame_count
        at = int(np.clip(round((place - float(scene.true_offsets[index])) * camera.fps), 0, count - 1))
        odds[camera.name] = Odd(np.concatenate([np.arange(at), np.full(count // 2, at), np.arange(at, count)]))
    return odds


def _ends(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """Everything stands still in the first and the last sixth of the common time."""
    begin = float(scene.true_offsets.max())
    end = min(float(o) + c.duration for o, c in zip(scene.true_offsets, scene.cameras, strict=True))
    first, last = begin + (end - begin) / 6, end - (end - begin) / 6
    odds = {}
    for index, camera in enumerate(scene.cameras):
        own = [round((moment - float(scene.true_offsets[index])) * camera.fps) for moment in (first, last)]
        odds[camera.name] = Odd(np.arange(camera.frame_count).clip(*own))
    return odds


def _padding(camera: Camera, before: int, after: int) -> Odd:
    """Still frames before and after a camera's video."""
    return Odd(np.arange(-before, camera.frame_count + after).clip(0, camera.frame_count - 1), lead=before)


def _padded_one(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """One camera recorded longer: 50 still frames, the action, 50 still frames."""
    return {camera.name: _padding(camera, 50, 50) for camera in _some(scene, generator)}


def _padded_all(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """Stillness around the action in all videos."""
    return {camera.name: _padding(camera, 45, 45) for camera in scene.cameras}


def _jump(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """One camera loses a quarter of its frames somewhere in the middle, and its file knows nothing of it."""
    odds = {}
    for camera in _some(scene, generator):
        lost = camera.frame_count // 4
        first = int(generator.integers(lost, camera.frame_count - 2 * lost + 1))
        odds[camera.name] = Odd(np.delete(np.arange(camera.frame_count), np.arange(first, first + lost)))
    return odds


def _lossy(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """All cameras lose one frame of 25, anywhere, and no file knows of it."""
    return {c.name: Odd(np.flatnonzero(generator.random(c.frame_count) > 0.04)) for c in scene.cameras}


def _coded(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """All files are strongly compressed, with key frames at equal places."""
    return {c.name: Odd(np.arange(c.frame_count), pixels=odd_pictures.key_frames) for c in scene.cameras}


def _cadence(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """Each fifth frame shows the one before again, at equal places in most cameras."""
    odds = {}
    for camera in scene.cameras:
        frames = np.arange(camera.frame_count)
        if generator.random() < 0.7:
            odds[camera.name] = Odd(frames - (frames % 5 == 4))
    return odds


def _decimated(period: int) -> Callable:
    """One frame of ``period`` is left out in all cameras, at equal places in the files: of 30 a second, 5 makes 24."""

    def damage(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
        frames = [np.arange(camera.frame_count) for camera in scene.cameras]
        rate = (period - 1) / period
        return {c.name: Odd(f[f % period != period - 1], rate=rate) for c, f in zip(scene.cameras, frames, strict=True)}

    return damage


def _telecine(rate: Fraction) -> Callable:
    """Frames are shown again at equal places of all files: at 5/4 each fourth one twice, so that 24 become 30."""

    def damage(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
        counts = [math.floor(camera.frame_count * rate) for camera in scene.cameras]
        shown = [np.arange(count) * rate.denominator // rate.numerator for count in counts]
        return {c.name: Odd(own, rate=float(rate)) for c, own in zip(scene.cameras, shown, strict=True)}

    return damage


def _blended(rate: Fraction) -> Callable:
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


def _looped(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """The same 20 frames' time again and again, in all cameras."""
    begin, odds = float(scene.true_offsets.max()), {}
    for offset, camera in zip(scene.true_offsets.tolist(), scene.cameras, strict=True):
        frames = np.arange(camera.frame_count)
        rounds = np.floor((frames - (begin - offset) * camera.fps) / 20).astype(int)
        odds[camera.name] = Odd((frames - 20 * rounds).clip(0, camera.frame_count - 1))
    return odds


def _changed(change: Callable[[np.ndarray, np.random.Generator], None], most: int = 2) -> Callable:
    """Apply ``change(frames, generator)``, in place, to some cameras' frames."""

    def damage(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
        odds = {}
        for camera in _some(scene, generator, most):

            def pixels(frames: np.ndarray, seed: int = int(generator.integers(1 << 30))) -> np.ndarray:
                frames = np.array(frames)
                change(frames, np.random.default_rng(seed))
                return frames

            odds[camera.name] = Odd(np.arange(camera.frame_count), pixels=pixels)
        return odds

    return damage


DAMAGES: dict[str, Callable[[Scene, np.random.Generator], dict[str, Odd]]] = {
    "untouched": lambda scene, generator: {},
    "one hangs": _hang,
    "one frozen": _frozen,
    "all pause": _pause,
    "still ends": _ends,
    "padded one": _padded_one,
    "padded all": _padded_all,
    "cadence": _cadence,
    "decimated": _decimated(5),
    "decimated to 25": _decimated(6),
    "telecine": _telecine(Fraction(5, 4)),
    "24 at 60": _telecine(Fraction(5, 2)),
    "blended to 60": _blended(Fraction(2)),
    "blended to 30": _blended(Fraction(5, 4)),
    "blended to 25": _blended(Fraction(5, 6)),
    "blended to 24": _blended(Fraction(4, 5)),
    "looped": _looped,
    "clock jumps": _jump,
    "all lose frames": _lossy,
    "key frames": _coded,
    "black start": _changed(odd_pictures.black),
    "fade in": _changed(odd_pictures.fade),
    "cut": _changed(odd_pictures.cut),
    "lens cap": _changed(odd_pictures.cap),
    "flash": _changed(odd_pictures.flash),
    "flicker": _changed(odd_pictures.flicker, most=99),
}
