"""What answering all frames of a pixel at once saves, and what the choice of dynamic samples saves, as JSON.

    python tools/measure_series.py runs/demo_mixvoxels

Takes the folder of a finished run of a time-series backend and renders the first test camera's frames: one at a time,
16 at a time, and all at once; then all at once with every sample sent through the dynamic field.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from finished_run import FinishedRun, load_run

from syncnerf.cli import report_user_errors
from syncnerf.errors import UserError
from syncnerf.questions import RayQuestion

FEW = 6
"""Frames that are rendered one at a time."""


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of a finished run")
    run = load_run(parser.parse_args().folder)
    spec, scene = run.job.spec, run.job.scene
    if spec.trains_on != "time_series":
        raise UserError(f"backend '{spec.name}' renders one moment at a time: there is nothing to compare")
    frames = list(range(scene.cameras[scene.test[0]].frame_count))
    alone = run.seconds_per_frame(frames[:: max(1, len(frames) // FEW)], 1)
    some = min(16, len(frames))
    together = run.seconds_per_frame(frames, len(frames))
    result = {
        "seconds_per_frame_alone": alone,
        f"seconds_per_frame_{some}_at_once": run.seconds_per_frame(frames, some),
        f"seconds_per_frame_{len(frames)}_at_once": together,
        "ratio": together / alone,
        "dynamic_share_of_samples": dynamic_share(run),
    }
    backend = run.synced.backend
    backend.config = replace(backend.config, ray_threshold=0.0, point_threshold=0.0)
    result["seconds_per_frame_without_selection"] = run.seconds_per_frame(frames, len(frames))
    result["dynamic_share_without_selection"] = dynamic_share(run)
    print(json.dumps(result, indent=1))
    return 0


@torch.no_grad()
def dynamic_share(run: FinishedRun) -> float:
    """Share of the first test camera's samples that the dynamic field answers for."""
    scene, device = run.job.scene, run.job.device
    rays = scene.cameras[scene.test[0]].all_rays(scene.near, scene.far).to(device)
    asked = total = 0
    for part in torch.arange(len(rays), device=device).split(4096):
        times = run.synced.clock.moments(torch.zeros(len(part), dtype=torch.float64, device=device))
        extras = run.synced.backend(RayQuestion(rays[part], times)).extras
        asked, total = asked + extras["dynamic_samples"], total + extras["samples"]
    return asked / total


if __name__ == "__main__":
    sys.exit(report_user_errors(main))
