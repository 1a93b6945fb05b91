"""The clock: when each camera's frames were exposed, and where that lies in a field's time.

The shared embedding of Sync-NeRF (Kim et al., AAAI 2024, arXiv 2310.13356), with rates and rolling shutters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from syncnerf.clock_prior import ClockPrior, ClockStart
from syncnerf.config import OffsetsConfig

UNKNOWN_MARGIN = 0.125
"""Room for offsets that nothing is known of, as a share of the longest video, on either side."""
KNOWN_MARGIN, KNOWN_ERRORS = 2.0, 5.0
"""The same for offsets that are known: frames at least, and standard errors."""


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


class Clock(nn.Module):
    """Every camera's offset, rate and readout time; the one place where times are corrected.

    Scene time of camera c's frame at own time k and row y (from -1/2 at the image's top to 1/2 at its bottom) is
    ``(1 + rate_c) * (k + y * row_time_c) + offset_c`` seconds. A common shift and stretch of all cameras cannot be
    observed: scene time is the reference camera's own, whose offset and rate are exactly 0.

    What is optimised is each camera's shift (at the middle of its video, where it has nothing to do with the rate) and
    rate against the field's own time, the reference's included: holding the reference still would make every other
    camera, and the whole field, wait for the one direction that is hardest to learn. The gradient of a camera's shift
    then comes from its own rays alone. Cameras that are not trained hold an offset and rate against the reference, and
    stay there whatever the others do until :meth:`set_camera` moves them.

    Where the start comes with its errors, the clock rests until the field is worth asking, and is then held to what was
    known as strongly as that is certain beside the field (:mod:`syncnerf.reckoning`).

    A field is asked at a coordinate: [-1, 1] spans all frames as they are corrected at the start, and a margin for what
    offsets may still move. :meth:`overrun` tells what left it.

    In mode ``off`` nothing is learned and every offset is 0.

    Args:
        config: mode, learning rates, schedule, penalty.
        span: the cameras' own times; test cameras included, whose rows are their global indices.
        reference: global index of the camera whose clock is scene time.
        steps: length of the training; the schedule's shares refer to it.
        start: what is known beforehand and only needs refining; None for nothing.
        untrained: global indices of the test cameras.
        row_times: seconds from each camera's first to its last row, float64, shape [C]; None for global shutters.
    """

    def __init__(
        self,
        config: OffsetsConfig,
        span: ClockSpan,
        reference: int,
        steps: int,
        start: ClockStart | None = None,
        untrained: tuple[int, ...] = (),
        row_times: Float64[Tensor, " C"] | None = None,
    ):
        super().__init__()
        self.config, self.reference = config, reference
        self.camera_count = len(span.first)
        trained = torch.ones(self.camera_count, dtype=torch.bool)
        trained[list(untrained)] = False
        self.register_buffer("is_trained", trained, persistent=False)
        self.register_buffer("middles", (span.first + span.last) / 2, persistent=False)
        self.register_buffer("halves", ((span.last - span.first) / 2).clamp_min(span.interval / 2), persistent=False)
        # Never, where they are not frozen at all: a training may be given more steps.
        self.freeze_step = round(config.offset_freeze * steps) if config.offset_freeze < 1 else math.inf
        start = None if not self.learned else start
        self._make_unknowns(start, row_times)
        rate = (config.offset_lr if start is None else config.offset_refine_lr) * span.longest
        refines = 0.0 if start is None else config.offset_refine_start
        # In the checkpoint: a resumed run has no start to tell it which of the two it began with.
        self.register_buffer("learning_rate", torch.tensor(rate, dtype=torch.float64))
        self.register_buffer("start_step", torch.tensor(round(max(config.offset_start, refines) * steps)))
        self._first_step: int | None = None  # of that buffer, read once: reading it waits for the GPU
        self.register_buffer("range", self._range_of(span, start))
        self.register_buffer("is_learned", torch.tensor(self.learned))

    def _make_unknowns(self, start: ClockStart | None, row_times: Tensor | None) -> None:
        zeros = torch.zeros(self.camera_count, dtype=torch.float64)
        offsets, rates = zeros.clone(), zeros.clone()
        if start is not None:
            known = start.offsets.double()
            zero = known[self.reference].nan_to_num(0.0)
            stretch = zeros if start.rates is None else start.rates.double().nan_to_num(0.0)
            pace = 1.0 + stretch[self.reference]
            offsets, rates = (known - zero).nan_to_num(0.0) / pace, (1.0 + stretch) / pace - 1.0
        self.register_buffer("held_offsets", offsets)
        self.register_buffer("held_rates", rates)
        values = torch.stack([offsets + rates * self.middles, rates * self.halves], dim=1)
        learns_rates = self.learned and self.config.offset_rates == "learn"
        self.unknown_count = 1 + learns_rates
        self.prior = ClockPrior(start, values, self.halves)
        self.register_buffer("covariance", self.prior.joint_covariance(self.unknown_count))
        self.register_buffer("readout_stderr", torch.full_like(values[:, 0], torch.inf))
        self.register_buffer("pull", torch.zeros((), dtype=torch.float64))
        precisions = self.prior.precisions(self.is_trained, self.unknown_count)
        self.register_buffer("prior_precisions", torch.stack(precisions))
        # Whether there is a pull, and anything known: read once as well.
        self._released: bool | None = None
        self._reckoned: bool | None = None
        self._hold("shifts", values[:, 0].clone(), self.learned)
        self._hold("skews", values[:, 1].clone(), learns_rates)
        row_times = zeros if row_times is None else row_times.double()
        self._hold("row_times", row_times.clone(), self.config.rolling_shutter == "learn")
        self.register_buffer("gradient_mean", zeros.clone())
        self.register_buffer("gradient_square", zeros.clone())

    def _hold(self, name: str, values: Tensor, learned: bool) -> None:
        if learned:
            self.register_parameter(name, nn.Parameter(values))
        else:
            self.register_buffer(name, values)

    def _range_of(self, span: ClockSpan, start: ClockStart | None) -> Tensor:
        """First and last moment of the field's time, seconds, float64, shape [2]."""
        known = self.is_trained.clone() if start is None else self.is_trained | ~start.offsets.isnan()
        ends = torch.stack([self._field_seconds(None, time) for time in (span.first, span.last)])[:, known].detach()
        margin = UNKNOWN_MARGIN * span.longest
        if not self.learned:
            margin = span.interval / 2
        elif start is not None and start.covariance is not None and not start.offsets[self.is_trained].isnan().any():
            errors = start.covariance.diagonal()[self.is_trained].sqrt()
            margin = max(KNOWN_MARGIN * span.interval, KNOWN_ERRORS * float(errors.max()))
        return torch.stack([ends.min() - margin, ends.max() + margin])

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors) -> None:
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)
        self._first_step = self._released = self._reckoned = None
        if bool(self.is_learned) != self.learned:
            errors.append(f"offset_mode was {'learn' if self.is_learned else 'off'}")

    # -- correcting times ----------------------------------------------------------------------------------------

    @property
    def learned(self) -> bool:
        """Whether offsets are learned at all."""
        return self.config.offset_mode == "learn"

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
        """What passes of the field's coordinate between cameras' first and last rows, float64, shape [N], likewise."""
        factors, _ = self._lines()
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

    def stderr(self) -> Float64[Tensor, " C"]:
        """Standard errors of the offsets against the reference, seconds, float64, shape [C]; NaN where not known.

        Those of the last reckoning; those of the start before the first.
        """
        factors = torch.stack([torch.ones_like(self.middles), -self.middles / self.halves], dim=1)
        return self._relative_error(factors[:, : self.unknown_count])

    def rates_stderr(self) -> Float64[Tensor, " C"]:
        """Standard errors of the rates likewise, no unit; 0 where rates are not learned."""
        if self.unknown_count == 1:
            return torch.zeros_like(self.halves)
        return self._relative_error(torch.stack([torch.zeros_like(self.halves), 1.0 / self.halves], dim=1))

    def _relative_error(self, factors: Tensor) -> Tensor:
        """Standard error of each camera's combination of its unknowns, factors [C, P], less the reference's."""
        # An unknown that does not count must not make nan of an infinite variance.
        covariance = torch.where(factors[:, :, None, None] * factors == 0, 0.0, self.covariance)
        shared = torch.einsum("cp,cpdq,dq->cd", factors, covariance.nan_to_num(posinf=1e30), factors)
        own = shared.diagonal()
        variance = own + own[self.reference] - 2.0 * shared[self.reference]
        return torch.where(variance < 1e20, variance.clamp_min(0.0).sqrt(), torch.nan)

    # -- reckoning -----------------------------------------------------------------------------------------------

    @property
    def reckoned(self) -> bool:
        """Whether something was known beforehand with its errors, so that reckonings decide how it is held to that."""
        if self._reckoned is None:
            self._reckoned = self.learned and self.prior.exists
        return self._reckoned

    @torch.no_grad()
    def middle_values(self) -> Float64[Tensor, "C P"]:
        """Shift at the middle of each video, and the rate's share of it at the ends where rates are learned.

        Seconds of scene time, float64, shape [C, 1] or [C, 2], on the CPU.
        """
        rates = self.rates()
        values = torch.stack([self.offsets() + rates * self.middles, rates * self.halves], dim=1)
        return values[:, : self.unknown_count].cpu()

    def hold_by(self, pull: float) -> None:
        """Hold the clock to what was known beforehand, and let it move.

        Args:
            pull: the loss of a misfit of one standard error of a single camera, times two; 0 lets nothing move.
        """
        self.pull.fill_(pull)
        self._released = pull > 0.0

    def settle(
        self, covariance: Float64[Tensor, "C P C P"], readout_stderr: Float64[Tensor, " C"] | None = None
    ) -> None:
        """Take note of errors.

        Args:
            covariance: of the shifts, and the rates' shares where rates are learned, seconds^2, shape [C, P, C, P].
            readout_stderr: standard errors of learned readout times, seconds, float64, shape [C].
        """
        self.covariance.copy_(covariance)
        if readout_stderr is not None:
            self.readout_stderr.copy_(readout_stderr)

    # -- training ------------------------------------------------------------------------------------------------

    @property
    def unknowns(self) -> dict[str, nn.Parameter]:
        """What is learned, by name; all in seconds, float64, shape [C]."""
        return dict(self.named_parameters())

    def before_step(self, step: int) -> None:
        """Let the clock move in [start_step, freeze_step), hold it otherwise; a function of the step alone."""
        if not self.unknowns:
            return
        if self._first_step is None:
            self._first_step = int(self.start_step)
            self._released = not self.reckoned or bool(self.pull > 0.0)
        for parameter in self.parameters():
            parameter.requires_grad_(self._released and self._first_step <= step < self.freeze_step)

    def after_backward(self, decay: float = 0.98) -> None:
        """Take each camera's gradient into running means (of it and of its square), for the logs."""
        if self.learned and self.shifts.grad is not None:
            # In 16-bit training now and then a step overflows; it is left out.
            gradient = self.shifts.grad.detach().nan_to_num(0.0, 0.0, 0.0)
            self.gradient_mean.lerp_(gradient, 1 - decay)
            self.gradient_square.lerp_(gradient.square(), 1 - decay)

    @property
    def moving(self) -> bool:
        """Whether the clock moves in the step that :meth:`before_step` was told of."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def penalties(self) -> dict[str, Tensor]:
        """The misfit to what was known beforehand, and the optional L1 penalty on the training cameras' offsets."""
        terms = {}
        if self.learned and self.config.offset_l1:
            sizes = torch.where(self.is_trained, self.offsets().abs(), 0.0)
            terms["offset_l1"] = self.config.offset_l1 * sizes.sum() / self.is_trained.sum()
        if self.moving and self.reckoned:
            rates = self.rates()
            values = torch.stack([self.offsets() + rates * self.middles, rates * self.halves])[: self.unknown_count]
            misfit = values - self.prior.values.T[: self.unknown_count]
            terms["offset_prior"] = 0.5 * self.pull * torch.einsum("pc,pcd,pd->", misfit, self.prior_precisions, misfit)
        return terms

    def param_groups(self) -> list[dict]:
        """Groups for Adam; their learning rates are in seconds."""
        rate = self.learning_rate.item()
        return [{"name": f"clock_{name}", "params": [value], "lr": rate} for name, value in self.unknowns.items()]

    def gradient_signal(self) -> Iterator[tuple[float, float]]:
        """Per camera the running mean of the gradient and its ratio to the root mean square (1: all steps agree)."""
        if self.learned:
            ratio = self.gradient_mean / self.gradient_square.sqrt().clamp_min(1e-30)
            yield from zip(self.gradient_mean.tolist(), ratio.tolist(), strict=True)
