"""What synchronisation returns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.sync.landscape import Landscape

Method = Literal["epipolar", "tracks"]
Verdict = Literal["sure", "check", "undetermined"]
CONTRADICTION = "contradicts the other pairs"
"""Reason of a pair whose distinct lag the solution contradicts."""
UNCONNECTED = "not connected with the reference"
"""Reason of a pair with a distinct lag whose cameras are not determined."""


@dataclass(frozen=True)
class PairLag:
    """What one pair of cameras says about its clocks.

    Attributes:
        first: global index of the one camera.
        second: global index of the other.
        lag: offset[first] - offset[second], seconds; NaN where the pair says nothing.
        deviation: standard error of the lag by this pair alone, seconds, up to a factor common to all pairs.
        significance: height of the landscape's peak in robust deviations of the rest.
        residual: lag minus what the global solution says, seconds; NaN where that says nothing.
        reason: why the pair was not used; empty if it was.
    """

    first: int
    second: int
    lag: float
    deviation: float
    significance: float
    residual: float
    reason: str

    @property
    def used(self) -> bool:
        """Whether the global solution rests on this pair, among others."""
        return not self.reason

    @property
    def contradicts(self) -> bool:
        """Whether the pair has a distinct lag that the global solution cannot share."""
        return self.reason == CONTRADICTION


@dataclass(frozen=True)
class Check:
    """What speaks for and against one camera's offset.

    Attributes:
        verdict: ``sure``; ``check``: determined, but something speaks against it; ``undetermined``.
        explained: share of the camera's motion that the found offsets explain by the others' (mean squared correlation
            over its pairs); NaN where nothing is compared.
        agreeing: share of its pairs with a distinct lag that agree with the solution.
        left_out: seconds by which its offset changes most when one of its pairs is left out.
        halves: seconds that the second half of the time says more than the first; NaN where a half says nothing.
        alternatives: seconds to add to the offset for others that explain nearly as much, the best first.
        reason: what speaks against it; empty if nothing does.
        advice: what to do about that.
    """

    verdict: Verdict
    explained: float = math.nan
    agreeing: float = 1.0
    left_out: float = 0.0
    halves: float = math.nan
    alternatives: tuple[float, ...] = ()
    reason: str = ""
    advice: str = ""


@dataclass(frozen=True)
class SyncResult:
    """Time offsets of a scene's cameras.

    Attributes:
        names: the cameras in global order.
        reference: global index of the camera whose offset is exactly 0.
        method: what was compared.
        offsets: seconds, float64, shape [C]; frame k of camera c was exposed at ``k / fps_c * (1 + rates_c) +
            offsets_c``: the offset is that of the camera's frame 0, with rates as without. NaN for cameras that could
            not be determined.
        stderr: standard errors of the offsets in seconds, float64, shape [C]; NaN where the offset is. They hold for
            each camera against all cameras together (the free gauge: compare errors after subtracting their median or
            mean), so the reference camera has one as well.
        rates: how much faster than nominal time passes on each camera's clock (1e-6: one part per million), against the
            reference, float64, shape [C]; None where drift was not estimated.
        rates_stderr: their standard errors, in the same gauge as ``stderr``; None likewise.
        pairs: every pair of cameras, used or not.
        landscapes: agreement against shift of every pair that could be compared.
        reasons: by name, why a camera's offset is not determined.
        warnings: by name, what speaks against a camera's offset although it is determined; its error is wide then.
        locking: samples by which the pairs' lags were found to be drawn to whole samples at most; the offsets are rid
            of it (see :func:`~syncnerf.sync.locking.locking_pull`).
        remarks: by name, what was left out of a camera's pictures, or made up for; casts no doubt.
        checks: by name, what speaks for and against each camera's offset; empty where that was not looked at.
        correlations: of the offsets' errors, float64, shape [C, C], ones on the diagonal; None for independent ones.
        clock_correlations: of the errors of offsets and rates together, float64, shape [C, 2, C, 2]; None without
            rates.
    """

    names: list[str]
    reference: int
    method: Method
    offsets: Float64[Tensor, " C"]
    stderr: Float64[Tensor, " C"]
    pairs: list[PairLag]
    landscapes: list[Landscape]
    rates: Float64[Tensor, " C"] | None = None
    rates_stderr: Float64[Tensor, " C"] | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    locking: float = 0.0
    remarks: dict[str, str] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    correlations: Float64[Tensor, "C C"] | None = None
    clock_correlations: Float64[Tensor, "C 2 C 2"] | None = None

    def warned(self, remarks: Mapping[str, str]) -> "SyncResult":
        """The result with one more warning for each of the determined cameras named here."""
        told = {name: remark for name, remark in remarks.items() if name not in self.reasons}
        joined = {name: "; ".join(filter(None, [self.warnings.get(name), remark])) for name, remark in told.items()}
        return replace(self, warnings=self.warnings | joined)

    def doubted(self, remarks: Mapping[str, str], advice: str) -> "SyncResult":
        """The result with one more reason, before all others, to check the cameras named here.

        Undetermined ones remain that, and their advice says so.
        """
        checks = dict(self.checks)
        for name, said in remarks.items():
            check = checks[name]
            if check.verdict == "undetermined":
                checks[name] = replace(check, advice=f"{said}: {advice}")
            else:
                reason = "; ".join(filter(None, [said, check.reason]))
                checks[name] = replace(check, verdict="check", reason=reason, advice=advice)
        return replace(self, checks=checks)

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """By name: ``sure``, ``check`` or ``undetermined``."""
        return {name: check.verdict for name, check in self.checks.items()}

    @property
    def covariance(self) -> Float64[Tensor, "C C"]:
        """Covariance of the offsets in the free gauge, seconds^2, float64, shape [C, C].

        Its diagonal is the square of ``stderr``; rows and columns of undetermined cameras are NaN.
        """
        correlations = torch.eye(len(self.stderr)).double() if self.correlations is None else self.correlations
        return correlations * self.stderr[:, None] * self.stderr

    def covariance_at(self, times: Float64[Tensor, " C"]) -> Float64[Tensor, "C C"]:
        """Covariance of what the clocks are late by at moments of their own, seconds^2, float64, shape [C, C].

        With rates an offset, that of frame 0, is less certain than what the clock shows in the middle of its video.

        Args:
            times: a moment on each camera's clock, seconds, float64, shape [C].
        """
        if self.clock_correlations is None or self.rates_stderr is None:
            return self.covariance
        errors = torch.stack([self.stderr, self.rates_stderr * times], dim=1)
        return torch.einsum("cp,cpdq,dq->cd", errors, self.clock_correlations, errors)
