"""Options that cancel each other: refused before anything is read, with what to do instead, or reported."""

from __future__ import annotations

import logging

from syncnerf.backend import BackendSpec
from syncnerf.config import CONCERNS, Config, EvaluationConfig, OffsetsConfig, RunConfig
from syncnerf.errors import UserError
from syncnerf.option import idle_options, option_values
from syncnerf.sampling.options import SamplingConfig
from syncnerf.starting.options import StartConfig
from syncnerf.training.options import TrainingConfig

logger = logging.getLogger(__name__)

BATCHES = {"rays": "single rays", "time_series": "series of times", "views": "whole views"}
"""What is drawn, by what a backend trains on."""
OF_SOME_BATCHES = {
    "importance": ("rays",),
    "dynamic_share": ("rays", "time_series"),
    "empty_share": ("rays", "time_series"),
    "time_frames": ("time_series",),
    "time_sampling": ("time_series",),
    "view_side": ("views",),
}
"""Options that concern some kinds of batches only, with these kinds."""


def check_combinations(config: Config) -> None:
    """Raise UserError where an option that was given would do nothing, because of another one."""
    spec = config.spec
    for message in (
        _action(config.run, config.evaluation),
        _offsets(config.offsets),
        _sampling(config.sampling, spec),
        _precision(config.training, spec),
        _start(config.start, spec),
    ):
        if message:
            raise UserError(message)


def warn_of_idle(config: Config) -> None:
    """Say which options were given and do nothing, because of what another one chooses.

    They are not refused: a configuration may serve for several choices.
    """
    for concern in (*CONCERNS, "backend_options"):
        for cause, names in idle_options(getattr(config, concern)).items():
            logger.warning("%s: without effect, because of %s", ", ".join(names), cause)


def check_space(config: Config, space: str) -> None:
    """Raise UserError where the backend's options do not suit the space that a scene, or an option, asks for."""
    unfit = config.spec.unfit
    reason = "" if unfit is None else unfit(config.backend_options, space)
    if reason:
        raise UserError(reason)


def _precision(training: TrainingConfig, spec: BackendSpec) -> str:
    """Sixteen bits for a field without networks, whose places and times they would spoil."""
    if training.precision != "float32" and not spec.has_networks:
        return f"precision = {training.precision} is for networks, and {spec.name} has none: leave it out"
    return ""


def _action(run: RunConfig, evaluation: EvaluationConfig) -> str:
    """Of training, evaluating and rendering, one at a time."""
    asked = [name for name in ("validate_only", "render_only") if getattr(evaluation, name)]
    if len(asked) == 2:
        return "validate_only and render_only: one would be left out; give them in two runs"
    if run.extend and not run.resume:
        return "extend changes the length of a training that goes on; give --resume with it"
    if run.resume and (asked or run.ckpt):
        other = f"ckpt = {run.ckpt}" if run.ckpt else asked[0]
        return f"resume goes on training and {other} does not train: leave one out (resume takes the newest checkpoint)"
    return ""


def _offsets(offsets: OffsetsConfig) -> str:
    """Offsets that are off, or that could never move."""
    if offsets.offset_mode == "off" and offsets.offset_init not in ("auto", "zero"):
        return (
            f"offset_init = {offsets.offset_init} does nothing with offset_mode off; to hold these offsets, learn with "
            "offset_freeze 0"
        )
    for name in ("offset_start", "offset_refine_start"):
        start = getattr(offsets, name)
        if 0 < offsets.offset_freeze <= start:
            return (
                f"offset_freeze = {offsets.offset_freeze:g} comes before {name} = {start:g}: the offsets would never "
                "move; to hold them, give offset_freeze 0"
            )
    return ""


def _sampling(sampling: SamplingConfig, spec: BackendSpec) -> str:
    """What says how batches are drawn, of a kind that the backend does not train on."""
    for name, kinds in OF_SOME_BATCHES.items():
        value = getattr(sampling, name)
        if spec.trains_on not in kinds and value != getattr(SamplingConfig, name):
            wanted = " or ".join(BATCHES[kind] for kind in kinds)
            return (
                f"{name} = {value} is for backends that train on {wanted}; {spec.name} draws "
                f"{BATCHES[spec.trains_on]}: leave it out"
            )
    if sampling.time_sampling != "uniform" and not sampling.time_frames:
        return (
            f"time_sampling = {sampling.time_sampling} says how time_frames are chosen, and all are taken; give a "
            "number of them"
        )
    if sampling.importance != "changing" and sampling.dynamic_share == 0:
        return (
            f"importance = {sampling.importance} says how the dynamic share is drawn, and dynamic_share is 0; give one "
            "(N3V's is 1)"
        )
    return ""


def _start(start: StartConfig, spec: BackendSpec) -> str:
    """What a field starts from, of a backend that starts from nothing."""
    for name, value in option_values(start).items():
        if not spec.starts_from_points and value != getattr(StartConfig, name):
            return f"{name} = {value} is for backends that start from points; {spec.name} does not: leave it out"
    return ""
