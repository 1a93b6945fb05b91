"""`syncnerf train`: train, fit the test cameras, evaluate, render, report, in the order that the options ask for."""

from __future__ import annotations

import logging

from syncnerf.assembly import assemble
from syncnerf.combinations import warn_of_idle
from syncnerf.config import Config
from syncnerf.estimates import write_estimates
from syncnerf.evaluation.evaluate import write_metrics
from syncnerf.evaluation.render_videos import render_paths, render_test_videos
from syncnerf.evaluation.report import write_report
from syncnerf.job import Job, trains
from syncnerf.options import write_config
from syncnerf.run_folder import held_folder
from syncnerf.scene.remarks import remarks
from syncnerf.scoring import recalled, score
from syncnerf.summary import result_table
from syncnerf.synced import SyncedBackend
from syncnerf.train import train
from syncnerf.training.ranks import environment_ranks, leave
from syncnerf.training.trainer import restore_model

logger = logging.getLogger(__name__)


def run(config: Config) -> int:
    """Carry out ``syncnerf train``; returns the exit code.

    Of several processes that ``torchrun`` started, all train and the first alone does everything else.

    Raises:
        UserError: something of the user's is unfit; nothing half-written is left behind.
    """
    writes = environment_ranks().writes
    if not writes and (config.run.dry_run or not trains(config)):
        return 0
    job = Job.of(config)
    if writes:
        warn_of_idle(config)
    if config.run.dry_run:
        print("\n".join([write_config(config), job.scene.summary(), *remarks(job.scene)]))
        return 0
    job = job.begun()
    job.scene.frame_cache.prepare(job.scene.cameras)
    job.check_scene()
    if not writes:
        leave(_exit_code(train(job).stopped_by))
    with held_folder(job.folder):
        job.check_folder()
        if not job.trains:
            synced = assemble(job)
            step = restore_model(synced, job.checkpoint)
            if config.evaluation.render_only:
                _film(job, synced)
            else:
                _judge(job, synced, step)
            return 0
        training = train(job)
        write_estimates(job.folder / "offsets.json", training.synced.clock, job.scene, [])
        if training.stopped_by is not None:
            logger.warning("stopped at step %d and saved; continue with --resume", training.step)
        else:
            _judge(job, training.synced, training.step)
    return _exit_code(training.stopped_by)


def _judge(job: Job, synced: SyncedBackend, step: int) -> None:
    """Fit the test cameras and score them, film the scene after a training, and write what was found."""
    folder, scene = job.folder, job.scene
    scores = score(job, synced, step)
    write_metrics(folder / "metrics.json", scores.after or scores.before, scores.before if scores.after else None)
    if job.trains or scores.fits:
        write_estimates(folder / "offsets.json", synced.clock, scene, scores.fits)
    if job.trains:
        render_paths(synced, scene, folder / "renders", job.config.evaluation.render_frames)
    report = write_report(folder, scene)
    print(result_table(scene, synced.clock, scores.fits, scores.before, scores.after))
    print(f"report: {report}")


def _film(job: Job, synced: SyncedBackend) -> None:
    """Write the videos of the test cameras and of the camera paths, and nothing else."""
    renders, settings = job.folder / "renders", job.config.evaluation
    renders.mkdir(parents=True, exist_ok=True)
    recalled(job, synced)
    if job.config.held_out.test_optim:
        logger.info("nothing is fitted with --render-only; --validate-only fits, and films the test cameras too")
    render_test_videos(synced, job.scene, renders, settings.test_frames)
    render_paths(synced, job.scene, renders, settings.render_frames)
    print(f"videos: {renders}")


def _exit_code(stopped_by: int | None) -> int:
    return 0 if stopped_by is None else 128 + stopped_by
