"""Scenes with known offsets made of others: cut at random, damaged, with gaps, with wrong poses."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import torch
from scene_output import SceneVideo

from syncnerf.scene import Camera, Scene


@dataclass
class Crop:
    """A frame cache that shows a stretch of each video: a synchronised capture made unsynchronised.

    Attributes:
        scene: the whole scene.
        first: first frame of each camera's stretch, by name.
        count: frames in it.
    """

    scene: Scene
    first: dict[str, int]
    count: int

    def prepare(self, cameras: tuple[Camera, ...]) -> None:
        """Nothing to do: the whole scene's frames are decoded."""

    def open(self, camera: Camera) -> np.ndarray:
        """The stretch, uint8, shape [count, height, width, 3]."""
        frames = self.scene.frames(self.scene.index_of(camera.name))
        return frames[self.first[camera.name] : self.first[camera.name] + self.count]


@dataclass
class Damaged:
    """A frame cache whose frames suffered: ``how`` says in which way.

    ``repeat``: a tenth of the frames show the one before again. ``lose``: a tenth are missing, and what follows moves
    up. ``blur``: each frame is the mean of two. ``crf35``: compressed by x264 at that quality.
    (``gaps``, a twentieth missing and the timestamps telling so, is :func:`with_gaps`.)
    """

    scene: Scene
    how: str

    def prepare(self, cameras: tuple[Camera, ...]) -> None:
        """Nothing to do: the whole scene's frames are decoded."""

    def open(self, camera: Camera) -> np.ndarray:
        """The damaged frames, uint8, shape [T, height, width, 3]."""
        index = self.scene.index_of(camera.name)
        frames = self.scene.frames(index)
        generator = np.random.default_rng(index)
        count = len(frames)
        if self.how == "blur":
            following = frames[np.minimum(np.arange(count) + 1, count - 1)]
            return ((frames.astype(np.uint16) + following) // 2).astype(np.uint8)
        if self.how == "crf35":
            return compressed(frames, 35)
        chosen = generator.permutation(np.arange(1, count))[: round(0.1 * count)]
        if self.how == "repeat":
            shown = np.arange(count)
            shown[chosen] -= 1
            return frames[shown]
        kept = np.delete(np.arange(count), chosen)
        return frames[np.concatenate([kept, np.full(count - len(kept), kept[-1])])]


@dataclass
class Kept:
    """A frame cache that lacks some frames: ``kept`` are those that are left, by camera name."""

    scene: Scene
    kept: dict[str, np.ndarray]

    def prepare(self, cameras: tuple[Camera, ...]) -> None:
        """Nothing to do: the whole scene's frames are decoded."""

    def open(self, camera: Camera) -> np.ndarray:
        """The frames that are left, uint8, shape [T, height, width, 3]."""
        return self.scene.frames(self.scene.index_of(camera.name))[self.kept[camera.name]]


def with_gaps(scene: Scene, seed: int = 0) -> Scene:
    """The scene with a twentieth of each video's frames missing, whose own times say so."""
    generator, kept, cameras = np.random.default_rng(seed), {}, []
    for camera in scene.cameras:
        lost = generator.choice(np.arange(1, camera.frame_count - 1), round(0.05 * camera.frame_count), replace=False)
        kept[camera.name] = own = np.delete(np.arange(camera.frame_count), lost)
        times = camera.frame_times[torch.from_numpy(own)]
        cameras.append(replace(camera, frame_count=len(own), given_times=times))
    return replace(scene, cameras=tuple(cameras), frame_cache=Kept(scene, kept), _frames={})


def compressed(frames: np.ndarray, crf: int) -> np.ndarray:
    """Frames after a passage through x264, uint8, same shape."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with SceneVideo(path, frames.shape[2], frames.shape[1], 30, crf) as video:
            for frame in frames:
                video.write_rgb(frame)
        with av.open(str(path)) as container:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def random_crops(scene: Scene, keep: int, repeats: int) -> Iterator[Scene]:
    """The scene with every video cut to ``keep`` frames from a random start on, with the true offsets."""
    generator = np.random.default_rng(0)
    for _ in range(repeats):
        first = [int(generator.integers(0, camera.frame_count - keep + 1)) for camera in scene.cameras]
        times = [frame / camera.fps for frame, camera in zip(first, scene.cameras, strict=True)]
        yield replace(
            scene,
            cameras=tuple(replace(camera, frame_count=keep) for camera in scene.cameras),
            frame_cache=Crop(scene, dict(zip(scene.names, first, strict=True)), keep),
            true_offsets=torch.tensor(times, dtype=torch.float64),
            _frames={},
        )


def perturbed(scene: Scene, seed: int, degrees: float = 0.2, share: float = 0.005) -> Scene:
    """The scene with every pose turned by ``degrees`` and moved by ``share`` of its distance, in random directions."""
    generator = np.random.default_rng(seed)
    middle = torch.stack([camera.pose(0)[:3, 3] for camera in scene.cameras]).mean(0)
    cameras = []
    for camera in scene.cameras:
        axis, way = (torch.nn.functional.normalize(torch.from_numpy(generator.normal(size=3)), dim=0) for _ in "12")
        x, y, z = (axis * np.radians(degrees)).tolist()
        turn = torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64))
        pose = camera.camera_to_world.clone()
        # Cameras look at the scene from about twice their spread; the origin serves where they surround it.
        distance = max(float((camera.pose(0)[:3, 3] - middle).norm()), float(camera.pose(0)[:3, 3].norm()))
        pose[..., :3, :3] = turn @ pose[..., :3, :3]
        pose[..., :3, 3] += way * share * distance
        cameras.append(replace(camera, camera_to_world=pose))
    return replace(scene, cameras=tuple(cameras))
