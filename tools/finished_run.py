"""A finished run, loaded again, and how long it takes to render."""

import time
from dataclasses import dataclass
from pathlib import Path

from syncnerf.assembly import Assembly, assemble, open_scene
from syncnerf.config import Config
from syncnerf.evaluation.views import Shot, render_views
from syncnerf.options import parse
from syncnerf.processor import settle_processor
from syncnerf.training.checkpoints import choose_checkpoint, load_checkpoint
from syncnerf.training.trainer import restore_model


@dataclass(frozen=True)
class FinishedRun:
    """What a run's folder holds: its configuration, its scene, the field as it was at the end."""

    config: Config
    assembly: Assembly

    def seconds_per_frame(self, frames: list[int], at_once: int | None = None) -> float:
        """Seconds for one frame of the first test camera (a second round counts).

        Args:
            frames: which.
            at_once: how many are asked for together; None for as many as the backend likes.
        """
        scene, synced = self.assembly.scene, self.assembly.synced
        shot = Shot.of_camera(scene, scene.test[0], frames)
        liked, taken = synced.backend.times_at_once, 0.0
        synced.backend.times_at_once = at_once or liked
        for _ in range(2):
            start = time.perf_counter()
            for _ in render_views(synced, shot, progress=False):
                pass
            taken = time.perf_counter() - start
        synced.backend.times_at_once = liked
        return taken / len(frames)


def load_run(folder: Path) -> FinishedRun:
    """Load the newest checkpoint of a run's folder; raises UserError where there is none or the scene is gone."""
    settle_processor()
    config = parse(["--config", str(folder / "config.txt")])
    scene = open_scene(config.scene)
    scene.frame_cache.prepare(scene.cameras)
    checkpoint = choose_checkpoint("", folder / "checkpoints")
    stored = load_checkpoint(checkpoint, config.run.backend, scene.names)
    assembly = assemble(config, scene, stored)
    restore_model(assembly.synced, stored, checkpoint)
    return FinishedRun(config, assembly)
