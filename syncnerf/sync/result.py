"""What synchronisation returns."""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from syncnerf.sync.landscape import Landscape

Method = Literal["epipolar", "tracks"]


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
            of it (see :func:`~syncnerf.sync.offsets.locking_pull`).
    """

    names: list[str]
    reference: int
    method: Method
    offsets: Tensor
    stderr: Tensor
    pairs: list[PairLag]
    landscapes: list[Landscape]
    rates: Tensor | None = None
    rates_stderr: Tensor | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    locking: float = 0.0
