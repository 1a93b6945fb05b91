"""Scoring test cameras: every frame is rendered once, for its score, its picture and the video."""

from __future__ import annotations

import json
import logging
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from syncnerf.atomic import write_text
from syncnerf.evaluation.metrics import Lpips, dssim, mean_of, psnr, ssim
from syncnerf.evaluation.offset_errors import further_errors, offset_errors, without_offset
from syncnerf.evaluation.pictures import remove_pictures, write_pictures
from syncnerf.evaluation.protocols import Protocol
from syncnerf.evaluation.shots import Shot, evaluated_frames, own_pace, render_shot
from syncnerf.evaluation.videos import video_writer
from syncnerf.scene.scene import Scene
from syncnerf.seen import were_seen
from syncnerf.synced import SyncedBackend

logger = logging.getLogger(__name__)

PICTURED_FRAMES = 4


@dataclass(frozen=True)
class FrameScore:
    """Metrics of one frame of one camera; None where a metric could not be computed.

    ``psnr_colours`` is the PSNR in the camera's own colours, a gain and a bias per channel that the test-time fit has
    found; all other metrics are of the scene's colours as they are.
    ``seen``: whether any training camera saw its moment; a score at another one says nothing of the field.
    """

    camera: str
    frame: int
    seen: bool
    psnr: float
    ssim: float | None
    dssim: float | None
    lpips_alex: float | None
    lpips_vgg: float | None
    psnr_colours: float | None = None


METRICS = tuple(item.name for item in fields(FrameScore) if item.name not in ("camera", "frame", "seen"))


@dataclass(frozen=True)
class Evaluation:
    """Scores under one protocol.

    Attributes:
        protocol: which one.
        step: training step of the scored parameters.
        frames: score of each frame.
        mean: mean of each metric over the frames that were seen and where it is known; None if there is none.
        unseen: the same over frames at moments that no training camera saw, which count nowhere else.
        offsets: errors of the clock against ground truth (:mod:`syncnerf.evaluation.offset_errors`), or None.
        notes: by metric, the reason why it is missing.
    """

    protocol: Protocol
    step: int
    frames: list[FrameScore]
    mean: dict[str, float | None]
    unseen: dict[str, float | None]
    offsets: dict[str, Any] | None = None
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def unseen_count(self) -> int:
        """Number of scored frames at moments that no training camera saw."""
        return sum(not score.seen for score in self.frames)

    def to_dict(self) -> dict[str, Any]:
        """The layout of ``metrics.json``; ``offsets`` and ``notes`` only where there are any."""
        record = {
            "protocol": self.protocol.name,
            "scored": self.protocol.score_region,
            "step": self.step,
            "mean": self.mean,
            "frames": [asdict(score) for score in self.frames],
        }
        if self.unseen_count:
            record["unseen"] = {"frames": self.unseen_count, "mean": self.unseen}
        if self.offsets is not None:
            record["offsets"] = self.offsets
        if self.notes:
            record["notes"] = self.notes
        return record


@dataclass(frozen=True)
class Scoring:
    """What is scored, and what is left of it.

    Attributes:
        protocol: which pixels are scored.
        test_frames: how many evenly spaced frames of each test camera; 0 for all.
        step: training step of the parameters, for the record.
        renders: folder for ``test_<camera>.mp4`` and the pictures of some frames; None for none.
    """

    protocol: Protocol
    test_frames: int = 0
    step: int = 0
    renders: Path | None = None


def evaluate(synced: SyncedBackend, scene: Scene, scoring: Scoring) -> Evaluation:
    """Score the test cameras at their current offsets; under a protocol without a fit, at offset exactly 0.

    The caller has brought schedules to the step and fitted the offsets where the protocol asks for it. Training and
    eval modes are as before when it returns.

    Args:
        synced: the offsets and the field.
        scene: cameras and true frames.
        scoring: what is scored.
    """
    lpips, protocol = Lpips(synced.device), scoring.protocol
    judge = _Judge(synced, scene, scoring, lpips)
    scores = [score for index in scene.test for score in judge.camera(index)]
    offsets = synced.clock.offsets()
    wrong = offset_errors(offsets if protocol.fits else without_offset(offsets, scene.test), scene)
    return Evaluation(
        protocol=protocol,
        step=scoring.step,
        frames=scores,
        mean=_means([score for score in scores if score.seen]),
        unseen=_means([score for score in scores if not score.seen]),
        offsets=None if wrong is None else wrong | further_errors(synced.clock, scene),
        notes=lpips.missing,
    )


