"""A finished run, loaded again, and how long it takes to render."""

import time
from dataclasses import dataclass
from pathlib import Path

from syncnerf.assembly import Assembly, assemble, open_scene
from syncnerf.config import Config
from syncnerf.evaluation.views import at_own_clock, evaluation_mode, render_views
from syncnerf.options import parse
from syncnerf.processor import settle_processor
from syncnerf.training.checkpoints import choose_checkpoint, load_checkpoint
from syncnerf.training.trainer import restore_model


@dataclass(frozen=True)
class FinishedRun:
    """What a run's folder holds: its configuration, its scene, the field as it was at the end."""

    config: Config
    assembly: Assembly

    def seconds_per_frame(self, frames: list[int], at_once: int) -> float:
        """Seconds for one frame of the first test camera, rendered ``at_once`` at a time (a second round counts)."""
        scene, synced = self.assembly.scene, self.assembly.synced
        camera = scene.cameras[scene.test[0]]
        taken = 0.0
        with evaluation_mode(synced):
            for _ in range(2):
                start = time.perf_counter()
                views = render_views(
                    at_own_clock(synced, scene.test[0]), camera, frames, camera.frame_times[frames], scene.near,
                    scene.far, chunk=self.config.evaluation.render_chunk, device=self.assembly.device,
                    times_at_once=at_once, description=None,
                )  # fmt: skip
                for _ in views:
                    pass
                taken = time.perf_counter() - start
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
