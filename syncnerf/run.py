"""`syncnerf train`: train, fit the test cameras, evaluate, render, report, in the order that the options ask for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from syncnerf.assembly import Assembly, assemble, check_start, choose_device, make_sampler, open_scene
from syncnerf.atomic import write_text
from syncnerf.backend import find_backend
from syncnerf.combinations import check_space
from syncnerf.config import Config
from syncnerf.encodings.engines import choose_engine
from syncnerf.errors import UserError
from syncnerf.estimates import recall_estimates, write_estimates
from syncnerf.evaluation.evaluate import Evaluation, evaluate, write_metrics
from syncnerf.evaluation.pictures import depth_picture, error_picture
from syncnerf.evaluation.protocols import PROTOCOLS
from syncnerf.evaluation.render_videos import render_paths, render_test_videos
from syncnerf.evaluation.report import write_report
from syncnerf.evaluation.views import Shot, render_views
from syncnerf.held_out import HeldOutOptimizer, OffsetFit
from syncnerf.options import write_config
from syncnerf.provenance import check_scene, scene_facts
from syncnerf.reckoning import Reckoner
from syncnerf.resuming import changes, settled, stored_options
from syncnerf.run_folder import held_folder
from syncnerf.scene.remarks import warn_of_blind
from syncnerf.scene.scene import Scene
from syncnerf.summary import result_table
from syncnerf.training.batches import BatchSampler
from syncnerf.training.checkpoints import choose_checkpoint, list_checkpoints, load_checkpoint
from syncnerf.training.ranks import Ranks, environment_ranks, join_ranks
from syncnerf.training.schedule import Course
from syncnerf.training.trainer import Trainer, restore_model

logger = logging.getLogger(__name__)


def run(config: Config) -> int:
    """Carry out ``syncnerf train``; returns the exit code.

    Of several processes that ``torchrun`` started, all train and the first alone does everything else.

    Raises:
        UserError: something of the user's is unfit; nothing half-written is left behind.
    """
    writes = environment_ranks().writes
    if not writes and (config.run.dry_run or not _trains(config)):
        return 0
    scene = open_scene(config.scene)
    device = choose_device(config.training.device)
    choose_engine(config.training.engine, device)
    check_start(config)
    check_space(config, find_backend(config.run.backend), scene.space)
    warn_of_blind(scene)
    if config.run.dry_run:
        print(write_config(config) + "\n" + scene.summary())
        return 0
    folder = Path(config.run.logdir) / config.run.expname
    checkpoint = _checkpoint(config, folder)
    stored, course = None, None
    if checkpoint is not None:
        stored = load_checkpoint(checkpoint, config.run.backend, scene.names)
        config, course = settled(config, stored, checkpoint, _trains(config))
    scene.frame_cache.prepare(scene.cameras)
    if checkpoint is not None:
        check_scene(stored["scene"], scene, checkpoint)
    if not writes:
        stopped_by = _train(config, scene, device, folder, course, checkpoint, [])[0]
        return 0 if stopped_by is None else 128 + stopped_by
    with held_folder(folder):
        _checkpoint(config, folder)  # another run may have come and gone while this one was reading
        if not _trains(config):
            assembly = assemble(config, scene, stored)
            step = restore_model(assembly.synced, stored, checkpoint)
            return _finish(config, assembly, folder, step, checkpoint)
        notes = [] if stored is None else _notes(config, stored, course, folder)
        stopped_by, assembly, step = _train(config, scene, device, folder, course, checkpoint, notes)
        write_estimates(folder / "offsets.json", assembly.synced.clock, scene, [])
        if stopped_by is not None:
            logger.warning("stopped at step %d and saved; continue with --resume", step)
            return 128 + stopped_by
        return _finish(config, assembly, folder, step)


def _train(
    config: Config,
    scene: Scene,
    device: torch.device,
    folder: Path,
    course: Course | None,
    checkpoint: Path | None,
    notes: list[str],
) -> tuple[int | None, Assembly, int]:
    """Train as one of all processes; the signal that stopped it, what was trained, and the number of steps."""
    with join_ranks(device) as ranks:
        stored = None if checkpoint is None else load_checkpoint(checkpoint, config.run.backend, scene.names)
        assembly = assemble(config, scene, stored)
        course = course or Course(config.training.steps, config.training.steps)
        trainer = _trainer(config, assembly, make_sampler(config, assembly.spec, scene), folder, ranks, course)
        if checkpoint is not None:
            trainer.restore(checkpoint)
        # Only now: what is refused above leaves the run's own words as they are.
        effective = replace(config, training=replace(config.training, steps=course.steps))
        text = write_config(effective) + "".join(f"# {note}\n" for note in notes)
        with _described(folder / "config.txt", text, trainer) if ranks.writes else nullcontext():
            return trainer.fit(), assembly, trainer.step


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


def _notes(config: Config, stored: dict[str, Any], course: Course, folder: Path) -> list[str]:
    """What was changed on the way, of this and of earlier continuations, for the run's configuration."""
    path = folder / "config.txt"
    earlier = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    notes = [line.removeprefix("# ") for line in earlier if line.startswith("# from step ")]
    fresh = changes(config, stored)
    if course.steps != stored["course"]["steps"]:
        fresh.append(f"from step {stored['step']} on: steps = {course.steps} instead of {stored['course']['steps']}")
    for line in fresh:
        logger.warning("the training goes on otherwise than it was begun: %s", line)
    return notes + fresh


