#!/usr/bin/env python3
"""Measures ``syncnerf sync`` on scenes with known offsets: errors, honesty of the standard errors, time and memory.

For each scene folder the error is taken after subtracting the median difference (a common shift is unobservable) and
given in frames; ``within 1`` and ``within 3`` are the shares of cameras whose error is below one and three of their
stated standard errors. With ``--drift`` clock rates are estimated and measured likewise, in parts per million; scene
folders that state no ``rates_ppm`` are taken to have been filmed at the nominal rate.

examples:
  python tools/measure_sync.py scenes/demo scenes/dancer
  python tools/measure_sync.py scenes/demo --perturb-poses 5
  python tools/measure_sync.py scenes/demo --damage crf35
  python tools/measure_sync.py data/walk_4cam --crops 10 --keep 70
  python tools/measure_sync.py --speed
  python tools/measure_sync.py scenes/long --planted-rates 10 --drift
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import torch
from moving_spheres import Spheres, SphereVideo, sphere_scene
from scene_output import SceneVideo

from syncnerf.errors import UserError
from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Camera, Intrinsics, Scene, load_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.sync import synchronize


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


def drifting_scene(folder: Path, seed: int) -> tuple[Scene, torch.Tensor]:
    """Eight cameras of 150 frames whose clocks run 200 to 2000 ppm fast or slow; the scene and the rates, [8]."""
    generator = np.random.default_rng(seed)
    rates = generator.choice([-1, 1], 8) * generator.uniform(200e-6, 2000e-6, 8)
    offsets = generator.normal(0, 0.2, 8).tolist()
    scene = sphere_scene(folder, offsets, frames=150, spheres=Spheres(6, seed), rates=rates.tolist())
    return scene, torch.from_numpy(rates)


def measure(
    name: str, scene: Scene, method: str, rates: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Synchronise, print one line (two with true ``rates``, [C]: then clocks get rates, too).

    Returns:
        Errors in frames, errors over standard errors, and those of the rates (empty without), [C] each.
    """
    begin = time.perf_counter()
    result = synchronize(scene, method, drift=rates is not None)
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
        f"undetermined {len(result.reasons)}  warnings {len(result.warnings)}  {seconds:.1f} s  peak {memory:.0f} MB",
        flush=True,
    )
    rate_ratio = torch.zeros(0, dtype=torch.float64)
    if rates is not None:
        wrong = align_gauge((1 + result.rates) / (1 + rates), torch.ones_like(rates))
        rate_ratio = (wrong / result.rates_stderr).abs()
        size = wrong[known].abs() * 1e6
        near, far = ((rate_ratio[known] < bound).double().mean() for bound in (1, 3))
        print(
            f"{'':24} rates MAE {size.mean():.0f}  max {size.max():.0f} ppm  median stated "
            f"{result.rates_stderr[known].median() * 1e6:.0f}  within 1: {near:.2f}  within 3: {far:.2f}",
            flush=True,
        )
    return error / scene.frame_interval, ratio, rate_ratio


def true_rates(scene: Scene) -> torch.Tensor:
    """How much faster than nominal each clock runs, shape [C]; 0 where the scene does not say."""
    return torch.zeros(len(scene.cameras), dtype=torch.float64) if scene.true_rates is None else scene.true_rates


def honesty(ratios: Sequence[torch.Tensor]) -> str:
    """The shares of errors within one and three standard errors, in words."""
    ratio = torch.cat(list(ratios))
    ratio = ratio[~ratio.isnan()]
    shares = [(ratio < bound).double().mean() for bound in (1, 3)]
    return f"within 1 standard error {shares[0]:.1%}, within 3 {shares[1]:.1%} of {len(ratio)} cameras"


def variants(scene: Scene, options: argparse.Namespace) -> Iterator[Scene]:
    """What is measured of a scene: itself, random crops, or perturbed poses."""
    if options.crops:
        yield from random_crops(scene, options.keep, options.crops)
    elif options.damage == "gaps":
        yield with_gaps(scene)
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
    parser.add_argument("--damage", choices=("repeat", "lose", "blur", "crf35", "gaps"), help="instead: damaged")
    parser.add_argument("--drift", action="store_true", help="estimate clock rates, too; 0 where a scene states none")
    parser.add_argument(
        "--planted-rates", type=int, default=0, metavar="N", help="N scenes with other rates, with --drift"
    )
    parser.add_argument("--cache-dir", type=Path, help="folder of the decoded frames")
    parser.add_argument("--speed", action="store_true", help="30 cameras of 120 frames at 320x180, rendered here")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    figures = []
    try:
        for folder in options.scenes:
            cache = None if options.cache_dir is None else options.cache_dir / folder.name
            scene = load_scene(folder, ReadOptions(max_side=320, cache_dir=cache))
            scene.frame_cache.prepare(scene.cameras)
            for variant in variants(scene, options):
                if variant.true_offsets is None:
                    raise UserError(f"{folder}: has no offsets.json to compare with")
                rates = true_rates(variant) if options.drift else None
                figures.append(measure(folder.name, variant, options.method, rates))
        for seed in range(options.planted_rates if options.drift else 0):
            with tempfile.TemporaryDirectory() as folder:
                scene, rates = drifting_scene(Path(folder), seed)
                figures.append(measure(f"planted rates, seed {seed}", scene, options.method, rates))
        if options.speed:
            with tempfile.TemporaryDirectory() as folder:
                scene = speed_scene(Path(folder))
                scene.frame_cache.prepare(scene.cameras)
                measure("30 cameras, 320x180", scene, options.method)
    except UserError as error:
        print(f"measure_sync: {error}", file=sys.stderr)
        return 2
    if len(figures) > 1:
        errors, ratios, rate_ratios = zip(*figures, strict=True)
        print(
            f"all: mean MAE {torch.stack([e.abs().nanmean() for e in errors]).mean():.4f}, largest error "
            f"{max(float(e.abs().nan_to_num(0).max()) for e in errors):.3f} frame, {honesty(ratios)}"
        )
        if options.drift:
            print(f"all rates: {honesty(rate_ratios)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
