"""What defines a training: its options, its folder, what identifies its checkpoints, and its callbacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from syncnerf.training.options import TrainingConfig
from syncnerf.training.ranks import Ranks
from syncnerf.training.schedule import Course


@dataclass(frozen=True)
class Plan:
    """Everything that is fixed before a training begins.

    Attributes:
        config: number of steps, learning rates, how often logs and checkpoints are written.
        folder: the run's folder.
        backend_name: the field's backend, which checkpoints must match.
        names: the cameras in order.
        frame_interval: seconds per frame, for the curves.
        course: length of the training, if it was changed on the way (``--extend``); None for the configuration's.
        about: further values that checkpoints should hold.
        ranks: this process among those that train together; alone by default.
    """

    config: TrainingConfig
    folder: Path
    backend_name: str
    names: list[str]
    frame_interval: float
    course: Course | None = None
    about: dict[str, Any] = field(default_factory=dict)
    ranks: Ranks = field(default_factory=Ranks)

    @property
    def length(self) -> Course:
        """The length of the training: ``course``, or the configuration's steps if that is None."""
        return self.course or Course(self.config.steps, self.config.steps)


@dataclass(frozen=True)
class Callbacks:
    """Functions that the training loop calls.

    Attributes:
        reckoner: called with the number of finished steps; from time to time it weighs what was known of the clock
            against the field, and returns whether it changed the clock. None if nothing was known.
        preview: makes pictures for TensorBoard, by name; None for none.
    """

    reckoner: Callable[[int], bool] | None = None
    preview: Callable[[], dict[str, Float[Tensor, "_ _ 3"]]] | None = None
