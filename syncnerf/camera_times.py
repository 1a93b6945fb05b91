"""When each camera's frames were exposed, and where that lies in a field's time.

Sync-NeRF (Kim et al., AAAI 2024, arXiv 2310.13356) learns one time offset per camera together with the radiance field.
Here each camera also has a clock rate, for recorders that run fast or slow, and a readout time, for rolling shutters.

Three kinds of time occur:

- a camera's *own time*: seconds since its first frame, by its own clock;
- *scene time*: seconds on the reference camera's clock, the same for all cameras;
- the field's *coordinate*: scene time scaled to [-1, 1], which is what a field is asked with.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn


@dataclass(frozen=True)
class ClockSpan:
    """From when to when the cameras filmed, by their own clocks, and how far apart their frames are.

    Attributes:
        first: each camera's first frame on its own clock, seconds, float64, shape [C].
        last: each camera's last frame, likewise.
        interval: seconds between frames, the median over cameras.
    """

    first: Float64[Tensor, " C"]
    last: Float64[Tensor, " C"]
    interval: float

    @property
    def longest(self) -> float:
        """Duration of the longest video in seconds, at least one frame."""
        return max(float((self.last - self.first).max()), self.interval)


class CameraTimes(nn.Module):
    """Every camera's offset, rate and readout time; the one place where times are corrected.

    Scene time of camera c's frame at own time k and row y (from -1/2 at the image's top to 1/2 at its bottom) is
    ``(1 + rate_c) * (k + y * row_time_c) + offset_c`` seconds. Shifting or stretching all clocks alike would change no
    picture, so that cannot be observed. It is settled by definition: scene time is the reference camera's own time, and
    the reference's offset and rate are exactly 0.

    Offsets and rates are not stored as such, because they are hard to learn together: changing a rate also moves all
    later frames. Stored are each camera's *shift*, seconds from its own time to the true one at the middle of its
    video, and its *skew*, what the rate adds to that at the video's end. These are measured against a time scale of the
    field's own (*field seconds*), in which the reference has a shift and a skew too, so that all cameras are learned
    alike; scene time follows by taking the reference's out. Test cameras, which are not trained, instead keep an offset
    and a rate relative to the reference, and stay there until :meth:`set_camera` moves them, however the others change.

    The field's coordinate [-1, 1] spans :attr:`range`. :meth:`overrun` tells which frames lie outside.

    Args:
        span: from when to when each camera filmed, test cameras included, in the order of the global indices.
        reference: global index of the camera whose clock is scene time.
        untrained: global indices of the test cameras.
        offsets: seconds against the reference, float64, shape [C].
        rates: how much faster than the reference's each clock runs, float64, shape [C].
        row_times: seconds from each camera's first to its last row, float64, shape [C].
        learned: which of ``shifts``, ``skews`` and ``row_times`` are parameters; the others are buffers.

    Attributes:
        range: first and last moment that the field's coordinate spans, in field seconds, float64, shape [2].
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
        self.register_buffer("ends", torch.stack([span.first, span.last]), persistent=False)
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
        """Factors and constants, float64, shape [C] each, of ``field seconds = factor * own time + constant``."""
        factors = 1.0 + self.skews / self.halves
        constants = self.shifts - self.skews * self.middles / self.halves
        pace, zero = factors[self.reference], constants[self.reference]
        factors = torch.where(self.is_trained, factors, pace * (1.0 + self.held_rates))
        return factors, torch.where(self.is_trained, constants, pace * self.held_offsets + zero)

    def _field_seconds(self, cameras: Tensor | None, own_times: Tensor) -> Tensor:
        """Field seconds of cameras' own times, [N] or [N, T]; ``cameras`` [N] says whose, None: one of each camera."""
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
        """The field's coordinate at which cameras' frames were exposed.

        Args:
            cameras: global camera indices, int64, shape [N].
            frame_times: seconds on each camera's own clock, float64, shape [N] or [N, T].
            rows: each ray's row, from -1/2 at the image's top to 1/2 at its bottom, shape [N]; None for the middle one.

        Returns:
            The field's coordinate, [-1, 1] over :attr:`range`, float64, same shape as ``frame_times``; differentiable
            with respect to everything that is learned and to the frame times.
        """
        if rows is not None:
            late = rows.to(frame_times) * self.row_times[cameras]
            frame_times = frame_times + (late if frame_times.ndim == 1 else late[:, None])
        return self._coordinate(self._field_seconds(cameras, frame_times))

    def readouts(self, cameras: Int64[Tensor, " N"]) -> Float64[Tensor, " N"]:
        """How far the field's coordinate advances from cameras' first to their last row, float64, shape [N].

        Differentiable if readout times are learned. If only rates are, the result is detached: they hardly change it,
        and a gradient would force every picture to be drawn row by row, even those of global shutters.
        """
        factors, _ = self._lines()
        factors = factors if self.row_times.requires_grad else factors.detach()
        return self._span(factors[cameras] * self.row_times[cameras])

    def spans(self, seconds: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
        """Durations in seconds of scene time as differences of the field's coordinate, float64, any shape."""
        factors, _ = self._lines()
        return self._span(factors[self.reference] * seconds)

    def _span(self, field_seconds: Tensor) -> Tensor:
        return 2.0 * field_seconds / (self.range[1] - self.range[0])

    def moments(self, times: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
        """Scene times in seconds as the field's coordinate, float64, any shape."""
        factors, constants = self._lines()
        return self._coordinate(factors[self.reference] * times + constants[self.reference])

    @property
    def first(self) -> float:
        """Scene time in seconds at which the field's coordinate is -1."""
        return self._scene_seconds(self.range[0]).item()

    @property
    def last(self) -> float:
        """Scene time in seconds at which the field's coordinate is 1."""
        return self._scene_seconds(self.range[1]).item()

    def _scene_seconds(self, field_seconds: Tensor) -> Tensor:
        factors, constants = self._lines()
        return (field_seconds - constants[self.reference]) / factors[self.reference]

    def frame_count(self, interval: float) -> int:
        """Number of frames, ``interval`` seconds apart, that the field's coordinate spans."""
        return round((self.range[1] - self.range[0]).item() / interval) + 1

    @torch.no_grad()
    def overrun(self) -> Float64[Tensor, " C"]:
        """Seconds by which each training camera's frames lie outside the field's time, shape [C]; 0 if none do.

        Frames that lie there are asked for at coordinates outside [-1, 1], where a field knows nothing of its own.
        """
        # Not the middles and halves: a single frame ends where it begins, and its half is only one to divide by.
        ends = torch.stack([self._field_seconds(None, times) for times in self.ends])
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
        """Set a trained camera's offset (seconds) and rate relative to the reference as it is now.

        If the camera is the reference itself, the others stay where they are in the field's time. Raises ValueError for
        a camera that is not trained.
        """
        if not self.is_trained[camera]:
            raise ValueError("a camera that is not trained is set by set_camera")
        factors, constants = self._lines()
        factor = factors[self.reference] * (1.0 + rate)
        constant = factors[self.reference] * offset + constants[self.reference]
        self.skews[camera] = (factor - 1.0) * self.halves[camera]
        self.shifts[camera] = constant + (factor - 1.0) * self.middles[camera]
