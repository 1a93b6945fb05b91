"""Short trainings as the command assembles them, stopped where a test wants it, and checkpoints compared."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import torch

from syncnerf.assembly import assemble, make_batches
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.train import plan_of
from syncnerf.training.checkpoints import Checkpoint, load_checkpoint
from syncnerf.training.ranks import Ranks
from syncnerf.training.trainer import Trainer

STEPS = 14
"""Of a training, where nothing else is asked for."""


def make_trainer(
    arguments: list[str], folder, stored: Path | None = None, ranks: Ranks | None = None, **changes
) -> Trainer:
    """A trainer assembled as the command does it, for a checkpoint that will be restored if one is given."""
    overrides = {
        "steps": STEPS,
        "log-every": 3,
        "save-every": 4,
        "warmup-steps": 2,
        "offset-lr": 0.01,
        "image-every": 0,
    }
    config = parse([*arguments, *(f"--{key}={value}" for key, value in (overrides | changes).items())])
    job = Job.of(config)
    job = job if stored is None else replace(job, checkpoint=load_checkpoint(stored, job.spec.name, job.scene.names))
    folder.mkdir(parents=True, exist_ok=True)
    plan = replace(plan_of(job), folder=folder, about={}, ranks=ranks or Ranks())
    return Trainer(assemble(job), make_batches(job), plan)


def load(trainer: Trainer, path: Path) -> Checkpoint:
    """A checkpoint for a trainer, read as the command reads it."""
    return load_checkpoint(path, trainer.plan.backend_name, trainer.plan.names)


def assert_same(first, second, where: str = "") -> None:
    """Two checkpoints' contents, tensor by tensor and bit by bit."""
    assert type(first) is type(second), where
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for index, pair in enumerate(zip(first, second, strict=True)):
            assert_same(*pair, f"{where}/{index}")
    else:
        assert first == second, where


def stop_after(trainer: Trainer, steps: int, how=lambda: os.kill(os.getpid(), signal.SIGTERM)) -> None:
    """Have a signal arrive while a step is under way."""
    original = trainer.train_step

    def train_step():
        if trainer.step + 1 == steps:
            how()
        return original()

    trainer.train_step = train_step
