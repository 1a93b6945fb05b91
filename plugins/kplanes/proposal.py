"""Proposal sampling: small density fields say where along a ray the large one should look (mip-NeRF 360, section 3)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.option import whole_numbers
from syncnerf.rendering.compositing import render_weights
from syncnerf.rendering.ray_samples import RaySamples, importance_samples
from syncnerf_kplanes.options import ProposalConfig

Densities = Callable[[RaySamples], Tensor]


class ProposalResampler(nn.Module):
    """Resamples a ray through one or more proposal fields.

    Weights sharpen from uniform over ``anneal_steps`` (mip-NeRF 360, equation 18, slope 10). Every step trains the
    proposals at first, and every 5th after ``proposal_warmup``.

    Attributes:
        first_count: samples at which the first proposal field is asked.
        trains: whether the present step trains the proposals.
    """

    def __init__(self, config: ProposalConfig):
        super().__init__()
        self.first_count, *later = whole_numbers(config, "proposal_samples")
        self.counts = [*later, config.field_samples]
        self.anneal_steps, self.warmup = config.anneal_steps, config.proposal_warmup
        self.trains = True
        # A tensor: a recorded step reads what it holds by then.
        self.register_buffer("anneal", torch.tensor(1.0), persistent=False)

    def before_step(self, step: int) -> None:
        """Bring annealing and the update rhythm to a step."""
        fraction = min(step / max(self.anneal_steps, 1), 1.0)
        self.anneal.fill_(10.0 * fraction / (9.0 * fraction + 1.0))
        every = 1 + round(4 * min(step / max(self.warmup, 1), 1.0))
        self.trains = step % every == 0

    def forward(
        self, first: RaySamples, fields: list[Densities], generator: torch.Generator | None
    ) -> tuple[RaySamples, list[tuple[RaySamples, Float[Tensor, "N _"]]]]:
        """Samples for the large field, and every level's intervals and weights for the histogram loss.

        Args:
            first: intervals at which the first field is asked, shape [N, S].
            fields: densities [N, S] of intervals, one callable per proposal field.
            generator: source of the jitter; None for none.
        """
        levels, samples = [], first
        for field, count in zip(fields, self.counts, strict=True):
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.trains):
                weights = render_weights(field(samples), samples.lengths)
            levels.append((samples, weights))
            samples = importance_samples(samples, weights.detach().pow(self.anneal), count, generator)
        return samples, levels


def histogram_loss(
    samples: RaySamples, weights: Float[Tensor, "N S"], level: RaySamples, level_weights: Float[Tensor, "N P"]
) -> Float[Tensor, ""]:
    """How much of the field's weight a proposal histogram fails to bound (mip-NeRF 360, equation 13).

    Args:
        samples: the field's intervals [N, S].
        weights: its weights [N, S]; no gradient flows to them.
        level: the proposal's intervals [N, P].
        level_weights: the proposal's weights [N, P].
    """
    cumulative = torch.cat([torch.zeros_like(level_weights[:, :1]), level_weights.cumsum(dim=-1)], dim=-1)
    edges = level.edges.contiguous()
    last = edges.shape[1] - 1
    low = torch.searchsorted(edges, samples.edges[:, :-1].contiguous(), right=True).sub(1).clamp(0, last)
    high = torch.searchsorted(edges, samples.edges[:, 1:].contiguous(), right=False).clamp(0, last)
    bound = cumulative.gather(1, high) - cumulative.gather(1, low)
    fixed = weights.detach()
    return ((fixed - bound).clamp_min(0.0).square() / (fixed + 1e-5)).sum(dim=-1).mean()


def distortion_loss(
    samples: RaySamples, weights: Float[Tensor, "N S"], longest: float | None = None
) -> Float[Tensor, ""]:
    """Spread of the weights along the ray (mip-NeRF 360, equation 15), distances scaled to [0, 1].

    Args:
        samples: the field's intervals [N, S].
        weights: its weights [N, S].
        longest: the distance that counts as 1; None for each ray's from its first interval to its last.
    """
    low, high = samples.edges[:, :1], samples.edges[:, -1:]
    scale = (high - low).clamp_min(1e-9) if longest is None else longest
    middles, lengths = (samples.middles - low) / scale, samples.lengths / scale
    total, moment = weights.cumsum(dim=-1), (weights * middles).cumsum(dim=-1)
    pairs = 2 * (weights * (middles * (total - weights) - (moment - weights * middles))).sum(dim=-1)
    return (pairs + (weights.square() * lengths).sum(dim=-1) / 3).mean()
