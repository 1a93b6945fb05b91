"""How far the test-time fit can be believed on fields that were stopped early, as a Markdown table.

    python tools/measure_fits.py [SCENE ...] [--spheres 4] [--configs FILE ...] [--steps 50 150 400] [-- OPTION ...]

Trains each configuration on each scene with several of its cameras left out, and fits each of these after every number
of steps. Scenes are folders that state their true offsets, and small ones of moving spheres, each of its own motion,
looks and random offsets. The trained cameras' clocks are held at the truth, so that the errors are the fit's own and
the whole range is searched; ``--init sync`` or ``zero`` trains as users do, and errors are then after gauge alignment.
Options after ``--`` are those of ``syncnerf train``, for every training.

``told``: fits that gave an offset; ``within 3``: share of these within three stated errors; ``median``, ``worst``: of
their errors in frames; ``largest``: of their errors in stated ones; ``kept back``: fits that gave none though the best
candidate of the search was within a frame of the truth. ``--every`` prints each fit, with its reason.
"""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from argument_types import split_at_dashes
from moving_spheres import Arc, Spheres, sphere_scene

from syncnerf.assembly import assemble, make_batches
from syncnerf.cli import report_user_errors
from syncnerf.evaluation.offset_errors import aligned_errors
from syncnerf.evaluation.protocols import FULL
from syncnerf.held_out import HeldOutOptimizer
from syncnerf.job import Job, open_scene
from syncnerf.options import parse
from syncnerf.processor import settle_processor
from syncnerf.reckoning import Reckoner
from syncnerf.scene import Scene
from syncnerf.train import plan_of
from syncnerf.training.plan import Callbacks
from syncnerf.training.trainer import Trainer

CONFIGS = tuple(f"configs/{backend}/demo.txt" for backend in ("kplanes", "mixvoxels", "gaussians"))
CLOSE = 1.0
"""Frames from the truth at which the best candidate of a search has found the right valley."""


@dataclass(frozen=True)
class Judged:
    """A fit beside the truth: offset found and its error in frames, stated error in frames, and what the search saw.

    Attributes:
        camera: name.
        error: frames; of the best candidate where no offset was given.
        stated: standard error in frames; infinite where no offset was given.
        depth: smallest mean squared error of the search, as a share of its median.
        reason: why no offset was given.
    """

    camera: str
    error: float
    stated: float
    depth: float
    reason: str

    @property
    def told(self) -> bool:
        """Whether an offset was given."""
        return not self.reason

    @property
    def ratio(self) -> float:
        """The error in stated ones."""
        return abs(self.error) / max(self.stated, 1e-9)

    def __str__(self) -> str:
        found = f"{self.error:+.3f} +- {self.stated:.3f} frames" if self.told else f"({self.error:+.1f}) {self.reason}"
        return f"    {self.camera}: {found}; depth {self.depth:.2f}"


def scenes(own: argparse.Namespace, options: list[str], scratch: Path) -> Iterator[tuple[str, Scene]]:
    """The scenes with the names of their rows; some of their cameras, evenly spread, are left out."""
    for folder in own.scenes:
        scene = open_scene(parse(["--datadir", str(folder), *options]).scene)
        yield folder.name, with_left_out(scene, own.cameras)
    for seed in range(own.spheres):
        generator = np.random.default_rng(seed)
        offsets = generator.normal(0, 4, 10 + own.cameras) / 30
        scene = sphere_scene(
            scratch / f"spheres{seed}",
            offsets.tolist(),
            size=(64, 64),
            arc=Arc(300.0),
            spheres=Spheres(4, 10 + seed, 0.35),
        )
        scene.background = (1.0, 1.0, 1.0)
        yield "spheres", with_left_out(scene, own.cameras)


