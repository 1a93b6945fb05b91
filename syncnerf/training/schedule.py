"""Learning rates as a function of the step, also if a training's length is changed on the way (``--extend``)."""

import math
from dataclasses import dataclass

from syncnerf.training.options import TrainingConfig

LEAST_TURN = 100
"""Least number of steps over which the learning rate passes from the old schedule to the new one."""


@dataclass(frozen=True)
class Course:
    """The length of a training, which may have been changed on the way.

    Attributes:
        first: number of steps that it was begun with; all schedules but the learning rate's keep to it.
        steps: number of steps that it has now.
        since: step at which that was changed.
        factor: the learning rate at that step, as a share of its peak.
    """

    first: int
    steps: int
    since: int = 0
    factor: float = 0.0


def learning_rate_factor(config: TrainingConfig, step: int, course: Course | None = None) -> float:
    """Every learning rate at a step, as a share of its peak: linear warm-up, then cosine decay or constant.

    If the length was changed, the rate passes from where it was to its new schedule within as many steps as the warm-up
    takes.
    """
    rise = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    if config.lr_schedule == "constant":
        return rise
    steps = config.steps if course is None else course.steps
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(step / max(steps, 1), 1.0)))
    factor = rise * (config.lr_final + (1.0 - config.lr_final) * cosine)
    if course is None or not course.since:
        return factor
    turned = min(1.0, (step - course.since) / max(config.warmup_steps, LEAST_TURN))
    return turned * factor + (1.0 - turned) * course.factor
