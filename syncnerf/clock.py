"""The clock: what training, and what was known beforehand, makes of the cameras' times."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from syncnerf.camera_times import CameraTimes, ClockSpan
from syncnerf.clock_modes import common_readout, hastened, place_modes
from syncnerf.clock_prior import ClockPrior, ClockStart
from syncnerf.config import OffsetsConfig

UNKNOWN_MARGIN = 0.125
"""Room for offsets that nothing is known of, as a share of the longest video, on either side."""
KNOWN_MARGIN, KNOWN_ERRORS = 2.0, 5.0
"""The same for offsets that are known: frames at least, and standard errors."""
READOUT_STEP = 0.02
"""Frames by which a readout time changes in a step at most. Of readout times nothing is known at the start, and what
moves in a picture shows an eighth of them: steps as small as those of offsets that are refined do not get there."""


class Clock(CameraTimes):
    """The cameras' times as they are learned with the field, and how sure they are.

    What is optimised are the shifts and skews of all cameras that are trained, the reference's included: holding the
    reference still would make every other camera, and the whole field, wait for the one direction that is hardest to
    learn. The gradient of a camera's shift then comes from its own rays alone.

    Where the start comes with its errors, the clock rests until the field is worth asking, and is then held to what was
    known as strongly as that is certain beside the field (:mod:`syncnerf.reckoning`). Readout times, of which nothing
    is known, do not wait until the field is worth refining offsets by.

    The field's time spans all frames as they are corrected at the start, and a margin for what offsets may still move.

    In mode ``off`` nothing is learned and every offset is 0.

    Args:
        config: mode, learning rates, schedule, penalty.
        span: the cameras' own times; test cameras included, whose rows are their global indices.
        reference: global index of the camera whose clock is scene time.
        steps: length of the training; the schedule's shares refer to it.
        start: what is known beforehand and only needs refining; None for nothing.
        untrained: global indices of the test cameras.
        row_times: seconds from each camera's first to its last row, float64, shape [C]; None for global shutters.
        places: where the cameras stand, in any unit, float64, shape [C, 3]; None where that is not known.
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
        places: Float64[Tensor, "C 3"] | None = None,
    ):
        learned = {"shifts": config.offset_mode == "learn", "row_times": config.rolling_shutter == "learn"}
        learned["skews"] = learned["shifts"] and config.offset_rates == "learn"
        start = start if learned["shifts"] else None
        zeros = torch.zeros(len(span.first), dtype=torch.float64)
        offsets, rates = (zeros, zeros) if start is None else start.against(reference)
        row_times = zeros if row_times is None else row_times.double()
        names = [name for name, value in learned.items() if value]
        super().__init__(span, reference, untrained, offsets, rates, row_times, names)
        self.config, self.unknown_count = config, 1 + learned["skews"]
        # Never, where they are not frozen at all: a training may be given more steps.
        self.freeze_step = round(config.offset_freeze * steps) if config.offset_freeze < 1 else math.inf
        # What is sought from zero is a share of the video; what is refined lies within a frame in any video.
        rate = config.offset_lr * span.longest if start is None else config.offset_refine_lr * span.interval
        refines = 0.0 if start is None else config.offset_refine_start
        # In the checkpoint: a resumed run has no start to tell it which of the two it began with.
        self.register_buffer("learning_rate", torch.tensor(rate, dtype=torch.float64))
        self.readout_rate = READOUT_STEP * span.interval
        self.register_buffer("start_step", torch.tensor(round(max(config.offset_start, refines) * steps)))
        if "row_times" in names:
            # Nothing is known of them that a rough field could spoil; and one that has learned to do without them
            # shows what is high in the pictures early or late, and is slow to turn round.
            self.register_buffer("readout_start_step", torch.tensor(round(config.offset_start * steps)))
        self.register_buffer("is_learned", torch.tensor(self.learned))
        self.register_buffer("gradient_mean", zeros.clone())
        self.register_buffer("gradient_square", zeros.clone())
        modes = zeros[:, None][:, :0] if places is None else place_modes(places, self.is_trained)
        self.register_buffer("modes", modes, persistent=False)
        self._note_what_is_known(start)
        self.range.copy_(self._range_of(span, start))
        # Of these buffers, read once, for reading them waits for the GPU: when each unknown starts to move, whether
        # there is a pull, and anything known.
        self._first_steps: dict[str, int] = {}
        self._released: bool | None = None
        self._reckoned: bool | None = None

    def _note_what_is_known(self, start: ClockStart | None) -> None:
        """The errors of the start, and how strongly they will hold the clock."""
        values = torch.stack([self.shifts.detach(), self.skews.detach()], dim=1)
        self.prior = ClockPrior(start, values, self.halves)
        self.register_buffer("covariance", self.prior.joint_covariance(self.unknown_count))
        self.register_buffer("readout_stderr", torch.full_like(self.halves, torch.inf))
        self.register_buffer("pull", torch.zeros((), dtype=torch.float64))
        precisions = self.prior.precisions(self.is_trained, self.unknown_count)
        self.register_buffer("prior_precisions", torch.stack(precisions))

    def _range_of(self, span: ClockSpan, start: ClockStart | None) -> Tensor:
        """First and last moment of the field's time, seconds, float64, shape [2]."""
        known = self.is_trained.clone() if start is None else self.is_trained | ~start.offsets.isnan()
        ends = torch.stack([self._field_seconds(None, time) for time in (span.first, span.last)])[:, known].detach()
        margin = UNKNOWN_MARGIN * span.longest
        if not self.learned:
            margin = span.interval / 2
        elif start is not None and self.prior.exists and not self.prior.variances[self.is_trained].isinf().any():
            variances = self.prior.variances
            if self.unknown_count == 2:
                # At the ends of the videos rates err as well, if it is known by how much.
                variances = variances + self.prior.skews_stderr.cpu().square().nan_to_num(posinf=0.0)
            errors = variances[self.is_trained].sqrt()
            margin = max(KNOWN_MARGIN * span.interval, KNOWN_ERRORS * float(errors.max()))
        return torch.stack([ends.min() - margin, ends.max() + margin])

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors) -> None:
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)
        self._first_steps, self._released, self._reckoned = {}, None, None
        if bool(self.is_learned) != self.learned:
            errors.append(f"offset_mode was {'learn' if self.is_learned else 'off'}")

    @property
    def learned(self) -> bool:
        """Whether offsets are learned at all."""
        return self.config.offset_mode == "learn"

    # -- errors --------------------------------------------------------------------------------------------------

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
        """Let each unknown move from its first step to the freeze, hold it otherwise; a function of the step alone."""
        if not self.unknowns:
            return
        if not self._first_steps:
            self._first_steps = dict.fromkeys(self.unknowns, int(self.start_step))
            if "row_times" in self._first_steps:
                self._first_steps["row_times"] = int(self.readout_start_step)
            self._released = not self.reckoned or bool(self.pull > 0.0)
        for name, parameter in self.unknowns.items():
            parameter.requires_grad_(self._released and self._first_steps[name] <= step < self.freeze_step)

    def after_backward(self, decay: float = 0.98) -> None:
        """Take each camera's gradient into running means, of it and of its square; hasten what is slow to learn."""
        if self.learned and self.shifts.grad is not None:
            # In 16-bit training now and then a step overflows; it is left out.
            gradient = self.shifts.grad.detach().nan_to_num(0.0, 0.0, 0.0)
            self.gradient_mean.lerp_(gradient, 1 - decay)
            self.gradient_square.lerp_(gradient.square(), 1 - decay)
            # The running mean has a tenth of a single gradient's noise: what is learned beside it is not slowed.
            self.shifts.grad += hastened(self.gradient_mean, self.modes)
        if "row_times" in self.moving and self.row_times.grad is not None:
            self.row_times.grad += common_readout(self.row_times.grad, self.is_trained)

    @property
    def moving(self) -> tuple[str, ...]:
        """Names of the unknowns that move in the step that :meth:`before_step` was told of."""
        return tuple(name for name, parameter in self.unknowns.items() if parameter.requires_grad)

    def penalties(self) -> dict[str, Float[Tensor, ""]]:
        """The misfit to what was known beforehand, and the optional L1 penalty on the training cameras' offsets."""
        terms = {}
        if self.learned and self.config.offset_l1:
            sizes = torch.where(self.is_trained, self.offsets().abs(), 0.0)
            terms["offset_l1"] = self.config.offset_l1 * sizes.sum() / self.is_trained.sum()
        if "shifts" in self.moving and self.reckoned:
            rates = self.rates()
            values = torch.stack([self.offsets() + rates * self.middles, rates * self.halves])[: self.unknown_count]
            misfit = values - self.prior.values.T[: self.unknown_count]
            terms["offset_prior"] = 0.5 * self.pull * torch.einsum("pc,pcd,pd->", misfit, self.prior_precisions, misfit)
        return terms

    def param_groups(self) -> list[dict]:
        """Groups for Adam; their learning rates are in seconds."""
        rates = dict.fromkeys(self.unknowns, self.learning_rate.item())
        if "row_times" in rates:
            rates["row_times"] = self.readout_rate
        return [{"name": f"clock_{name}", "params": [self.unknowns[name]], "lr": rates[name]} for name in rates]

    def gradient_signal(self) -> Iterator[tuple[float, float]]:
        """Per camera the running mean of the gradient and its ratio to the root mean square (1: all steps agree)."""
        if self.learned:
            ratio = self.gradient_mean / self.gradient_square.sqrt().clamp_min(1e-30)
            yield from zip(self.gradient_mean.tolist(), ratio.tolist(), strict=True)
