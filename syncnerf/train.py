"""The training of a run: begun or gone on with, its configuration written, its previews made."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.assembly import assemble, make_batches
from syncnerf.atomic import write_text
from syncnerf.evaluation.pictures import depth_picture, error_picture
from syncnerf.evaluation.shots import Shot, render_shot
from syncnerf.job import Job
from syncnerf.options import write_config
from syncnerf.provenance import scene_facts
from syncnerf.reckoning import Reckoner
from syncnerf.resuming import changes, stored_options
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend
from syncnerf.training.checkpoints import taking_over
from syncnerf.training.plan import Callbacks, Plan
from syncnerf.training.ranks import join_ranks
from syncnerf.training.trainer import Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """A training that has ended.

    Attributes:
        synced: clock and field.
        step: finished steps.
        stopped_by: the number of the signal that stopped it early, or None.
    """

    synced: SyncedBackend
    step: int
    stopped_by: int | None


def train(job: Job) -> Training:
    """Train as one of all processes that ``torchrun`` started, or alone, and leave a checkpoint.

    Raises:
        UserError: it cannot be begun, or gone on with, as it is asked for.
    """
    notes = _notes(job)
    with join_ranks(job.device) as ranks:
        synced, batches = assemble(job), make_batches(job)
        steps, seed = job.course.steps, job.config.training.seed
        reckoner = Reckoner(synced, job.scene, batches, steps, seed, job.config.held_out)
        fitted = job.config.held_out.test_optim
        callbacks = Callbacks(reckoner, preview=lambda: preview(synced, job.scene, fitted))
        trainer = Trainer(synced, batches, replace(plan_of(job), ranks=ranks), callbacks)
        if job.checkpoint is not None:
            trainer.restore(job.checkpoint)
        # Only now: what is refused above leaves the run's own words as they are.
        effective = replace(job.config, training=replace(job.config.training, steps=job.course.steps))
        text = write_config(effective) + "".join(f"# {note}\n" for note in notes)
        with _described(job.folder / "config.txt", text, trainer) if ranks.writes else nullcontext():
            stopped_by = trainer.fit()
        return Training(synced, trainer.step, stopped_by)


def plan_of(job: Job) -> Plan:
    """The plan of a job's training; its checkpoints know the scene and the options."""
    scene, facts = job.scene, {**scene_facts(job.scene), "novelty": job.novelty}
    about = {"scene": facts, "options": stored_options(job.config)}
    return Plan(
        job.config.training, job.folder, job.spec.name, scene.names, scene.frame_interval, job.course, about
    )


@contextmanager
def _described(path: Path, text: str, trainer: Trainer) -> Iterator[None]:
    """Write a run's configuration; what it was before comes back where not one step is taken."""
    before, step = path.read_bytes() if path.is_file() else None, trainer.step
    write_text(path, text, "free some space")
    try:
        yield
    except BaseException:
        if before is not None and trainer.step == step:
            path.write_bytes(before)
        raise


def _notes(job: Job) -> list[str]:
    """What was changed on the way, of this and of earlier continuations, for the run's configuration."""
    if job.checkpoint is None:
        return []
    path, stored = job.folder / "config.txt", job.checkpoint.record
    earlier = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    notes = [line.removeprefix("# ") for line in earlier if line.startswith("# from step ")]
    with taking_over(job.checkpoint):
        fresh = changes(job.config, stored)
    if job.course.steps != stored["course"]["steps"]:
        fresh.append(
            f"from step {stored['step']} on: steps = {job.course.steps} instead of {stored['course']['steps']}"
        )
    for line in fresh:
        logger.warning("the training goes on otherwise than it was begun: %s", line)
    return notes + fresh


def preview(synced: SyncedBackend, scene: Scene, fitted: bool) -> dict[str, Float[Tensor, "_ _ 3"]]:
    """Truth, rendering, error and depth of the first test camera's middle frame, for TensorBoard.

    It shows the moment that the run will be scored at: about what is known of that camera's offset where it will be
    fitted, 0 where it will not be.

    Args:
        synced: clock and field.
        scene: cameras and frames.
        fitted: whether test cameras are fitted before they are scored.

    Returns:
        Pictures by name, float32, shape [H, W, 3].
    """
    index = scene.test[0]
    frame = scene.cameras[index].frame_count // 2
    shot = replace(Shot.of_camera(scene, index, [frame], "preview", fitted), detailed=frozenset([frame]))
    (view,) = render_shot(synced, shot)
    truth = torch.from_numpy(scene.frames(index)[frame].copy()).float() / 255.0
    return {
        "test_view/truth": truth,
        "test_view/rendering": view.rgb,
        "test_view/error": error_picture(view.rgb, truth),
        "test_view/depth": depth_picture(view),
    }
