"""Learning rates as a function of the step number."""

import math

from syncnerf.config import TrainingConfig


def learning_rate_factor(config: TrainingConfig, step: int) -> float:
    """Share of its height that every learning rate has at a step: linear warm-up, then cosine decay or constant."""
    rise = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    if config.lr_schedule == "constant":
        return rise
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(step / max(config.steps, 1), 1.0)))
    return rise * (config.lr_final + (1.0 - config.lr_final) * cosine)
