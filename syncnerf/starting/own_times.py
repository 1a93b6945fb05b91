"""Where moments of the scene lie on the cameras' own clocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from jaxtyping import Float64
from torch import Tensor

from syncnerf.camera_times import CameraTimes

Seconds = TypeVar("Seconds", float, Tensor)


@dataclass(frozen=True)
class OwnTimes:
    """A clock as it stands, read backwards: called as ``own_times(camera, moments)``.

    Attributes:
        offsets: what is added to a camera's own time, seconds, float64, shape [C].
        rates: how much faster than the scene's each camera's clock runs, float64, shape [C].
    """

    offsets: Float64[Tensor, " C"]
    rates: Float64[Tensor, " C"]

    @classmethod
    def of(cls, clock: CameraTimes) -> OwnTimes:
        """What a clock knows by now."""
        return cls(clock.offsets().detach().cpu(), clock.rates().detach().cpu())

    def __call__(self, camera: int, moments: Seconds) -> Seconds:
        """Seconds on a camera's own clock at moments of the scene, seconds."""
        return (moments - float(self.offsets[camera])) / (1.0 + float(self.rates[camera]))
