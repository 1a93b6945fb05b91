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
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from changed_scenes import Damaged, perturbed, random_crops, with_gaps
from moving_spheres import Clocks, Spheres, SphereVideo, sphere_scene

from syncnerf.errors import UserError
from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Intrinsics, Scene, load_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.sync import synchronize


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
    scene = sphere_scene(folder, offsets, frames=150, spheres=Spheres(6, seed), clocks=Clocks(rates.tolist()))
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
