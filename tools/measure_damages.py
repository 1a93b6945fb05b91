#!/usr/bin/env python3
"""Measures ``syncnerf sync`` on odd recordings: is it right, or does it say that it is not?

Each kind of damage is made from scenes of moving spheres, rendered here with several seeds, and from scene folders with
known offsets. Errors are in frames, after subtracting the median difference. ``silent`` counts the cameras that are
called sure and are wrong by more than 0.05 frame and by more than three of their stated errors.

examples:
  python tools/measure_damages.py --spheres 3
  python tools/measure_damages.py scenes/demo --spheres 0 --kinds "one hangs,padded one" --every
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from moving_spheres import Spheres, sphere_scene
from odd_recordings import DAMAGES, damaged

from syncnerf.errors import UserError
from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Scene, load_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.sync import synchronize

SILENT = 0.05
"""Frames by which a camera may be wrong without a word."""


def scenes(options: argparse.Namespace, cache: Path) -> Iterator[tuple[str, Scene]]:
    """The scenes to spoil, with their names."""
    for folder in options.scenes:
        scene = load_scene(folder, ReadOptions(max_side=320, cache_dir=cache / folder.name))
        scene.frame_cache.prepare(scene.cameras)
        yield folder.name, scene
    for seed in range(options.spheres):
        offsets = np.random.default_rng(seed).normal(0, 5 / 30, 7)
        scene = sphere_scene(
            cache / f"spheres{seed}", offsets.tolist(), frames=90, spheres=Spheres(6, seed), size=(112, 96)
        )
        scene.frame_cache.prepare(scene.cameras)
        yield f"spheres{seed}", scene


def measure(scene: Scene) -> dict[str, torch.Tensor]:
    """Synchronise; errors in frames, errors over stated ones, whether sure; [C] each."""
    try:
        result = synchronize(scene, audio="off")
    except UserError as error:
        nothing = torch.full((len(scene.cameras),), torch.nan, dtype=torch.float64)
        return {"error": nothing, "ratio": nothing, "sure": nothing.isfinite(), "words": str(error)}
    error = align_gauge(result.offsets, scene.true_offsets)
    sure = torch.tensor([result.verdicts[name] == "sure" for name in result.names])
    words = "; ".join(f"{name}: {check.reason}" for name, check in result.checks.items() if check.reason)
    return {
        "error": (error / scene.frame_interval).abs(),
        "ratio": (error / result.stderr).abs(),
        "sure": sure,
        "words": words,
    }


def line(name: str, found: list[dict[str, torch.Tensor]]) -> str:
    """One row of the table."""
    error, ratio, sure = (torch.cat([one[key] for one in found]) for key in ("error", "ratio", "sure"))
    known = error.isfinite()
    silent = sure & (error > SILENT) & (ratio > 3)
    largest = float(error[known & sure].max()) if (known & sure).any() else 0.0
    within = float((ratio[known] < 3).double().mean()) if known.any() else float("nan")
    mean = float(error[known].mean()) if known.any() else float("nan")
    return (
        f"{name:24} {len(error):5d} {int((known & ~sure).sum()):6d} {int((~known).sum()):6d}  {mean:8.3f} "
        f"{largest:8.3f}  {within:7.1%} {int(silent.sum()):6d}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="*", help="scene folders with offsets.json")
    parser.add_argument("--spheres", type=int, default=2, help="scenes of spheres to render")
    parser.add_argument("--seeds", type=int, default=2, help="damages of each scene")
    parser.add_argument("--kinds", default=",".join(DAMAGES), help="comma-separated kinds of damage (default: all)")
    parser.add_argument("--every", action="store_true", help="print each scene, and what was said of it")
    parser.add_argument("--cache-dir", type=Path, help="folder of the decoded frames (default: a temporary one)")
    options = parser.parse_args(arguments)
    kinds = [kind.strip() for kind in options.kinds.split(",")]
    unknown = [kind for kind in kinds if kind not in DAMAGES]
    if unknown:
        parser.error(f"no damage '{unknown[0]}' (known: {', '.join(DAMAGES)})")
    print(f"{'damage':24} {'all':>5} {'check':>6} {'undet.':>6}  {'mean':>8} {'max sure':>8}  {'< 3 s.e.':>7} silent")
    everything = []
    with tempfile.TemporaryDirectory() as scratch:
        made = list(scenes(options, options.cache_dir or Path(scratch)))
        for kind in kinds:
            found = []
            for name, scene in made:
                for seed in range(max(options.seeds, 1)):
                    found.append(measure(damaged(scene, kind, seed)))
                    if options.every:
                        print(f"  {line(f'{name}, {seed}', found[-1:])}\n      {found[-1]['words']}", flush=True)
            print(line(kind, found), flush=True)
            everything += found
    print(line("all", everything))
    return 0


if __name__ == "__main__":
    sys.exit(main())
