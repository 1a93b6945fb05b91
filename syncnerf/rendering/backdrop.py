"""What is seen where a ray leaves the field's space: a known colour, or one learned by direction."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.encodings.spherical_harmonics import WIDTH, spherical_harmonics
from syncnerf.scene.views import Views

DEGREE = math.isqrt(WIDTH) - 1
"""The highest of the harmonics."""
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

    def of_views(self, views: Views) -> Float[Tensor, "B H W 3"]:
        """The same of all pixels of B views without a lens, several times as fast: [B, H, W, 3].

        A harmonic of degree l is a polynomial of degree l in a direction's coordinates. Of a direction whose length is
        not 1 but that of the way to the plane one unit before the camera, it is one in the place on that plane: four
        columns and four rows tell all of it.
        """
        if self.coefficients is None:
            return self.known.expand(len(views), views.height, views.width, 3)
        across, down = views.on_plane()
        places = [_four_between(values) for values in (across, down)]
        ways = views.ways(*places)
        lengths = ways.norm(dim=-1, keepdim=True)
        values = spherical_harmonics((ways / lengths).float()).double()
        inverse = (across.square()[:, None] + down.square()[:, :, None] + 1.0).rsqrt().float()[:, None]
        columns, rows = (_weights(*pair).float() for pair in zip((across, down), places, strict=True))
        logits = torch.zeros_like(inverse)
        # 16 bits are too few for a polynomial.
        with torch.autocast(inverse.device.type, enabled=False):
            for degree in range(DEGREE, -1, -1):
                own = slice(degree**2, (degree + 1) ** 2)
                nodes = values[..., own] @ self.coefficients[own].double() * lengths**degree
                logits = rows[:, None] @ nodes.float().movedim(3, 1) @ columns[:, None].mT + inverse * logits
        return torch.sigmoid(logits).movedim(1, 3)

    def param_groups(self, base_lr: float) -> list[dict]:
        """One group for Adam; none where the colour is known."""
        if self.coefficients is None:
            return []
        return [{"name": "backdrop", "params": [self.coefficients], "lr": HASTE * base_lr}]


def _four_between(values: Float[Tensor, "B N"]) -> Float[Tensor, "B 4"]:
    """Four different places that are spread over where values [B, N] lie."""
    low, high = values.amin(dim=1, keepdim=True), values.amax(dim=1, keepdim=True)
    half = (0.5 * (high - low)).clamp_min(1e-2)
    return 0.5 * (low + high) + half * torch.linspace(-1.0, 1.0, 4).to(values)


def _weights(values: Float[Tensor, "B N"], nodes: Float[Tensor, "B 4"]) -> Float[Tensor, "B N 4"]:
    """What a cubic through values at four nodes takes of each of these, at places [B, N] (Lagrange)."""
    apart = values[:, :, None] - nodes[:, None]
    between = nodes[:, :, None] - nodes[:, None]
    shares = []
    for node in range(4):
        others = [other for other in range(4) if other != node]
        shares.append(apart[..., others].prod(dim=-1) / between[:, node, others].prod(dim=-1, keepdim=True))
    return torch.stack(shares, dim=-1)
