"""What is known of the cameras' clocks before a training, and how well.

``syncnerf sync``, or a file, tells when each camera started and how fast its clock runs, with standard errors. Training
uses that twice: the offsets start there (:class:`ClockStart`), and a loss term holds them near it, more firmly where
the errors are small (:class:`ClockPrior`). Only differences between cameras can be measured: if all clocks were shifted
by the same amount, no picture would change. That common shift is left undetermined throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor, nn

LEAST_ERROR = 1e-6
"""Seconds. A smaller standard error is not believed, whatever is stated."""


@dataclass(frozen=True)
class ClockStart:
    """What is known of the cameras' clocks before a training.

    Attributes:
        offsets: start time of each camera in seconds; where zero lies does not matter. float64, shape [C]; NaN where
            nothing is known.
        rates: how much faster than nominal each clock runs (1e-6: one part per million), float64, shape [C]; None if
            all rates are 0.
        covariance: error covariance of the scene time at the middle of each video, where the errors of offset and rate
            are independent. A shift common to all cameras is not counted. seconds^2, float64, shape [C, C]; rows and
            columns of NaN where nothing is known. None if no errors are known at all.
        rates_stderr: standard errors of the rates, float64, shape [C]; None if they are not known.
    """

    offsets: Float64[Tensor, " C"]
    rates: Float64[Tensor, " C"] | None = None
    covariance: Float64[Tensor, "C C"] | None = None
    rates_stderr: Float64[Tensor, " C"] | None = None

    def against(self, reference: int) -> tuple[Float64[Tensor, " C"], Float64[Tensor, " C"]]:
        """Offsets (seconds) and rates relative to the reference's clock, float64, shape [C] each; 0 if unknown."""
        offsets = self.offsets.double()
        rates = torch.zeros_like(offsets) if self.rates is None else self.rates.double().nan_to_num(0.0)
        zero, pace = offsets[reference].nan_to_num(0.0), 1.0 + rates[reference]
        return (offsets - zero).nan_to_num(0.0) / pace, (1.0 + rates) / pace - 1.0


class ClockPrior(nn.Module):
    """What was known of every clock before training; a module, so that checkpoints keep it.

    A clock is described by two numbers, as in :class:`~syncnerf.camera_times.CameraTimes`: its *shift*, by which scene
    time is ahead of the camera's own time at the middle of its video, and its *skew*, what the clock's rate adds to
    that at the video's end (and takes away at its beginning). Both are in seconds.

    Attributes:
        values: shift and skew of each camera relative to the reference, float64, shape [C, 2]. Where no errors are
            known these are nothing but a place to start from.
        covariance: error covariance of the shifts, not counting one common to all, seconds^2, float64, shape [C, C];
            infinite on the diagonal where nothing is known.
        skews_stderr: standard errors of the skews, seconds, float64, shape [C]; infinite where nothing is known.

    Args:
        start: what is known; None for nothing.
        values: see above.
        halves: half of each video's duration in seconds, float64, shape [C].
    """

    def __init__(self, start: ClockStart | None, values: Float64[Tensor, "C P"], halves: Float64[Tensor, " C"]):
        super().__init__()
        nothing = torch.full((len(values),), torch.inf, dtype=torch.float64)
        covariance, spreads = torch.diag(nothing), nothing
        if start is not None and start.covariance is not None:
            known = ~start.covariance.diagonal().isnan()
            stated = start.covariance.double() + LEAST_ERROR**2 * torch.eye(len(values), dtype=torch.float64)
            covariance = torch.where(known[:, None] & known, stated, covariance)
        if start is not None and start.rates_stderr is not None:
            spreads = (start.rates_stderr.double() * halves).nan_to_num(torch.inf)
        self.register_buffer("values", values.clone())
        self.register_buffer("covariance", covariance)
        self.register_buffer("skews_stderr", spreads.clone())

    @property
    def exists(self) -> bool:
        """Whether anything was known together with its errors."""
        return bool(self.covariance.diagonal().isfinite().any())

    @property
    def variances(self) -> Float64[Tensor, " C"]:
        """Variances of the shifts, seconds^2, infinite where nothing is known, float64, shape [C], on the CPU."""
        return self.covariance.diagonal().cpu()

    def offset_of(self, camera: int, reference: int) -> tuple[float, float] | None:
        """A camera's shift relative to the reference, and its standard error, in seconds; None if nothing is known.

        The error is that of the difference: the reference's own error is part of it.
        """
        own, shared = self.covariance[camera, camera], self.covariance[camera, reference]
        variance = float(own + self.covariance[reference, reference] - 2.0 * shared)
        if not math.isfinite(variance):
            return None
        return float(self.values[camera, 0]), math.sqrt(max(variance, 0.0))

    def joint_covariance(self, unknown_count: int) -> Float64[Tensor, "C P C P"]:
        """Error covariance of the shifts and, with 2 unknowns per camera, the skews, float64, shape [C, P, C, P]."""
        count = len(self.covariance)
        joint = torch.zeros(count, unknown_count, count, unknown_count, dtype=torch.float64)
        joint[:, 0, :, 0] = self.covariance
        if unknown_count == 2:
            joint[:, 1, :, 1] = torch.diag(self.skews_stderr.square())
        return joint

    def precisions(self, trained: Bool[Tensor, " C"], unknown_count: int) -> list[Float64[Tensor, "C C"]]:
        """Inverse covariances [C, C] of the shifts and, with 2 unknowns per camera, of the skews; on the CPU.

        They are zero (no preference) for a shift of all cameras together, for cameras that are not trained and for
        those of which nothing is known.

        Args:
            trained: which cameras are trained, bool, shape [C].
            unknown_count: unknowns per camera: 1 (shift) or 2 (shift and skew).
        """
        covariances = [self.covariance.cpu(), torch.diag(self.skews_stderr.cpu().square())][:unknown_count]
        precisions = []
        for covariance in covariances:
            precision = torch.zeros_like(covariance)
            inside = trained.cpu() & covariance.diagonal().isfinite()
            if inside.sum() > 1:
                within = inside[:, None] & inside
                precision[within] = _relative_precision(covariance[within].reshape(2 * [int(inside.sum())])).flatten()
            precisions.append(precision)
        return precisions


def _relative_precision(covariance: Tensor) -> Tensor:
    """Inverse covariance [C, C] of values whose common shift is unknown: shifting all of them costs nothing."""
    ones = torch.ones(len(covariance), 1, dtype=torch.float64)
    scale = covariance.diagonal().mean()
    # The common shift gets a variance far beyond all others, and is then projected out exactly.
    precision = torch.linalg.inv(covariance + 1e6 * scale * (ones @ ones.T))
    leak = precision @ ones
    return precision - leak @ leak.T / (ones.T @ leak)
