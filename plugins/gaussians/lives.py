"""Gaussians that are there for a while and fly straight: no node carries them, and no motion is too free for them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from syncnerf_gaussians.gaussians import Drift

LEAST_FRAMES = 1.5
"""Width of the shortest life in frames, two standard deviations: every camera has a frame in it. One that served a
single camera's frame could hold what that one shows, and the camera's clock would learn nothing."""
FIRST_FRAMES = 0.1
"""Frames that it fades longer at first."""


class Lives(nn.Module):
    """Velocities and windows in time of N Gaussians (FreeTimeGS, Wang et al., CVPR 2025, arXiv 2506.05348).

    Args:
        count: N.
        frame_length: of a frame in the field's time.
    """

    def __init__(self, count: int, frame_length: float):
        super().__init__()
        self.frame_length, self.least = frame_length, 0.5 * LEAST_FRAMES * frame_length
        self.velocities = nn.Parameter(torch.zeros(count, 3))
        self.centres = nn.Parameter(torch.zeros(count))
        self.log_plateaus = nn.Parameter(torch.full((count,), self.least).log())
        self.log_fades = nn.Parameter(torch.full((count,), FIRST_FRAMES * frame_length).log())
        self.register_buffer("flies", torch.zeros(count, dtype=torch.bool))

    @torch.no_grad()
    def put(self, times: Float64[Tensor, " N"], velocities: Float[Tensor, "N 3"]) -> None:
        """Begin at times (float64 [N]) with velocities [N, 3]; NaN for those that do not fly."""
        self.flies.copy_(velocities.isfinite().all(dim=-1))
        self.centres.copy_(times.nan_to_num(0.0))
        self.velocities.copy_(velocities.nan_to_num(0.0))
        moments = times[self.flies].unique()
        between = float(moments.diff().median()) if len(moments) > 1 else 2.0
        self.log_plateaus.fill_(0.5 * between).log_()

    def drift(self) -> Drift:
        """How they move and fade."""
        moving = self.flies
        fades = torch.where(moving, self.least + self.log_fades.exp(), torch.inf)
        return Drift(self.velocities * moving[:, None], self.centres, self.log_plateaus.exp(), fades)

    def groups(self, rate: float) -> list[dict]:
        """Groups for Adam; ``rate`` is that of a place."""
        span = 3.0 * self.frame_length
        return [
            {"name": "velocities", "params": [self.velocities], "lr": rate / span},
            {"name": "lives", "params": [self.centres], "lr": 0.1 * rate * span},
            {"name": "windows", "params": [self.log_plateaus, self.log_fades], "lr": rate},
        ]
