#!/usr/bin/env python3
"""Measures ``syncnerf sync`` on odd recordings: is it right, or does it say that it is not?

Each kind of damage is made from scenes of moving spheres, rendered here with several seeds, and from scene folders with
known offsets. Errors are in frames of the scene before it was damaged, after subtracting the median difference.
``right`` is the share of the sure cameras within 0.05 frame (0.25 where frames were dropped at equal places, 0.1 where
they were repeated). ``silent`` counts the sure ones that are not, and are wrong by more than three of their stated
errors; the end lists them.

examples:
  python tools/measure_damages.py --spheres 3
  python tools/measure_damages.py --spheres 8 --seeds 1 --kinds untouched --jitter 0.2
  python tools/measure_damages.py scenes/demo --spheres 0 --cameras 4 --seeds 6 --kinds "untouched,one frame lost"
  python tools/measure_damages.py scenes/demo --spheres 0 --kinds "one hangs,padded one" --every
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from moving_spheres import Clocks, Spheres, sphere_scene
from odd_frames import part_of
from odd_recordings import DAMAGES, damaged

from syncnerf.errors import UserError
from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Scene, load_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.sync import synchronize

RIGHT = 0.05
"""Frames by which a camera may be wrong without a word ..."""
RIGHT_OF = dict.fromkeys(("decimated", "decimated to 25", "decimated by each"), 0.25)
RIGHT_OF |= dict.fromkeys(("cadence", "blended to 24", "blended to 25"), 0.1)
"""... and where it may be more."""
FIELDS = ("error", "sure", "wrong", "beyond")
"""What the table is made of."""


def scenes(options: argparse.Namespace, cache: Path) -> Iterator[tuple[str, Scene]]:
    """The scenes to spoil, with their names."""
    for folder in options.scenes:
        scene = load_scene(folder, ReadOptions(max_side=320, cache_dir=cache / folder.name))
        scene.frame_cache.prepare(scene.cameras)
        yield folder.name, scene
    for seed in range(options.spheres):
        generator = np.random.default_rng(seed)
        offsets = generator.normal(0, 5 / 30, 7).tolist()
        clocks = Clocks(times=[uneven_times(90, 30.0, options.jitter, generator) for _ in offsets])
        folder = cache / (f"spheres{seed}" + (f"_{options.jitter:g}" if options.jitter else ""))
        scene = sphere_scene(folder, offsets, frames=90, spheres=Spheres(6, seed), size=(112, 96), clocks=clocks)
        scene.frame_cache.prepare(scene.cameras)
        yield f"spheres{seed}", scene


def uneven_times(count: int, fps: float, jitter: float, generator: np.random.Generator) -> torch.Tensor:
    """Seconds of frames that lie up to ``jitter`` intervals from even times, from 0 on, float64, shape [count]."""
    times = (np.arange(count) + generator.uniform(-jitter, jitter, count)) / fps
    return torch.from_numpy(times - times[0])


@dataclass(frozen=True)
class Outcome:
    """What became of one damaged scene.

    Attributes:
        title: the scene, the damage and its seed.
        names: the cameras.
        error: in frames of the scene before it was damaged, shape [C]; NaN where undetermined.
        stderr: the stated ones, likewise, shape [C].
        sure: whether each is called so, bool, shape [C].
        words: what was said.
        limit: frames that count as right.
    """

    title: str
    names: list[str]
    error: torch.Tensor
    stderr: torch.Tensor
    sure: torch.Tensor
    words: str
    limit: float

    @property
    def wrong(self) -> torch.Tensor:
        """Sure cameras that are not right, bool, shape [C]."""
        return self.sure & (self.error.abs() > self.limit)

    @property
    def beyond(self) -> torch.Tensor:
        """Cameras that are further off than three of their stated errors, bool, shape [C]."""
        return self.error.abs() > 3 * self.stderr


def measure(scene: Scene, kind: str, seed: int, name: str) -> Outcome:
    """Damage a scene and synchronise it."""
    odd, limit, title = damaged(scene, kind, seed), RIGHT_OF.get(kind, RIGHT), f"{name}, {kind}, {seed}"
    try:
        result = synchronize(odd, audio="off")
    except UserError as error:
        nothing = torch.full((len(odd.cameras),), torch.nan, dtype=torch.float64)
        return Outcome(title, scene.names, nothing, nothing, nothing.isfinite(), str(error), limit)
    error = align_gauge(result.offsets, odd.true_offsets) / scene.frame_interval
    sure = torch.tensor([result.verdicts[name] == "sure" for name in result.names])
    words = "; ".join(f"{name}: {check.reason}" for name, check in result.checks.items() if check.reason)
    return Outcome(title, result.names, error, result.stderr / scene.frame_interval, sure, words, limit)


def line(name: str, found: list[Outcome]) -> str:
    """One row of the table."""
    error, sure, wrong, beyond = (torch.cat([getattr(one, key) for one in found]) for key in FIELDS)
    known = error.isfinite()
    largest = float(error[known & sure].abs().max()) if (known & sure).any() else 0.0
    shares = (share(~wrong[sure]), share(~beyond[known]))
    return (
        f"{name:24} {len(error):5d} {int((known & ~sure).sum()):6d} {int((~known).sum()):6d}  "
        f"{float(error[known].abs().mean()):8.3f} {largest:8.3f}  {shares[0]:>6} {shares[1]:>7} "
        f"{int((wrong & beyond).sum()):6d}"
    )


def share(mask: torch.Tensor) -> str:
    """How many of some are true, in percent."""
    return f"{float(mask.double().mean()):.1%}" if len(mask) else "-"


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="*", help="scene folders with offsets.json")
    parser.add_argument("--spheres", type=int, default=2, help="scenes of spheres to render")
    parser.add_argument("--jitter", type=float, default=0.0,
                        help="intervals by which the spheres' frames come early or late at most, as their files "
                             "tell; for the kind 'untouched', which alone keeps such times")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=2, help="damages of each scene")
    parser.add_argument("--cameras", type=int, help="of each scene, chosen by the seed (default: all)")
    parser.add_argument("--kinds", default=",".join(DAMAGES), help="comma-separated kinds of damage (default: all)")
    parser.add_argument("--every", action="store_true", help="print each scene, and what was said of it")
    parser.add_argument("--cache-dir", type=Path, help="folder of the decoded frames (default: a temporary one)")
    options = parser.parse_args(arguments)
    kinds = [kind.strip() for kind in options.kinds.split(",")]
    unknown = [kind for kind in kinds if kind not in DAMAGES]
    if unknown:
        parser.error(f"no damage '{unknown[0]}' (known: {', '.join(DAMAGES)})")
    print(f"{'damage':24} {'all':>5} {'check':>6} {'undet.':>6}  {'mean':>8} {'max sure':>8}   right  3 s.e. silent")
    everything = []
    with tempfile.TemporaryDirectory() as scratch:
        made = list(scenes(options, options.cache_dir or Path(scratch)))
        for kind in kinds:
            found = []
            for name, scene in made:
                for seed in range(max(options.seeds, 1)):
                    rig = part_of(scene, options.cameras or len(scene.cameras), seed)
                    found.append(measure(rig, kind, seed, name))
                    if options.every:
                        print(f"  {line(f'{name}, {seed}', found[-1:])}\n      {found[-1].words}", flush=True)
            print(line(kind, found), flush=True)
            everything += found
    print(line("all", everything))
    for one in everything:
        for camera in (one.wrong & one.beyond).nonzero()[:, 0].tolist():
            print(f"  {one.title}: {one.names[camera]} {one.error[camera]:+.3f} +- {one.stderr[camera]:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
