"""Learning rates as a function of the step number, also where a training is given another length on the way."""

import math
from dataclasses import dataclass

from syncnerf.training.options import TrainingConfig

LEAST_TURN = 100
"""Steps, at least, over which the learning rate goes over from one course to another."""


@dataclass(frozen=True)
class Course:
    """The length of a training, which may have been changed on the way.

    Attributes:
        first: steps that it was begun with; all schedules but the learning rate's keep to these.
        steps: steps that it has now.
        since: step at which it was given these.
        factor: share of its height that the learning rate had there.
    """

    first: int
    steps: int
    since: int = 0
    factor: float = 0.0


def learning_rate_factor(config: TrainingConfig, step: int, course: Course | None = None) -> float:
    """Share of its height that every learning rate has at a step: linear warm-up, then cosine decay or constant.

    Where the length was changed, it goes over from where it was to its new course within as many steps as it warms up.
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
