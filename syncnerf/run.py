"""`syncnerf train`: train, fit the test cameras, evaluate, render, report, in the order that the options ask for."""

from __future__ import annotations

import logging
import math
import os
import shutil
from pathlib import Path

import torch
from torch import Tensor

from syncnerf.assembly import Assembly, assemble, check_start, choose_device, make_sampler, open_scene
from syncnerf.clock import Clock
from syncnerf.config import Config
from syncnerf.encodings.engines import choose_engine
from syncnerf.errors import UserError
from syncnerf.evaluation.evaluate import Evaluation, evaluate, write_metrics
from syncnerf.evaluation.pictures import depth_picture, error_picture
from syncnerf.evaluation.protocols import PROTOCOLS
from syncnerf.evaluation.render_videos import render_paths, render_test_videos
from syncnerf.evaluation.report import write_report
from syncnerf.evaluation.views import at_own_clock, evaluation_mode, render_views
from syncnerf.held_out import HeldOutOptimizer, OffsetFit
from syncnerf.offsets_file import read_offsets, read_rates, write_offsets
from syncnerf.options import write_config
from syncnerf.reckoning import Reckoner
from syncnerf.scene.scene import Scene
from syncnerf.summary import result_table
from syncnerf.training.batches import BatchSampler
from syncnerf.training.checkpoints import choose_checkpoint, list_checkpoints, load_checkpoint
from syncnerf.training.ranks import Ranks, environment_ranks, join_ranks
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
    if config.run.dry_run:
        print(write_config(config) + "\n" + scene.summary())
        return 0
    folder = Path(config.run.logdir) / config.run.expname
    checkpoint = _checkpoint(config, folder)
    stored = None if checkpoint is None else load_checkpoint(checkpoint, config.run.backend, scene.names)
    scene.frame_cache.prepare(scene.cameras)
    if not _trains(config):
        assembly = assemble(config, scene, stored)
        _make_folder(folder)
        step = restore_model(assembly.synced, stored, checkpoint)
        return _finish(config, assembly, folder, step)
    with join_ranks(device) as ranks:
        assembly = assemble(config, scene, stored)
        sampler = make_sampler(config, assembly.spec, scene)
        if writes:
            _make_folder(folder)
            _write_text(folder / "config.txt", write_config(config))
        trainer = _trainer(config, assembly, sampler, folder, ranks)
        if checkpoint is not None:
            trainer.restore(checkpoint)
        stopped_by = trainer.fit()
    if writes:
        _write_offsets(folder, assembly, [])
    if stopped_by is not None:
        logger.warning("stopped at step %d and saved; continue with --resume", trainer.step)
        return 128 + stopped_by
    return _finish(config, assembly, folder, trainer.step) if writes else 0


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); choose another --logdir") from error


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


def _trainer(config: Config, assembly: Assembly, sampler: BatchSampler, folder: Path, ranks: Ranks) -> Trainer:
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
        preview=lambda: _preview(config, assembly),
        reckoner=Reckoner(
            assembly.synced, scene, sampler, config.training.steps, assembly.device, config.training.seed
        ),
        ranks=ranks,
    )


def _preview(config: Config, assembly: Assembly) -> dict[str, Tensor]:
    """Truth, rendering, error and depth of the first test camera's middle frame, for TensorBoard."""
    scene, index = assembly.scene, assembly.scene.test[0]
    camera = scene.cameras[index]
    frame = camera.frame_count // 2
    with evaluation_mode(assembly.synced):
        view = next(
            iter(
                render_views(
                    at_own_clock(assembly.synced, index), camera, [frame], camera.frame_times[[frame]], scene.near,
                    scene.far, chunk=config.evaluation.render_chunk, device=assembly.device, times_at_once=1,
                    description="preview",
                )
            )
        )  # fmt: skip
    truth = torch.from_numpy(scene.frames(index)[frame].copy()).float() / 255.0
    return {
        "test_view/truth": truth,
        "test_view/rendering": view.rgb,
        "test_view/error": error_picture(view.rgb, truth),
        "test_view/depth": depth_picture(view),
    }


