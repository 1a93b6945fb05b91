"""Recordings whose clocks or scenes stand still, jump or begin again."""

from __future__ import annotations

import numpy as np
from odd_frames import Odd, some_cameras

from syncnerf.scene import Camera, Scene


def hang(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """One camera shows one frame for a third of its video, then jumps to the present."""
    odds = {}
    for camera in some_cameras(scene, generator):
        count = camera.frame_count
        first = int(generator.integers(0, count - count // 3 + 1))
        shown = np.arange(count)
        shown[first : first + count // 3] = first
        odds[camera.name] = Odd(shown)
    return odds


def frozen(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """One camera shows its first frame throughout."""
    return {camera.name: Odd(np.zeros(camera.frame_count, dtype=np.int64)) for camera in some_cameras(scene, generator)}


def pause(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """Everything stands still for half the video's length, somewhere, and goes on from there."""
    place = float(generator.uniform(0.3, 0.7)) * min(camera.duration for camera in scene.cameras)
    odds = {}
    for index, camera in enumerate(scene.cameras):
        count = camera.frame_count
        at = int(np.clip(round((place - float(scene.true_offsets[index])) * camera.fps), 0, count - 1))
        odds[camera.name] = Odd(np.concatenate([np.arange(at), np.full(count // 2, at), np.arange(at, count)]))
    return odds


def still_ends(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
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


def padded_one(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """One camera recorded longer: 50 still frames, the action, 50 still frames."""
    return {camera.name: _padding(camera, 50, 50) for camera in some_cameras(scene, generator)}


def padded_all(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """Stillness around the action in all videos."""
    return {camera.name: _padding(camera, 45, 45) for camera in scene.cameras}


def jump(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """One camera loses a quarter of its frames somewhere in the middle, and its file knows nothing of it."""
    odds = {}
    for camera in some_cameras(scene, generator):
        lost = camera.frame_count // 4
        first = int(generator.integers(lost, camera.frame_count - 2 * lost + 1))
        odds[camera.name] = Odd(np.delete(np.arange(camera.frame_count), np.arange(first, first + lost)))
    return odds


def one_lost(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """One camera loses a single frame, anywhere but in the first five and the last five."""
    odds = {}
    for camera in some_cameras(scene, generator):
        at = int(generator.integers(5, camera.frame_count - 5))
        odds[camera.name] = Odd(np.delete(np.arange(camera.frame_count), at))
    return odds


def each_loses(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """Every camera loses one to three frames in a row, somewhere, and no file knows of it."""
    odds = {}
    for camera in scene.cameras:
        lost = int(generator.integers(1, 4))
        at = int(generator.integers(5, camera.frame_count - 5 - lost))
        odds[camera.name] = Odd(np.delete(np.arange(camera.frame_count), np.arange(at, at + lost)))
    return odds


def held_few(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """One camera shows a frame for two to eight frames' time and goes on late, in the middle three fifths."""
    odds = {}
    for camera in some_cameras(scene, generator):
        count, late = camera.frame_count, int(generator.integers(2, 9))
        at = int(generator.integers(count // 5, 4 * count // 5))
        odds[camera.name] = Odd(np.concatenate([np.arange(at), np.full(late, at), np.arange(at, count)]))
    return odds


def held(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """One camera shows one frame for half a second, early in its video, and goes on late; its file knows nothing."""
    odds = {}
    for camera in some_cameras(scene, generator):
        count, late = camera.frame_count, round(camera.fps / 2)
        at = int(generator.integers(count // 3, count // 2))
        odds[camera.name] = Odd(np.concatenate([np.arange(at), np.full(late, at), np.arange(at, count)]))
    return odds


def looped(scene: Scene, generator: np.random.Generator) -> dict[str, Odd]:
    """The same 20 frames' time again and again, in all cameras."""
    begin, odds = float(scene.true_offsets.max()), {}
    for offset, camera in zip(scene.true_offsets.tolist(), scene.cameras, strict=True):
        frames = np.arange(camera.frame_count)
        rounds = np.floor((frames - (begin - offset) * camera.fps) / 20).astype(int)
        odds[camera.name] = Odd((frames - 20 * rounds).clip(0, camera.frame_count - 1))
    return odds
