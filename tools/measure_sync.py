#!/usr/bin/env python3
"""Measures ``syncnerf sync`` on scenes with known offsets: errors, honesty of the standard errors, time and memory.

For each scene folder the error is taken after subtracting the median difference (a common shift is unobservable) and
given in frames; ``within 1`` and ``within 3`` are the shares of cameras whose error is below one and three of their
stated standard errors.

examples:
  python tools/measure_sync.py scenes/demo scenes/dancer
  python tools/measure_sync.py scenes/demo --perturb-poses 5
  python tools/measure_sync.py scenes/demo --damage crf35
  python tools/measure_sync.py data/walk_4cam --crops 10 --keep 70
  python tools/measure_sync.py --speed
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import torch
from moving_spheres import Spheres, SphereVideo, sphere_scene
from scene_output import VideoWriter

from syncnerf.errors import UserError
from syncnerf.scene import Camera, Intrinsics, Scene, load_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.sync import synchronize
from syncnerf.time_offsets import align_gauge


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


def compressed(frames: np.ndarray, crf: int) -> np.ndarray:
    """Frames after a passage through x264, uint8, same shape."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with VideoWriter(path, frames.shape[2], frames.shape[1], 30, crf) as video:
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


class CoarseVideo(SphereVideo):
    """Renders at half the size and repeats pixels: quick, for measurements of speed."""

    def decode(self, intrinsics: Intrinsics) -> Iterator[np.ndarray]:
        """Yield frames, uint8 RGB, shape [height, width, 3]."""
        for frame in super().decode(intrinsics.resized(intrinsics.width // 2, intrinsics.height // 2)):
            yield frame.repeat(2, axis=0).repeat(2, axis=1)


def speed_scene(folder: Path) -> Scene:
    """Thirty cameras of 120 frames at 320x180."""
    offsets = np.random.default_rng(0).normal(0, 5 / 30, 30).tolist()
    scene = sphere_scene(folder, offsets, frames=120, size=(320, 180), spheres=Spheres(8, 1))
    sources = scene.frame_cache.sources
    for name, source in sources.items():
        sources[name] = CoarseVideo(source.spheres, source.camera, source.offset)
    return scene


def measure(name: str, scene: Scene, method: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Synchronise, print one line, and return errors in frames and errors over standard errors, both [C]."""
    begin = time.perf_counter()
    result = synchronize(scene, method)
    seconds = time.perf_counter() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    error = align_gauge(result.offsets, scene.true_offsets)
    ratio = (error / result.stderr).abs()
    known = ~error.isnan()
    frames = (error / scene.frame_interval)[known].abs()
    print(
        f"{name:24} MAE {frames.mean():.4f}  median {frames.median():.4f}  max {frames.max():.3f} frame  "
        f"within 1: {(ratio[known] < 1).double().mean():.2f}  within 3: {(ratio[known] < 3).double().mean():.2f}  "
        f"pairs {sum(pair.used for pair in result.pairs)}/{len(result.pairs)}  "
        f"undetermined {len(result.reasons)}  {seconds:.1f} s  peak {memory:.0f} MB",
        flush=True,
    )
    return error / scene.frame_interval, ratio


def variants(scene: Scene, options: argparse.Namespace) -> Iterator[Scene]:
    """What is measured of a scene: itself, random crops, or perturbed poses."""
    if options.crops:
        yield from random_crops(scene, options.keep, options.crops)
    elif options.damage:
        yield replace(scene, frame_cache=Damaged(scene, options.damage), _frames={})
    elif options.perturb_poses:
        yield from (perturbed(scene, seed) for seed in range(options.perturb_poses))
    else:
        yield scene


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="*", help="scene folders with offsets.json (or --crops)")
    parser.add_argument("--method", choices=("auto", "epipolar", "tracks"), default="auto")
    parser.add_argument("--crops", type=int, default=0, help="instead: this many random crops of synchronised videos")
    parser.add_argument("--keep", type=int, default=70, help="frames that a crop keeps (default: 70)")
    parser.add_argument("--perturb-poses", type=int, default=0, metavar="N", help="instead: N times with wrong poses")
    parser.add_argument("--damage", choices=("repeat", "lose", "blur", "crf35"), help="instead: with damaged frames")
    parser.add_argument("--cache-dir", type=Path, help="folder of the decoded frames")
    parser.add_argument("--speed", action="store_true", help="30 cameras of 120 frames at 320x180, rendered here")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    errors, ratios = [], []
    try:
        for folder in options.scenes:
            cache = None if options.cache_dir is None else options.cache_dir / folder.name
            scene = load_scene(folder, ReadOptions(max_side=320, cache_dir=cache))
            scene.frame_cache.prepare(scene.cameras)
            for variant in variants(scene, options):
                if variant.true_offsets is None:
                    raise UserError(f"{folder}: has no offsets.json to compare with")
                error, ratio = measure(folder.name, variant, options.method)
                errors.append(error)
                ratios.append(ratio)
        if options.speed:
            with tempfile.TemporaryDirectory() as folder:
                scene = speed_scene(Path(folder))
                scene.frame_cache.prepare(scene.cameras)
                measure("30 cameras, 320x180", scene, options.method)
    except UserError as error:
        print(f"measure_sync: {error}", file=sys.stderr)
        return 2
    if len(errors) > 1:
        ratio = torch.cat(ratios)
        ratio = ratio[~ratio.isnan()]
        print(
            f"all: mean MAE {torch.stack([e.abs().nanmean() for e in errors]).mean():.4f}, largest error "
            f"{max(float(e.abs().nan_to_num(0).max()) for e in errors):.3f} frame, within 1 standard error "
            f"{(ratio < 1).double().mean():.1%}, within 3 {(ratio < 3).double().mean():.1%} of {len(ratio)} cameras"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
