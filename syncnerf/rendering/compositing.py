"""Volume rendering: from densities along a ray to weights and pixels (Max 1995; NeRF, equation 3)."""

import torch
from jaxtyping import Float
from torch import Tensor


def render_weights(densities: Float[Tensor, "*rays S"], lengths: Float[Tensor, "*rays S"]) -> Float[Tensor, "*rays S"]:
    """Weight of every sample: its own opacity times the light that the samples before it let through.

    Args:
        densities: extinction per unit length, non-negative, shape [..., S], near to far.
        lengths: length of each sample's interval, shape [..., S].

    Returns:
        Weights, shape [..., S]; their sum is the ray's opacity, ``1 - exp(-sum(densities * lengths))``.
    """
    optical_depth = densities * lengths
    # Shifted rather than subtracted: behind a wall of 1e6 a float would have forgotten what stands before it.
    before = torch.nn.functional.pad(torch.cumsum(optical_depth, dim=-1)[..., :-1], (1, 0))
    return torch.exp(-before) * -torch.expm1(-optical_depth)


def composite(
    weights: Float[Tensor, "*rays S"], values: Float[Tensor, "*rays S"] | Float[Tensor, "*rays S C"]
) -> Float[Tensor, "*rays"] | Float[Tensor, "*rays C"]:
    """Weighted sum along the ray: weights [..., S], values [..., S] or [..., S, C]; shape [...] or [..., C]."""
    if values.ndim == weights.ndim:
        return (weights * values).sum(dim=-1)
    return (weights[..., None] * values).sum(dim=-2)


class _TruncatedExponential(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        result = torch.exp(x.clamp(max=15.0))
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        return gradient * result


def truncated_exponential(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """``exp(min(x, 15))`` whose gradient is the value itself, so that it neither overflows nor dies at the clamp
    (the density activation of instant-ngp and K-Planes). Half numbers become 32-bit ones."""
    return _TruncatedExponential.apply(x.to(torch.promote_types(x.dtype, torch.float32)))
