"""A finished run, loaded again, and how long it takes to render."""

import time
from dataclasses import dataclass
from pathlib import Path

from syncnerf.assembly import assemble
from syncnerf.evaluation.shots import Shot, render_shot
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.processor import settle_processor
from syncnerf.synced import SyncedBackend
from syncnerf.training.checkpoints import choose_checkpoint
from syncnerf.training.trainer import restore_model


@dataclass(frozen=True)
class FinishedRun:
    """What a run's folder holds: what it was made with, and the field as it was at the end."""

    job: Job
    synced: SyncedBackend

    def seconds_per_frame(self, frames: list[int], at_once: int | None = None) -> float:
        """Seconds for one frame of the first test camera (a second round counts).

        Args:
            frames: which.
            at_once: how many are asked for together; None for as many as the backend likes.
        """
        scene, synced = self.job.scene, self.synced
        shot = Shot.of_camera(scene, scene.test[0], frames)
        liked, taken = synced.backend.times_at_once, 0.0
        synced.backend.times_at_once = at_once or liked
        for _ in range(2):
            start = time.perf_counter()
            for _ in render_shot(synced, shot, progress=False):
                pass
            taken = time.perf_counter() - start
        synced.backend.times_at_once = liked
        return taken / len(frames)


def load_run(folder: Path) -> FinishedRun:
    """Load the newest checkpoint of a run's folder; raises UserError where there is none or the scene is gone."""
    settle_processor()
    config = parse(["--config", str(folder / "config.txt"), "--validate-only"])
    job = Job.of(config)
    job.scene.frame_cache.prepare(job.scene.cameras)
    job = job.with_checkpoint(choose_checkpoint("", folder / "checkpoints"))
    job.check_scene()
    synced = assemble(job)
    restore_model(synced, job.checkpoint)
    return FinishedRun(job, synced)
