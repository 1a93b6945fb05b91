"""Where Gaussians are spent: those that show nothing move to where pictures are wrong, and the number stays the same.

Relocation as in "3D Gaussian Splatting as Markov Chain Monte Carlo" (Kheradmand et al., NeurIPS 2024).
"""

from __future__ import annotations

from math import comb

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

MOST_COPIES = 51
"""Gaussians that one is split into at most."""


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
