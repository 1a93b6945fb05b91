"""What a training is: how long and how, where it is kept, what its checkpoints are known by, whom it calls."""

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
    """A training that is to be.

    Attributes:
        config: steps, rates, rhythm of logs and checkpoints.
        folder: the run's folder.
        backend_name: of the field, for checkpoints.
        names: the cameras in order.
        frame_interval: seconds per frame, for the curves.
        course: length of the training; the configuration's steps, unless it was changed on the way.
        about: what else a checkpoint should hold.
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
        """The course, whether or not it was given."""
        return self.course or Course(self.config.steps, self.config.steps)


@dataclass(frozen=True)
class Callbacks:
    """What a training calls on its way.

    Attributes:
        reckoner: weighs what was known of the clock where it is time for it, told how many steps are done, and says
            whether it changed the clock; None for nothing to reckon.
        preview: makes pictures for TensorBoard, by name; None for none.
    """

    reckoner: Callable[[int], bool] | None = None
    preview: Callable[[], dict[str, Float[Tensor, "_ _ 3"]]] | None = None
