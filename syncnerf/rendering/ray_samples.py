"""Where along rays a field is asked."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from syncnerf.scene.rays import Rays


@dataclass
class RaySamples:
    """Intervals along N rays, near to far.

    Attributes:
        edges: distances of the intervals' ends, shape [N, S + 1].
        inside: which intervals may hold something, bool, shape [N, S]; None for all.
    """

    edges: Float[Tensor, "N ends"]
    inside: Bool[Tensor, "N S"] | None = None

    @property
    def middles(self) -> Float[Tensor, "N S"]:
        """Distance of each interval's middle, shape [N, S]."""
        return 0.5 * (self.edges[:, 1:] + self.edges[:, :-1])

    @property
    def lengths(self) -> Float[Tensor, "N S"]:
        """Length of each interval, shape [N, S]."""
        return self.edges[:, 1:] - self.edges[:, :-1]

    def places(self, rays: Rays) -> Float[Tensor, "N S 3"]:
        """Where along rays the intervals' middles are, shape [N, S, 3]."""
        return rays.origins[:, None] + self.middles[..., None] * rays.directions[:, None]


def uniform_samples(
    near: Float[Tensor, " N"], far: Float[Tensor, " N"], count: int, generator: torch.Generator | None, disparity: bool
) -> RaySamples:
    """Equal intervals between near and far (in distance, or in inverse distance), jittered when a generator is given.

    Args:
        near: first distance, shape [N].
        far: last distance, shape [N].
        count: number of intervals S.
        generator: source of the jitter; None for none.
        disparity: equal steps in inverse distance, for scenes without a far end.
    """
    steps = torch.linspace(0.0, 1.0, count + 1, device=near.device)[None].expand(len(near), -1)
    if generator is not None:
        jitter = torch.rand(len(near), count + 1, generator=generator, device=near.device) - 0.5
        jitter[:, ::count].zero_()  # the ends stay where they are
        steps = steps + jitter / count
    if disparity:
        return RaySamples(1.0 / ((1 - steps) / near[:, None] + steps / far[:, None]))
    return RaySamples(near[:, None] + (far - near)[:, None] * steps)


def importance_samples(
    samples: RaySamples, weights: Float[Tensor, "N S"], count: int, generator: torch.Generator | None
) -> RaySamples:
    """New intervals where the weights are: inverse transform sampling of the piecewise constant density they form.

    Args:
        samples: intervals the weights belong to, shape [N, S].
        weights: non-negative, shape [N, S]; no gradient flows through.
        count: number of new intervals.
        generator: source of the jitter; None for evenly spaced quantiles.
    """
    padded = weights.detach() + 1e-5
    cumulative = torch.cumsum(padded, dim=-1)
    cumulative = torch.cat([torch.zeros_like(cumulative[:, :1]), cumulative / cumulative[:, -1:]], dim=-1)
    quantiles = torch.linspace(0.0, 1.0, count + 1, device=weights.device)[None].expand(len(weights), -1)
    if generator is not None:
        jitter = torch.rand(len(weights), 1, generator=generator, device=weights.device) - 0.5
        quantiles = (quantiles + jitter / count).clamp(0.0, 1.0)
    right = torch.searchsorted(cumulative, quantiles.contiguous(), right=True).clamp(1, cumulative.shape[1] - 1)
    low, high = cumulative.gather(1, right - 1), cumulative.gather(1, right)
    edge_low, edge_high = samples.edges.gather(1, right - 1), samples.edges.gather(1, right)
    fraction = ((quantiles - low) / (high - low).clamp_min(1e-9)).clamp(0.0, 1.0)
    return RaySamples((edge_low + fraction * (edge_high - edge_low)).detach())
