"""Real spherical harmonics of a direction."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.encodings.engines import compute_type
from syncnerf.encodings.tcnn import TcnnModule

WIDTH = 16
CONSTANT = 0.28209479177387814
"""The harmonic of degree 0: 1 / sqrt(4 pi)."""


def spherical_harmonics(directions: Float[Tensor, "*N 3"], degree: int = 3) -> Float[Tensor, "*N K"]:
    """The real spherical harmonics of degree 0 to ``degree`` (3 is "degree 4" in instant-ngp), orthonormal.

    Args:
        directions: unit vectors, shape [..., 3].
        degree: the highest, 0 to 3.

    Returns:
        Values in the order (degree, order from -degree to degree), shape [..., (degree + 1)^2].
    """
    x, y, z = directions.unbind(-1)
    values = [torch.full_like(x, CONSTANT)]
    if degree > 0:
        values += [-0.48860251190291987 * y, 0.48860251190291987 * z, -0.48860251190291987 * x]
    if degree > 1:
        xx, yy, zz = x * x, y * y, z * z
        values += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (3 * zz - 1),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
        ]
    if degree > 2:
        values += [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644657 * y * (5 * zz - 1),
            0.3731763325901154 * z * (5 * zz - 3),
            -0.4570457994644657 * x * (5 * zz - 1),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]
    return torch.stack(values, dim=-1)


class SphericalHarmonics(nn.Module):
    """:func:`spherical_harmonics` on an engine, see :func:`syncnerf.encodings.engines.choose_engine`."""

    def __init__(self, engine: str = "torch"):
        super().__init__()
        self.engine = engine
        self.tcnn = TcnnModule("Encoding", (3,), {"otype": "SphericalHarmonics", "degree": 4}, 0, WIDTH)

    def forward(self, directions: Float[Tensor, "N 3"]) -> Float[Tensor, "N 16"]:
        """Values, shape [N, 16], of unit vectors [N, 3]; float32, or autocast's type inside it."""
        kind = compute_type(directions.device)
        if self.engine == "tcnn":
            # tiny-cuda-nn takes directions in [0, 1].
            return self.tcnn(0.5 * directions + 0.5, directions.new_empty(0), kind)
        if self.engine == "triton":
            from syncnerf.encodings.spherical_harmonics_triton import triton_harmonics

            return triton_harmonics(directions, kind)
        return spherical_harmonics(directions).to(kind)
