"""What the module is trained with: rectified flow (Liu et al., ICLR 2023), one noise level for all views of a scene."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from syncnerf.generate.adapter import ViewSyncAdapter
from syncnerf.generate.denoising import SHIFT, TRAINED_LEVELS

BELL_WIDTH = 1000.0
"""Of the weight over noise levels, in thousandths of one; see :func:`level_weights`."""


def draw_levels(scenes: int, generator: torch.Generator, shift: float = SHIFT) -> Float32[Tensor, " B"]:
    """Noise levels, evenly distributed over the 1000 trained ones before they are shifted, float32, shape [B]."""
    even = (torch.randint(TRAINED_LEVELS, (scenes,), generator=generator) + 1) / TRAINED_LEVELS
    return shift * even / (1 + (shift - 1) * even)


def level_weights(levels: Float[Tensor, " B"], shift: float = SHIFT) -> Float[Tensor, " B"]:
    """The released training's weight of each level: a bell about the middle, its least value taken off, mean 1.

    ``exp(-2 ((1000 s - 500) / 1000)^2)``, minus its minimum over the 1000 levels, over its mean.
    """
    even = torch.arange(1, TRAINED_LEVELS + 1) / TRAINED_LEVELS
    every = _bell(shift * even / (1 + (shift - 1) * even))
    return (_bell(levels) - every.min()) / (every - every.min()).mean()


def flow_loss(
    adapter: ViewSyncAdapter,
    latents: Float[Tensor, "B V channels F h w"],
    texts: Float[Tensor, "B L E"],
    levels: Float[Tensor, " B"],
    noise: Float[Tensor, "B V channels F h w"],
) -> Float[Tensor, " B"]:
    """Mean squared error of the velocity ``noise - latents`` that the model sees in noisy views, by scene.

    Args:
        adapter: the model; its cameras are set.
        latents: of B scenes of V views, shape [B, V, channels, F, h, w].
        texts: embeddings, shape [B, L, E].
        levels: shape [B].
        noise: like ``latents``.

    Returns:
        Shape [B].
    """
    views, model = latents.shape[1], adapter.transformer
    share = levels[:, None, None, None, None, None]
    noisy = ((1 - share) * latents + share * noise).flatten(0, 1)
    times = (TRAINED_LEVELS * levels).repeat_interleave(views)
    words = texts.to(model.dtype).repeat_interleave(views, 0)
    found = model(noisy.to(model.dtype), times, words, return_dict=False)[0]
    return (found.float().unflatten(0, (-1, views)) - (noise - latents)).square().flatten(1).mean(1)


def _bell(levels: Tensor) -> Tensor:
    return torch.exp(-2 * ((TRAINED_LEVELS * levels - TRAINED_LEVELS / 2) / BELL_WIDTH).square())
