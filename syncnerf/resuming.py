"""A configuration that meets a checkpoint: what is taken from it, what may change, and what is refused."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from syncnerf.config import Config
from syncnerf.errors import UserError
from syncnerf.option import configured, option_values
from syncnerf.training.checkpoints import Checkpoint
from syncnerf.training.schedule import Course, learning_rate_factor

logger = logging.getLogger(__name__)

CHANGEABLE = ("training", "sampling", "offsets", "colours")
"""Concerns whose options may be changed when a training goes on; every change is told."""
OF_SCENE = ("downsample",)
"""Options of the scene of which that holds too; the others' effects are compared themselves."""
BEGUN_WITH = {
    "offsets": ("offset_mode", "offset_rates", "rolling_shutter", "offset_init"),
    "colours": ("camera_colours",),
}
"""By concern, options that decide what is learned beside the field; they stay as they were begun."""
START = "offset_init"
"""The one of these that a checkpoint has made meaningless; the file that it names may be gone."""
OF_NO_CONSEQUENCE = {"device", "engine", "compile", "cuda_graphs", "prefetch", "log_every", "save_every", "image_every"}
OF_NO_CONSEQUENCE |= {"steps"}
"""Options that change nothing of the result, and the number of steps, which has a word of its own."""


def stored_options(config: Config) -> dict[str, Any]:
    """What a checkpoint keeps of the configuration."""
    concerns = {name: option_values(getattr(config, name)) for name in CHANGEABLE}
    scene = {name: getattr(config.scene, name) for name in OF_SCENE}
    return {"backend_options": option_values(config.backend_options), **concerns, "scene": scene}


def settled(config: Config, checkpoint: Checkpoint, trains: bool) -> tuple[Config, Course]:
    """The configuration with which a checkpoint is used, and the course of its training.

    A field is what it was trained as: its options are the checkpoint's, and so is what is learned beside it. To
    evaluate or render, other ones that were given are left out, which is said; a training that goes on refuses them,
    and a number of steps other than before unless ``extend`` asks for it.

    Args:
        config: what was asked for.
        checkpoint: the checkpoint.
        trains: whether the training goes on.

    Raises:
        UserError: the training cannot go on like this.
    """
    path, stored = checkpoint.path, checkpoint.record
    origin = f"{path}: was written by another version of syncnerf ({checkpoint.version})"
    if lacking := {"scene", "options", "course"} - stored.keys():
        raise UserError(f"{origin}, without {', '.join(sorted(lacking))}; use that one, or train again")
    # Earlier versions called them the field's.
    key = "backend_options" if "backend_options" in stored["options"] else "field"
    asked, options = option_values(config.backend_options), stored["options"][key]
    if options.keys() != asked.keys():
        raise UserError(f"{origin}, whose backend had other options; use that one, or train again")
    _compare(asked, options, path, trains)
    concerns = {}
    for concern, names in BEGUN_WITH.items():
        own = getattr(config, concern)
        begun = {name: stored["options"].get(concern, {}).get(name, getattr(own, name)) for name in names}
        _compare(option_values(own), begun, path, trains)
        concerns[concern] = replace(own, **begun)
    course = Course(**stored["course"])
    if trains:
        course = _continued(config, course, stored["step"], path)
    training = replace(config.training, steps=course.first)
    field = configured(type(config.backend_options), options)
    return replace(config, backend_options=field, training=training, **concerns), course


def _compare(asked: dict[str, Any], begun: dict[str, Any], path: Path, trains: bool) -> None:
    """Say, or refuse where the training goes on, that something else was asked for than it was begun with."""
    for name, value in begun.items():
        if asked[name] == value:
            continue
        change = f"{name} = {value} instead of {asked[name]}"
        if name == START:
            if trains:
                logger.warning("the training was begun with %s, and goes on from its checkpoint", change)
        elif trains:
            raise UserError(f"{path}: was begun with {change}; leave it at that, or begin anew with --expname")
        else:
            logger.warning("the checkpoint's own option is taken: %s", change)


def changes(config: Config, stored: dict[str, Any]) -> list[str]:
    """Options that a training goes on with otherwise than it was begun, one line each."""
    lines = []
    options = stored_options(config)
    for concern in (*CHANGEABLE, "scene"):
        for name, value in options[concern].items():
            # An earlier version's checkpoint does not have all of them.
            before = stored["options"].get(concern, {}).get(name, value)
            if name not in OF_NO_CONSEQUENCE and value != before:
                lines.append(f"from step {stored['step']} on: {name} = {value} instead of {before}")
    return lines


def _continued(config: Config, course: Course, done: int, path: Path) -> Course:
    """The course from here on."""
    wanted = config.training.steps
    if wanted == course.steps:
        return course
    if wanted <= done:
        raise UserError(f"{path}: has {done} steps behind it already, and --steps is {wanted}; give more, or none")
    if not config.run.extend:
        raise UserError(
            f"{path}: was begun for {course.steps} steps, and --steps is {wanted}: the learning rate would jump; go on "
            f"with --steps {course.steps}, or change its length with --extend"
        )
    return Course(course.first, wanted, done, learning_rate_factor(config.training, done, course))