def with_left_out(scene: Scene, cameras: int) -> Scene:
    """The scene with some of its cameras, evenly spread, for test cameras."""
    count = len(scene.cameras)
    return replace(scene, test=tuple(index * count // cameras for index in range(cameras)))


def make_trainer(scene: Scene, config: str, init: str, options: list[str], scratch: Path) -> tuple[Trainer, Job]:
    """A trainer and its job; raises UserError."""
    if init == "truth":
        truth = dict(zip(scene.names, scene.true_offsets.tolist(), strict=True))
        known = scratch / "truth.json"
        known.write_text(json.dumps({"seconds": truth}))
        start = [f"--offset-init={known}", "--offset-freeze=0"]
    else:
        start = [f"--offset-init={init}"]
    job = Job.of(parse(["--config", config, *start, *options]), scene)
    scene.frame_cache.prepare(scene.cameras)
    synced, batches = assemble(job), make_batches(job)
    reckoner = Reckoner(synced, scene, batches, job.course.steps)
    return Trainer(synced, batches, plan_of(job), Callbacks(reckoner)), job


def judged(optimizer: HeldOutOptimizer, scene: Scene, camera: int) -> Judged:
    """Fit a camera, and compare."""
    clock, size = optimizer.synced.clock, scene.cameras[camera].intrinsics
    fit = optimizer.fit(camera, FULL.fit_mask(size.height, size.width))
    errors = fit.errors.nan_to_num(torch.inf)
    offsets = clock.offsets().detach().cpu().clone()
    if fit.reason:
        offsets[camera] = fit.grid[errors.argmin()]
    error = float(aligned_errors(offsets, scene)[0][camera]) / scene.frame_interval
    depth = float(errors.min() / fit.errors.nanmedian())
    return Judged(scene.names[camera], error, fit.stderr / scene.frame_interval, depth, fit.reason)


def measure(trainer: Trainer, job: Job, stops: list[int]) -> Iterator[tuple[int, list[Judged]]]:
    """Train, and fit every test camera after each number of steps."""
    synced, scene = trainer.synced, job.scene
    try:
        for stop in stops:
            synced.train()
            while trainer.step < stop:
                trainer.train_step()
            synced.eval()
            synced.before_step(stop - 1)
            optimizer = HeldOutOptimizer(synced, scene, job.config.held_out, job.config.training.seed)
            yield stop, [judged(optimizer, scene, camera) for camera in scene.test]
    finally:
        trainer.supply.close()


def row(name: str, fits: list[Judged]) -> str:
    """One row of the table."""
    told = [fit for fit in fits if fit.told]
    cells = [name, f"{len(told)} of {len(fits)}"]
    if told:
        errors = torch.tensor([abs(fit.error) for fit in told])
        ratios = torch.tensor([fit.ratio for fit in told])
        cells += [f"{(ratios <= 3).float().mean():.0%}", f"{errors.quantile(0.5):.3f}", f"{errors.max():.3f}"]
        cells.append(f"{ratios.max():.1f}")
    else:
        cells += [""] * 4
    cells.append(str(sum(abs(fit.error) <= CLOSE for fit in fits if not fit.told)))
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    """Measure and print; returns the exit code."""
    arguments, options = split_at_dashes(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="*", metavar="SCENE", help="folder with offsets.json")
    parser.add_argument("--spheres", type=int, default=0, help="scenes of moving spheres to render (default: none)")
    parser.add_argument("--configs", nargs="+", default=CONFIGS, metavar="FILE", help="configurations of the trainings")
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 150, 400, 1000])
    parser.add_argument("--cameras", type=int, default=4, help="cameras that are left out (default: 4)")
    parser.add_argument("--init", default="truth", choices=("truth", "sync", "zero"), help="of the trained clocks")
    parser.add_argument("--every", action="store_true", help="print each fit")
    own = parser.parse_args(arguments)
    settle_processor()
    rows: dict[str, list[Judged]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        for name, scene in scenes(own, options, Path(scratch)):
            for config in own.configs:
                trainer, job = make_trainer(scene, config, own.init, options, Path(scratch))
                for stop, fits in measure(trainer, job, sorted(own.steps)):
                    key = f"{job.spec.name}, {name}, {stop}"
                    rows[key] += fits
                    if own.every:
                        print(f"{key} ({scene.frame_cache.directory.name})", *fits, sep="\n", flush=True)
    rows["all"] = [fit for fits in rows.values() for fit in fits]
    print("| field, scene, steps | told | within 3 | median | worst | largest | kept back |\n" + "|---" * 7 + "|")
    print(*(row(name, fits) for name, fits in rows.items()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(report_user_errors(main))