def write_metrics(path: Path, evaluation: Evaluation, before: Evaluation | None = None) -> None:
    """Write ``metrics.json`` whole or not at all; the score before the test-time fit goes under ``none``."""
    record = evaluation.to_dict()
    if before is not None:
        record["none"] = before.to_dict()
    write_text(path, json.dumps(record, indent=1, allow_nan=False) + "\n")


@dataclass(frozen=True)
class _Judge:
    """What every camera is scored with; see :func:`evaluate`."""

    synced: SyncedBackend
    scene: Scene
    scoring: Scoring
    lpips: Lpips

    def camera(self, index: int) -> list[FrameScore]:
        """Score one camera's frames and write its video and pictures on the way."""
        camera, protocol, renders = self.scene.cameras[index], self.scoring.protocol, self.scoring.renders
        frames = evaluated_frames(camera.frame_count, self.scoring.test_frames)
        name = f"evaluating {camera.name} ({protocol.name})"
        shot = Shot.of_camera(self.scene, index, frames, name, protocol.fits)
        seen = _seen(self.synced, self.scene, shot, protocol)
        video = nullcontext()
        if renders is not None:
            places = [(2 * i + 1) * len(frames) // (2 * PICTURED_FRAMES) for i in range(PICTURED_FRAMES)]
            shot = replace(shot, detailed=frozenset(frames[place] for place in places))
            remove_pictures(renders, camera.name)
            video = video_writer(renders / f"test_{camera.name}.mp4", own_pace(camera, frames))
        scores = []
        with video as writer:
            for place, picture in enumerate(render_shot(self.synced, shot)):
                frame = frames[place]
                truth = torch.from_numpy(self.scene.frames(index)[frame].copy()).float() / 255.0
                scores.append(FrameScore(camera.name, frame, seen[place], **self._metrics(index, picture.rgb, truth)))
                if renders is not None:
                    writer.write(picture.rgb)
                if frame in shot.detailed:
                    write_pictures(renders, camera.name, frame, picture, truth)
        return scores

    def _metrics(self, index: int, rgb: Tensor, truth: Tensor) -> dict[str, float | None]:
        """Metrics of a camera's picture against the frame that it should show, both [H, W, 3]."""
        protocol = self.scoring.protocol
        shown, expected = protocol.scored(rgb), protocol.scored(truth)
        similarity = ssim(shown, expected)
        values = {"psnr": psnr(shown, expected), "ssim": similarity, "dssim": dssim(similarity)}
        values |= self.lpips(shown, expected)
        colours = self.synced.colours
        if protocol.fits and colours.learned:
            own = colours.recorded(index, rgb.to(self.synced.device)).detach().cpu().clamp(0.0, 1.0)
            values["psnr_colours"] = psnr(protocol.scored(own), expected)
        return values


def _seen(synced: SyncedBackend, scene: Scene, shot: Shot, protocol: Protocol) -> list[bool]:
    """Of each frame of a shot whether a training camera saw its moment; says which were not."""
    times, clock = shot.times, synced.clock
    if shot.clock is not None:
        rate, offset = (values.detach().cpu()[shot.clock] for values in (clock.rates(), clock.offsets()))
        times = offset + (1.0 + rate) * times
    seen = were_seen(clock, scene, times)
    if not all(seen):
        apart = ", ".join(str(frame) for frame, fine in zip(shot.frames, seen, strict=True) if not fine)
        logger.warning(
            "%s: frames %s lie at moments that no training camera saw (protocol %s); they are scored apart",
            shot.camera.name, apart, protocol.name,
        )  # fmt: skip
    return seen


def _means(scores: list[FrameScore]) -> dict[str, float | None]:
    return {name: mean_of(getattr(score, name) for score in scores) for name in METRICS}
