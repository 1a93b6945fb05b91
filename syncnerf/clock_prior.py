"""What is known of the cameras' clocks before a training, and how well."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor, nn

LEAST_ERROR = 1e-6
"""Seconds: nothing is known better, whatever is stated."""


@dataclass(frozen=True)
class ClockStart:
    """What is known of the cameras' clocks before a training.

    Attributes:
        offsets: seconds against any common zero, float64, shape [C]; NaN where nothing is known.
        rates: how much faster than nominal each clock runs (1e-6: one part per million), float64, shape [C]; None for
            0.
        covariance: of what the clocks show in the middle of their videos, of which a common shift is unknown,
            seconds^2, float64, shape [C, C]; NaN rows and columns where nothing is known. None where no errors are
            known.
        rates_stderr: standard errors of the rates, float64, shape [C]; None likewise.
    """

    offsets: Float64[Tensor, " C"]
    rates: Float64[Tensor, " C"] | None = None
    covariance: Float64[Tensor, "C C"] | None = None
    rates_stderr: Float64[Tensor, " C"] | None = None

    def against(self, reference: int) -> tuple[Float64[Tensor, " C"], Float64[Tensor, " C"]]:
        """Offsets (seconds) and rates against the reference's clock, float64, shape [C] each; 0 where not known."""
        offsets = self.offsets.double()
        rates = torch.zeros_like(offsets) if self.rates is None else self.rates.double().nan_to_num(0.0)
        zero, pace = offsets[reference].nan_to_num(0.0), 1.0 + rates[reference]
        return (offsets - zero).nan_to_num(0.0) / pace, (1.0 + rates) / pace - 1.0


class ClockPrior(nn.Module):
    """What was known beforehand of every clock, in the checkpoint of its training.

    Attributes:
        values: shift at the middle of each video and the rate's share of it at the ends, seconds of scene time against
            the reference, float64, shape [C, 2]; a start alone where no errors are known.
        covariance: of the shifts, of which a common one is unknown, seconds^2, float64, shape [C, C]; an infinite
            diagonal where nothing is known.
        skews_stderr: standard errors of the rates' shares, seconds, float64, shape [C]; infinite likewise.

    Args:
        start: what is known; None for nothing.
        values: see above.
        halves: half of the seconds that each video lasts, float64, shape [C].
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
        """A camera's shift at the middle of its video, and its standard error, seconds; None where nothing is known.

        Both against the reference, whose own error counts.
        """
        own, shared = self.covariance[camera, camera], self.covariance[camera, reference]
        variance = float(own + self.covariance[reference, reference] - 2.0 * shared)
        if not math.isfinite(variance):
            return None
        return float(self.values[camera, 0]), math.sqrt(max(variance, 0.0))

    def joint_covariance(self, unknown_count: int) -> Float64[Tensor, "C P C P"]:
        """Covariance of the shifts and, for 2 unknowns, the rates' shares, float64, shape [C, P, C, P]."""
        count = len(self.covariance)
        joint = torch.zeros(count, unknown_count, count, unknown_count, dtype=torch.float64)
        joint[:, 0, :, 0] = self.covariance
        if unknown_count == 2:
            joint[:, 1, :, 1] = torch.diag(self.skews_stderr.square())
        return joint

    def precisions(self, trained: Bool[Tensor, " C"], unknown_count: int) -> list[Float64[Tensor, "C C"]]:
        """Inverse covariance [C, C] of the shifts and, for 2 unknowns, of the rates' shares; on the CPU.

        They say nothing of a common shift, of cameras that are not trained and of those of which nothing is known.

        Args:
            trained: which cameras are, bool, shape [C].
            unknown_count: 1 or 2.
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
    """Inverse covariance [C, C] of values of which a common shift is unknown: it ignores that shift."""
    ones = torch.ones(len(covariance), 1, dtype=torch.float64)
    scale = covariance.diagonal().mean()
    # The shift gets a variance far beyond all others, and is then taken out exactly.
    precision = torch.linalg.inv(covariance + 1e6 * scale * (ones @ ones.T))
    leak = precision @ ones
    return precision - leak @ leak.T / (ones.T @ leak)
