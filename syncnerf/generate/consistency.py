"""Whether views are of one moving scene in space: a field trained on all but one of them has to show that one."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.functional import interpolate

from syncnerf.assembly import assemble, make_batches
from syncnerf.config import Config
from syncnerf.errors import UserError
from syncnerf.evaluation.evaluate import Scoring, evaluate
from syncnerf.evaluation.metrics import psnr
from syncnerf.evaluation.protocols import PROTOCOLS
from syncnerf.evaluation.shots import evaluated_frames
from syncnerf.generate.score import Score
from syncnerf.job import Job
from syncnerf.scene import Scene
from syncnerf.train import plan_of
from syncnerf.training.trainer import Trainer

LEAST_VIEWS = 6
"""Fewer views hardly determine a field, whatever they show."""
LABEL, UNIT = "4D consistency", "dB (PSNR of the view that was held out)"


def not_fitted() -> Score:
    """The score where no field was asked for."""
    return Score(LABEL, UNIT, None, reason="no field was trained; give its configuration with --fit")


def score_consistency(scene: Scene, config: Config, held_out: str = "", true_footage: Scene | None = None) -> Score:
    """PSNR of a view that a field, trained on all others with their clocks believed, renders.

    Fields of few views are poor by themselves, so the number means nothing alone. The ceiling is the same for true
    footage of a like rig, trained alike. The floor is what the nearest other view scores, shown in its place.

    Args:
        scene: the views.
        config: the field and its training; offsets are off whatever it says.
        held_out: name of the view to predict; the one in the middle if empty.
        true_footage: synchronous footage of a like rig, or None.

    Raises:
        UserError: there is no such view, or the configuration does not suit the scene.
    """
    if len(scene.cameras) < LEAST_VIEWS:
        return Score(LABEL, UNIT, None, reason=f"{len(scene.cameras)} views are too few, {LEAST_VIEWS} are needed")
    if held_out and held_out not in scene.names:
        raise UserError(f"held-out = {held_out}: no such view; the scene has {', '.join(scene.names)}")
    index = scene.index_of(held_out) if held_out else middle_view(scene)
    value, similarity = _fitted(scene, index, config)
    nearest = nearest_view(scene, index)
    ceiling, reason = None, "no true footage of a like rig was given with --true-footage"
    if true_footage is not None:
        if len(true_footage.cameras) < LEAST_VIEWS:
            reason = f"{true_footage.root.name}: has {len(true_footage.cameras)} views, {LEAST_VIEWS} are needed"
        else:
            ceiling, reason = _fitted(true_footage, middle_view(true_footage), config)[0], ""
    details = {"held_out": scene.names[index], "ssim": similarity, "steps": config.training.steps}
    return Score(LABEL, UNIT, value, _shown_instead(scene, index, nearest), ceiling, reason, details)


def middle_view(scene: Scene) -> int:
    """The view that stands nearest to all others, so that they surround it."""
    centres = torch.stack([camera.pose(0)[:3, 3] for camera in scene.cameras])
    return int(torch.cdist(centres, centres).sum(1).argmin())


def nearest_view(scene: Scene, index: int) -> int:
    """The other view whose place is nearest."""
    centres = torch.stack([camera.pose(0)[:3, 3] for camera in scene.cameras])
    distances = (centres - centres[index]).norm(dim=-1)
    distances[index] = torch.inf
    return int(distances.argmin())


def _fitted(scene: Scene, index: int, config: Config) -> tuple[float, float | None]:
    """PSNR and SSIM of a view after a training on the others; what it writes is thrown away."""
    scene = replace(scene, test=(index,), true_offsets=None, _frames={})
    config = replace(config, offsets=replace(config.offsets, offset_mode="off"))
    config = replace(config, training=replace(config.training, image_every=0, save_every=0))
    scene.frame_cache.prepare(scene.cameras)
    job = Job.of(config, scene)
    synced = assemble(job)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(synced, make_batches(job), replace(plan_of(job), folder=Path(folder)))
        if trainer.fit() is not None:
            raise KeyboardInterrupt
    scoring = Scoring(PROTOCOLS["full"].without_fit(), config.evaluation.test_frames, trainer.step)
    evaluation = evaluate(synced, scene, scoring)
    return evaluation.mean["psnr"], evaluation.mean["ssim"]


def _shown_instead(scene: Scene, index: int, other: int) -> float:
    """Mean PSNR of another view's frames in the place of a view's."""
    count = min(scene.cameras[view].frame_count for view in (index, other))
    size = scene.cameras[index].intrinsics
    values = []
    for frame in evaluated_frames(count, 16):
        pair = [torch.from_numpy(scene.frames(view)[frame].copy()).float() / 255 for view in (index, other)]
        if pair[0].shape != pair[1].shape:
            shown = pair[1].permute(2, 0, 1)[None]
            pair[1] = interpolate(shown, (size.height, size.width), mode="area")[0].permute(1, 2, 0)
        values.append(psnr(*pair))
    return statistics.mean(values)
