"""What is seen where a ray leaves the field's space: a known colour, or one learned by direction."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.encodings.spherical_harmonics import WIDTH, spherical_harmonics

HASTE = 10.0
"""Learning rate as a multiple of the field's: a plain wall is then a backdrop before it can become fog."""


class Backdrop(nn.Module):
    """Colours behind the scene.

    Unknown ones are learned: a sigmoid of spherical harmonics of degree 4, smooth over directions and grey at first, so
    that it can be a sky or the light of a room beyond the box but no camera's own picture.

    Args:
        known: the colour in [0, 1] that lies behind everything, or None where it is unknown.
    """

    def __init__(self, known: tuple[float, float, float] | None):
        super().__init__()
        self.coefficients: nn.Parameter | None = None
        if known is None:
            self.coefficients = nn.Parameter(torch.zeros(WIDTH, 3))
        else:
            self.register_buffer("known", torch.tensor(known), persistent=False)

    def forward(self, directions: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """Colours [N, 3] in [0, 1] of unit directions [N, 3]; differentiable."""
        if self.coefficients is None:
            return self.known.expand(len(directions), 3)
        return torch.sigmoid((spherical_harmonics(directions) @ self.coefficients).float())

    def param_groups(self, base_lr: float) -> list[dict]:
        """One group for Adam; none where the colour is known."""
        if self.coefficients is None:
            return []
        return [{"name": "backdrop", "params": [self.coefficients], "lr": HASTE * base_lr}]
