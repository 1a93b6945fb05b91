"""What a run's test cameras say of it: scores without the test-time fit, and with it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from syncnerf.estimates import recall_estimates
from syncnerf.evaluation.evaluate import Evaluation, Scoring, evaluate
from syncnerf.evaluation.protocols import PROTOCOLS, Protocol
from syncnerf.held_out import HeldOutOptimizer
from syncnerf.job import Job
from syncnerf.offset_fit import OffsetFit
from syncnerf.synced import SyncedBackend

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """What was found of the test cameras.

    Attributes:
        before: scores with their offsets at 0.
        after: scores at their fitted offsets; None where nothing was fitted.
        fits: the fits, made now or by an earlier run.
    """

    before: Evaluation
    after: Evaluation | None
    fits: list[OffsetFit]


def score(job: Job, synced: SyncedBackend, step: int) -> Scores:
    """Score the test cameras, fitting them where that is asked for; pictures and videos go with the last score.

    Args:
        job: which protocol, which frames.
        synced: clock and field, schedules at ``step``; the fits are put into the clock.
        step: training step of the parameters, for the record.
    """
    config, renders = job.config, job.folder / "renders"
    renders.mkdir(parents=True, exist_ok=True)
    protocol, frames = PROTOCOLS[config.evaluation.protocol], config.evaluation.test_frames
    fits = [] if job.trains or config.held_out.test_optim else recalled(job, synced)
    wanted = config.held_out.test_optim and synced.clock.learned
    if config.held_out.test_optim and not synced.clock.learned:
        logger.warning("--test-optim does nothing with --offset-mode off: there are no offsets to fit")
    alone = not (wanted or fits)
    before = evaluate(synced, job.scene, Scoring(protocol.without_fit(), frames, step, renders if alone else None))
    if wanted:
        fits = _fits(job, synced, protocol)
    if alone:
        return Scores(before, None, [])
    after = evaluate(synced, job.scene, Scoring(protocol, frames, step, renders))
    return Scores(before, after, fits)


def _fits(job: Job, synced: SyncedBackend, protocol: Protocol) -> list[OffsetFit]:
    """Fit every test camera on the pixels that the protocol lets the fit see."""
    optimizer = HeldOutOptimizer(synced, job.scene, job.config.held_out, job.config.training.seed)
    fits = []
    for index in job.scene.test:
        size = job.scene.cameras[index].intrinsics
        fits.append(optimizer.fit(index, protocol.fit_mask(size.height, size.width)))
    return fits


def recalled(job: Job, synced: SyncedBackend) -> list[OffsetFit]:
    """The test cameras' fits of the run that the checkpoint belongs to, put into the clock."""
    return recall_estimates(_offsets_of(job.checkpoint.path, job.folder), synced.clock, job.scene)


def _offsets_of(checkpoint: Path, folder: Path) -> Path:
    """Where the run that a checkpoint belongs to keeps its estimates; the run's own folder where that is none."""
    for place in (checkpoint.parent.parent, folder):
        if (place / "offsets.json").exists():
            return place / "offsets.json"
    return folder / "offsets.json"