def _trains(config: Config) -> bool:
    return not (config.evaluation.validate_only or config.evaluation.render_only or config.run.ckpt)


def _checkpoint(config: Config, folder: Path) -> Path | None:
    """The checkpoint to start from; None for a fresh training."""
    existing = list_checkpoints(folder / "checkpoints")
    if _trains(config):
        if existing and not config.run.resume:
            raise UserError(f"{folder}: holds a run already; continue it with --resume or change --expname")
        if not existing:
            return None
    return choose_checkpoint(config.run.ckpt, folder / "checkpoints")


def _trainer(
    config: Config, assembly: Assembly, sampler: BatchSampler, folder: Path, ranks: Ranks, course: Course
) -> Trainer:
    scene = assembly.scene
    return Trainer(
        assembly.synced,
        sampler,
        config.training,
        folder,
        assembly.spec.name,
        scene.names,
        scene.frame_interval,
        assembly.device,
        preview=lambda: _preview(assembly),
        reckoner=Reckoner(assembly.synced, scene, sampler, course.steps, config.training.seed),
        ranks=ranks,
        course=course,
        about={"scene": scene_facts(scene), "options": stored_options(config)},
    )


def _preview(assembly: Assembly) -> dict[str, Tensor]:
    """Truth, rendering, error and depth of the first test camera's middle frame, for TensorBoard."""
    scene, index = assembly.scene, assembly.scene.test[0]
    frame = scene.cameras[index].frame_count // 2
    shot = replace(Shot.of_camera(scene, index, [frame], "preview"), detailed=frozenset([frame]))
    (view,) = render_views(assembly.synced, shot)
    truth = torch.from_numpy(scene.frames(index)[frame].copy()).float() / 255.0
    return {
        "test_view/truth": truth,
        "test_view/rendering": view.rgb,
        "test_view/error": error_picture(view.rgb, truth),
        "test_view/depth": depth_picture(view),
    }


def _finish(config: Config, assembly: Assembly, folder: Path, step: int, checkpoint: Path | None = None) -> int:
    """Everything after training, as asked: fit, evaluate, render, report; ``checkpoint`` where nothing was trained."""
    synced, scene, settings = assembly.synced, assembly.scene, config.evaluation
    renders = folder / "renders"
    renders.mkdir(parents=True, exist_ok=True)
    recalled = []
    if checkpoint is not None and (settings.render_only or not config.held_out.test_optim):
        recalled = recall_estimates(_offsets_of(checkpoint, folder), synced.clock, scene)
    if settings.render_only:
        render_test_videos(synced, scene, renders, settings.test_frames)
        render_paths(synced, scene, renders, settings.render_frames)
        print(f"videos: {renders}")
        return 0
    before, after, fits = _score(config, assembly, renders, step, recalled)
    write_metrics(folder / "metrics.json", after or before, before if after else None)
    if _trains(config) or fits:
        write_estimates(folder / "offsets.json", synced.clock, scene, fits)
    if _trains(config):
        render_paths(synced, scene, renders, settings.render_frames)
    report = write_report(folder, scene)
    print(result_table(scene, synced.clock.offsets().detach().cpu(), fits, before, after))
    print(f"report: {report}")
    return 0


def _score(
    config: Config, assembly: Assembly, renders: Path, step: int, recalled: list[OffsetFit]
) -> tuple[Evaluation, Evaluation | None, list[OffsetFit]]:
    """Scores without the test-time fit, and with it where it is asked for or was made before."""
    synced, scene = assembly.synced, assembly.scene
    fits_wanted = config.held_out.test_optim and synced.clock.learned
    if config.held_out.test_optim and not synced.clock.learned:
        logger.warning("--test-optim does nothing with --offset-mode off: there are no offsets to fit")
    protocol = PROTOCOLS[config.evaluation.protocol]
    shared = {"test_frames": config.evaluation.test_frames, "step": step}
    pictured = None if fits_wanted or recalled else renders
    before = evaluate(synced, scene, protocol.without_fit(), **shared, renders=pictured)
    if recalled:
        return before, evaluate(synced, scene, protocol, **shared, renders=renders), recalled
    if not fits_wanted:
        return before, None, []
    optimizer = HeldOutOptimizer(synced, scene, config.held_out, config.training.seed)
    fits = []
    for index in scene.test:
        size = scene.cameras[index].intrinsics
        fits.append(optimizer.fit(index, protocol.fit_mask(size.height, size.width)))
    return before, evaluate(synced, scene, protocol, **shared, renders=renders), fits


def _offsets_of(checkpoint: Path, folder: Path) -> Path:
    """Where the run that a checkpoint belongs to keeps its estimates; the run's own folder where that is none."""
    for place in (checkpoint.parent.parent, folder):
        if (place / "offsets.json").exists():
            return place / "offsets.json"
    return folder / "offsets.json"
