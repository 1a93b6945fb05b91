"""When each camera's frames were exposed, and where that lies in a field's time.

The shared embedding of Sync-NeRF (Kim et al., AAAI 2024, arXiv 2310.13356), with rates and rolling shutters.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn


@dataclass(frozen=True)
class ClockSpan:
    """The cameras' own times, and how finely they lie.

    Attributes:
        first: each camera's first frame on its own clock, seconds, float64, shape [C].
        last: its last frame.
        interval: seconds between frames, the median over cameras.
    """

    first: Float64[Tensor, " C"]
    last: Float64[Tensor, " C"]
    interval: float

    @property
    def longest(self) -> float:
        """Seconds of the longest video; one frame at least."""
        return max(float((self.last - self.first).max()), self.interval)


class CameraTimes(nn.Module):
    """Every camera's offset, rate and readout time; the one place where times are corrected.

    Scene time of camera c's frame at own time k and row y (from -1/2 at the image's top to 1/2 at its bottom) is
    ``(1 + rate_c) * (k + y * row_time_c) + offset_c`` seconds. A common shift and stretch of all cameras cannot be
    observed: scene time is the reference camera's own, whose offset and rate are exactly 0.

    What is kept is each camera's shift (at the middle of its video, where it has nothing to do with the rate) and
    skew (the share of the shift that its rate has made at the ends) against the field's own time, the reference's
    included. Cameras that are not trained hold an offset and rate against the reference, and stay there whatever the
    others do until :meth:`set_camera` moves them.

    A field is asked at a coordinate: [-1, 1] spans :attr:`range`. :meth:`overrun` tells what left it.

    Args:
        span: the cameras' own times; test cameras included, whose rows are their global indices.
        reference: global index of the camera whose clock is scene time.
        untrained: global indices of the test cameras.
        offsets: seconds against the reference, float64, shape [C].
        rates: how much faster than the reference's each clock runs, float64, shape [C].
        row_times: seconds from each camera's first to its last row, float64, shape [C].
        learned: which of ``shifts``, ``skews`` and ``row_times`` are parameters; the others are buffers.

    Attributes:
        range: first and last moment of the field's time, seconds, float64, shape [2].
    """

    def __init__(
        self,
        span: ClockSpan,
        reference: int,
        untrained: tuple[int, ...],
        offsets: Float64[Tensor, " C"],
        rates: Float64[Tensor, " C"],
        row_times: Float64[Tensor, " C"],
        learned: Collection[str],
    ):
        super().__init__()
        self.reference, self.camera_count = reference, len(span.first)
        trained = torch.ones(self.camera_count, dtype=torch.bool)
        trained[list(untrained)] = False
        self.register_buffer("is_trained", trained, persistent=False)
        self.register_buffer("middles", (span.first + span.last) / 2, persistent=False)
        self.register_buffer("halves", ((span.last - span.first) / 2).clamp_min(span.interval / 2), persistent=False)
        self.register_buffer("held_offsets", offsets.clone())
        self.register_buffer("held_rates", rates.clone())
        kept = {"shifts": offsets + rates * self.middles, "skews": rates * self.halves, "row_times": row_times}
        for name, values in kept.items():
            if name in learned:
                self.register_parameter(name, nn.Parameter(values.clone()))
            else:
                self.register_buffer(name, values.clone())
        self.register_buffer("range", torch.zeros(2, dtype=torch.float64))

    # -- correcting times ----------------------------------------------------------------------------------------

    def _lines(self) -> tuple[Tensor, Tensor]:
        """Field seconds as a line of each camera's own time: factors and constants, float64, shape [C] each."""
        factors = 1.0 + self.skews / self.halves
        constants = self.shifts - self.skews * self.middles / self.halves
        pace, zero = factors[self.reference], constants[self.reference]
        factors = torch.where(self.is_trained, factors, pace * (1.0 + self.held_rates))
        return factors, torch.where(self.is_trained, constants, pace * self.held_offsets + zero)

    def _field_seconds(self, cameras: Tensor | None, own_times: Tensor) -> Tensor:
        """Own times [N], [N, T] of cameras [N] (None: one each of all) to the field's seconds."""
        factors, constants = self._lines()
        if cameras is not None:
            factors, constants = factors[cameras], constants[cameras]
        if own_times.ndim == 2:
            factors, constants = factors[:, None], constants[:, None]
        return factors * own_times + constants

    def _coordinate(self, field_seconds: Tensor) -> Tensor:
        first, last = self.range
        return 2.0 * (field_seconds - first) / (last - first) - 1.0

    def forward(
        self,
        cameras: Int64[Tensor, " N"],
        frame_times: Float64[Tensor, " N *T"],
        rows: Float[Tensor, " N"] | None = None,
    ) -> Float64[Tensor, " N *T"]:
        """Correct times: where in the field's time cameras' frames were exposed.

        Args:
            cameras: global camera indices, int64, shape [N].
            frame_times: seconds on each camera's own clock, float64, shape [N] or [N, T].
            rows: each ray's row, from -1/2 at the image's top to 1/2 at its bottom, shape [N]; None for the middle one.

        Returns:
            The field's coordinate, [-1, 1] over :attr:`range`, float64, same shape as ``frame_times``; differentiable
            by everything that is learned and by the frame times.
        """
        if rows is not None:
            late = rows.to(frame_times) * self.row_times[cameras]
            frame_times = frame_times + (late if frame_times.ndim == 1 else late[:, None])
        return self._coordinate(self._field_seconds(cameras, frame_times))

    def readouts(self, cameras: Int64[Tensor, " N"]) -> Float64[Tensor, " N"]:
        """What passes of the field's coordinate between cameras' first and last rows, float64, shape [N].

        Differentiable where readout times are learned. Rates alone hardly change it, and a gradient by these would have
        every picture drawn row by row, also where no shutter rolls.
        """
        factors, _ = self._lines()
        factors = factors if self.row_times.requires_grad else factors.detach()
        return self._span(factors[cameras] * self.row_times[cameras])

    def spans(self, seconds: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
        """Spans of scene time (seconds, float64, any shape) as spans of the field's coordinate, likewise."""
        factors, _ = self._lines()
        return self._span(factors[self.reference] * seconds)

    def _span(self, field_seconds: Tensor) -> Tensor:
        return 2.0 * field_seconds / (self.range[1] - self.range[0])

    def moments(self, times: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
        """The field's coordinate of scene times (seconds, float64, any shape), likewise."""
        factors, constants = self._lines()
        return self._coordinate(factors[self.reference] * times + constants[self.reference])

    @property
    def first(self) -> float:
        """First scene time in seconds that the field's coordinate reaches."""
        return self._scene_seconds(self.range[0]).item()

    @property
    def last(self) -> float:
        """Last such scene time."""
        return self._scene_seconds(self.range[1]).item()

    def _scene_seconds(self, field_seconds: Tensor) -> Tensor:
        factors, constants = self._lines()
        return (field_seconds - constants[self.reference]) / factors[self.reference]

    def frame_count(self, interval: float) -> int:
        """Number of frames, ``interval`` seconds apart, that the field's coordinate spans."""
        return round((self.range[1] - self.range[0]).item() / interval) + 1

    @torch.no_grad()
    def overrun(self) -> Float64[Tensor, " C"]:
        """Seconds by which each training camera's corrected frames reach beyond the field's time, shape [C]; 0 if none.

        Frames that lie there are asked for at coordinates outside [-1, 1], where a field knows nothing of its own.
        """
        ends = torch.stack([self._field_seconds(None, self.middles + sign * self.halves) for sign in (-1, 1)])
        beyond = torch.maximum(self.range[0] - ends, ends - self.range[1]).amax(dim=0).clamp_min(0.0)
        return torch.where(self.is_trained, beyond, 0.0)

    # -- values --------------------------------------------------------------------------------------------------

    def offsets(self) -> Float64[Tensor, " C"]:
        """All offsets in seconds, those of the cameras' own time 0, float64, shape [C]; exactly 0 at the reference."""
        factors, constants = self._lines()
        return (constants - constants[self.reference]) / factors[self.reference]

    def rates(self) -> Float64[Tensor, " C"]:
        """How much faster than the reference's each clock runs, float64, shape [C]; exactly 0 at the reference."""
        factors, _ = self._lines()
        return factors / factors[self.reference] - 1.0

    @torch.no_grad()
    def set_camera(self, camera: int, offset: float, rate: float = 0.0) -> None:
        """Set the offset (seconds) and rate of a camera that is not trained; raises ValueError for one that is."""
        if self.is_trained[camera]:
            raise ValueError("a trained camera's offset is the training's, not to be set")
        self.held_offsets[camera], self.held_rates[camera] = offset, rate

    @torch.no_grad()
    def move_camera(self, camera: int, offset: float, rate: float = 0.0) -> None:
        """Put a trained camera's clock at an offset (seconds) and rate against the reference as it is now.

        The reference itself may be moved: the others then stay where they are in the field's time. Raises ValueError
        for a camera that is not trained.
        """
        if not self.is_trained[camera]:
            raise ValueError("a camera that is not trained is set by set_camera")
        factors, constants = self._lines()
        factor = factors[self.reference] * (1.0 + rate)
        constant = factors[self.reference] * offset + constants[self.reference]
        self.skews[camera] = (factor - 1.0) * self.halves[camera]
        self.shifts[camera] = constant + (factor - 1.0) * self.middles[camera]