def _finish(config: Config, assembly: Assembly, folder: Path, step: int) -> int:
    """Everything after training: fit, evaluate, render, report, as asked."""
    synced, scene, device = assembly.synced, assembly.scene, assembly.device
    renders = folder / "renders"
    renders.mkdir(parents=True, exist_ok=True)
    times_at_once = assembly.times_at_once
    settings = config.evaluation
    if settings.render_only:
        _recall_fits(assembly, folder)
        render_test_videos(synced, scene, renders, settings=settings, device=device, times_at_once=times_at_once)
        render_paths(synced, scene, renders, settings=settings, device=device)
        print(f"videos: {renders}")
        return 0
    before, after, fits = _score(config, assembly, renders, step, times_at_once)
    write_metrics(folder / "metrics.json", after or before, before if after else None)
    if _trains(config) or fits:
        _write_offsets(folder, assembly, fits)
    if _trains(config):
        render_paths(synced, scene, renders, settings=settings, device=device)
    report = write_report(folder, scene)
    print(result_table(scene, synced.clock.offsets().detach().cpu(), fits, before, after))
    print(f"report: {report}")
    return 0


def _score(
    config: Config, assembly: Assembly, renders: Path, step: int, times_at_once: int
) -> tuple[Evaluation, Evaluation | None, list[OffsetFit]]:
    """Scores without the test-time fit, and with it where it is asked for."""
    synced, scene, device = assembly.synced, assembly.scene, assembly.device
    fits_wanted = config.held_out.test_optim and synced.clock.learned
    if config.held_out.test_optim and not synced.clock.learned:
        logger.warning("--test-optim does nothing with --offset-mode off: there are no offsets to fit")
    protocol = PROTOCOLS[config.evaluation.protocol]
    shared = {"settings": config.evaluation, "step": step, "device": device, "times_at_once": times_at_once}
    before = evaluate(synced, scene, protocol.without_fit(), **shared, renders=None if fits_wanted else renders)
    if not fits_wanted:
        return before, None, []
    optimizer = HeldOutOptimizer(
        synced, scene, config.held_out, device, seed=config.training.seed, times_at_once=times_at_once
    )
    fits = []
    for index in scene.test:
        size = scene.cameras[index].intrinsics
        fits.append(optimizer.fit(index, protocol.fit_mask(size.height, size.width)))
    return before, evaluate(synced, scene, protocol, **shared, renders=renders), fits


def _write_offsets(folder: Path, assembly: Assembly, fits: list[OffsetFit]) -> None:
    """``offsets.json`` of the run: trained cameras, and the test cameras where they were fitted."""
    scene = assembly.scene
    clock = assembly.synced.clock
    offsets = clock.offsets().detach().cpu().clone()
    errors = clock.stderr().cpu().clone()
    errors[scene.reference] = 0.0
    offsets[list(scene.test)] = torch.nan
    for fit in fits:
        offsets[fit.camera], errors[fit.camera] = fit.seconds, fit.stderr
    reasons = {scene.names[i]: "a test camera; fit it with --test-optim" for i in scene.test}
    source = "test-optim" if fits else "joint"
    reference = scene.names[scene.reference]
    write_offsets(
        folder / "offsets.json", scene.names, reference, offsets, errors, source, reasons, _further(clock, scene)
    )


def _further(clock: Clock, scene: Scene) -> dict[str, dict[str, float]]:
    """By camera name what its clock has beside an offset: a rate in parts per million, a learned readout time."""
    columns = {}
    if clock.rates().detach().any():
        columns["rate_ppm"] = 1e6 * clock.rates().detach()
    if "skews" in clock.unknowns:
        columns["rate_ppm_stderr"] = 1e6 * clock.rates_stderr()
    if "row_times" in clock.unknowns:
        columns |= {"row_time": clock.row_times.detach(), "row_time_stderr": clock.readout_stderr}
    entries: dict[str, dict[str, float]] = {name: {} for name in scene.names}
    for key, values in columns.items():
        for index, value in enumerate(values.tolist()):
            if math.isfinite(value) and (index in scene.train or key == "rate_ppm"):
                entries[scene.names[index]][key] = value
    return entries


def _recall_fits(assembly: Assembly, folder: Path) -> None:
    """Test cameras' offsets from an earlier fit in the run's folder, so that rendering alone shows them in time."""
    path = folder / "offsets.json"
    if not path.exists() or not assembly.synced.clock.learned:
        return
    offsets, rates = read_offsets(path, assembly.scene.names), read_rates(path, assembly.scene.names)
    for index in assembly.scene.test:
        if not offsets[index].isnan():
            assembly.synced.clock.set_camera(index, offsets[index].item(), rates[index].item())


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    shutil.move(partial, path)
