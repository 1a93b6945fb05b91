"""What training makes of the cameras' clocks, on scenes of moving spheres with known truth, as a Markdown table.

    python tools/measure_clock.py [KIND ...] [--seeds 0 1] [--config FILE] [-- OPTION ...]

Kinds: ``plain``; ``zero`` (offsets learned from zero); ``late`` (half of the cameras half a video late); ``rates``
(clocks wrong by up to 300 parts per million over 20 seconds, learned); ``mixed`` (25 and 30 frames per second);
``shutter-ignored``, ``shutter-given`` and ``shutter-learned`` (15 ms of readout on half of the cameras). Every
training has the Gaussians' demo configuration, which is the quickest, or another; options after ``--`` are those of
``syncnerf train``. Errors are in frames after gauge alignment; for rates in parts per million, for readout times in
milliseconds. ``within 3``: share of the errors within three standard ones.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from argument_types import split_at_dashes
from moving_spheres import Arc, Clocks, Spheres, sphere_scene
from torch import Tensor

from syncnerf.assembly import assemble, make_batches
from syncnerf.evaluation.offset_errors import aligned_errors
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.processor import settle_processor
from syncnerf.reckoning import Reckoner
from syncnerf.scene import Scene
from syncnerf.train import plan_of
from syncnerf.training.plan import Callbacks
from syncnerf.training.trainer import Trainer

CONFIG = Path(__file__).parents[1] / "configs" / "gaussians" / "demo.txt"
QUIET = ("--image-every=0", "--save-every=0", "--device=cpu")
READOUT = 0.015
CAMERAS = 8


@dataclass(frozen=True)
class Kind:
    """A scene of spheres and how it is trained: arguments of :func:`sphere_scene`, options of the training."""

    options: tuple[str, ...] = ()
    scene: dict = field(default_factory=dict)
    late: bool = False
    rates: float = 0.0
    readout: float = 0.0
    hides_readout: bool = False


KINDS = {
    "plain": Kind(),
    "zero": Kind(("--offset-init=zero",)),
    "late": Kind(late=True),
    "rates": Kind(("--offset-rates=learn",), {"frames": 600}, rates=300e-6),
    "mixed": Kind(scene={"fps": [25.0, 30.0] * (CAMERAS // 2), "frames": [50, 60] * (CAMERAS // 2)}),
    "shutter-ignored": Kind(readout=READOUT, hides_readout=True),
    "shutter-given": Kind(readout=READOUT),
    "shutter-learned": Kind(("--rolling-shutter=learn",), readout=READOUT, hides_readout=True),
}


def make_scene(kind: Kind, seed: int, folder: Path) -> tuple[Scene, np.ndarray]:
    """The scene of a kind, and its cameras' true clock rates."""
    generator = np.random.default_rng(seed)
    offsets = generator.normal(0, 5, CAMERAS) / 30
    if kind.late:
        offsets[1::2] += 1.0
    rates = generator.uniform(-kind.rates, kind.rates, CAMERAS)
    settings = {"frames": 60, "spheres": Spheres(seed=seed + 1, pace=0.7), "arc": Arc(300.0)} | kind.scene
    row_times = [kind.readout * (index % 2) for index in range(CAMERAS)]
    scene = sphere_scene(folder, offsets.tolist(), clocks=Clocks(rates.tolist(), row_times), **settings)
    scene.frame_cache.prepare(scene.cameras)
    scene.background = (1.0, 1.0, 1.0)
    if kind.hides_readout:
        scene.cameras = tuple(replace(camera, row_time=0.0) for camera in scene.cameras)
    return scene, rates


def train(scene: Scene, options: list[str], folder: Path) -> tuple[Tensor, Trainer]:
    """Train on a scene; returns sync's offsets (the training's start), and the trainer."""
    folder.mkdir()
    job = Job.of(parse([*options, *QUIET]), scene)
    synced, batches = assemble(job), make_batches(job)
    start = synced.clock.offsets().detach().clone()
    reckoner = Reckoner(synced, scene, batches, job.course.steps)
    trainer = Trainer(synced, batches, replace(plan_of(job), folder=folder), Callbacks(reckoner))
    trainer.fit()
    return start, trainer


def measure(name: str, seed: int, options: list[str]) -> dict[str, float]:
    """Train one kind once and compare its clock with the truth."""
    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as folder:
        scene, rates = make_scene(kind, seed, Path(folder) / "frames")
        start, trainer = train(scene, [*kind.options, *options, f"--seed={seed}"], Path(folder) / "run")
        clock, training = trainer.synced.clock, list(scene.train)
        before, after = (aligned_errors(values, scene)[0][training] for values in (start, clock.offsets().detach()))
        claimed = clock.stderr()[training]
        relative = (clock.offsets().detach() - scene.true_offsets)[training]
        relative, known = relative - relative[0], claimed > 0
        row = {
            "sync": before.abs().mean().item() / scene.frame_interval,
            "joint": after.abs().mean().item() / scene.frame_interval,
            "worst": after.abs().max().item() / scene.frame_interval,
            "within 3": (relative[known].abs() < 3 * claimed[known]).double().mean().item(),
        }
        if kind.rates:
            truth = torch.from_numpy((1 + rates) / (1 + rates[scene.reference]) - 1)[training]
            row["rates"] = (clock.rates().detach()[training] - truth).abs().mean().item() * 1e6
        if "row_times" in clock.unknowns:
            truth = torch.tensor([kind.readout * (index % 2) for index in training])
            row["readout"] = (clock.row_times.detach()[training] - truth).abs().mean().item() * 1e3
    return row


def main() -> int:
    """Measure and print; returns the exit code."""
    arguments, options = split_at_dashes(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--config", type=Path, default=CONFIG, help="of every training")
    own = parser.parse_args(arguments)
    if unknown := set(own.kinds) - set(KINDS):
        parser.error(f"no kind '{unknown.pop()}' (known: {', '.join(KINDS)})")
    settle_processor()
    columns = ("sync", "joint", "worst", "within 3", "rates", "readout")
    print("| kind | seed | " + " | ".join(columns) + " |\n|---|---|" + "---|" * len(columns))
    for name in own.kinds or KINDS:
        for seed in own.seeds:
            row = measure(name, seed, [f"--config={own.config}", *options])
            print(f"| {name} | {seed} | " + " | ".join(f"{row[c]:.4g}" if c in row else "" for c in columns) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
