"""Where Gaussians are spent: those that show nothing move to where pictures are wrong, and the number stays the same.

Relocation as in "3D Gaussian Splatting as Markov Chain Monte Carlo" (Kheradmand et al., NeurIPS 2024).
"""

from __future__ import annotations

from math import comb

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

MOST_COPIES = 51
"""Gaussians that one is split into at most."""
MEMORY = 0.5
"""Share of what was seen of a Gaussian that still counts from one reckoning to the next."""
LEAST_LOOKS = 3.0
"""Looks at moments of its life by which a Gaussian is judged."""


class Attention(nn.Module):
    """What was seen of N Gaussians at looks now and then: sums, of which older ones count less and less.

    A short life is there at few looks: a Gaussian is judged by those at which it was.

    Attributes:
        sums: of what each adds to pictures, of the same, each pixel counted with its error, and of the looks, as far as
            the Gaussian was there; shape [3, N].
    """

    def __init__(self, count: int):
        super().__init__()
        self.register_buffer("sums", torch.zeros(3, count))

    @property
    def errors(self) -> Float[Tensor, " N"]:
        """What each has to do with errors of pictures."""
        return self.sums[1]

    def idle(self, share: float) -> Bool[Tensor, " N"]:
        """Which of them add less than ``share`` of the mean to pictures that are taken in their lives."""
        weights, _, looks = self.sums
        mean = weights.sum() / looks.sum().clamp_min(LEAST_LOOKS)
        return (looks >= LEAST_LOOKS) & (weights < share * mean * looks)

    def moved(self, moving: Int64[Tensor, " K"], joined: Int64[Tensor, " K"]) -> None:
        """Note which Gaussians moved onto which: they share what was seen there. All sums then count less."""
        self.sums[:2] /= 1 + joined.bincount(minlength=self.sums.shape[1])
        self.sums[:, moving] = self.sums[:, joined]
        self.sums *= MEMORY


def shared(
    opacities: Float[Tensor, " K"], copies: Int64[Tensor, " K"]
) -> tuple[Float[Tensor, " K"], Float[Tensor, " K"]]:
    """Opacities and factors on the scales with which ``copies`` Gaussians in one place look like one (equation 9).

    Args:
        opacities: of the one, in (0, 1), shape [K].
        copies: how many it becomes, from 1 to :data:`MOST_COPIES`, int64, shape [K].
    """
    each = 1.0 - (1.0 - opacities.double()).pow(1.0 / copies.double())
    sums = torch.zeros_like(each)
    for count in range(1, int(copies.max()) + 1):
        terms = sum(
            comb(count - 1, power) * (-1.0) ** power * each ** (power + 1) / (power + 1) ** 0.5
            for power in range(count)
        )
        sums = sums + torch.where(copies >= count, terms, 0.0)
    return each.to(opacities.dtype), (opacities / sums).to(opacities.dtype)


def relocation(
    idle: Bool[Tensor, " N"], wanted: Float[Tensor, " N"], generator: torch.Generator
) -> tuple[Int64[Tensor, " K"], Int64[Tensor, " K"]]:
    """Which Gaussians move, and to which others.

    Args:
        idle: those that show nothing, bool, shape [N].
        wanted: how much each of the others should be shared with, shape [N].
        generator: of the draws, on the CPU.

    Returns:
        Numbers of those that move and of those that they join, int64, shape [K] each.
    """
    moving = idle.nonzero()[:, 0]
    chance = torch.where(idle, 0.0, wanted).clamp_min(0.0).cpu().double()
    if not len(moving) or not bool(chance.sum() > 0):
        nothing = torch.empty(0, dtype=torch.int64, device=idle.device)
        return nothing, nothing
    joined = torch.multinomial(chance, len(moving), replacement=True, generator=generator).to(idle.device)
    # No more than can be told apart share one place.
    order = joined.argsort(stable=True)
    counts = joined.bincount(minlength=len(idle))
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(joined), device=idle.device) - starts[joined[order]]
    kept = order[place < MOST_COPIES - 1].sort().values
    return moving[kept], joined[kept]
