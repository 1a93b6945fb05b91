"""From noise to latents: Euler steps with guidance, over all views together or view by view beside an anchor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor
from tqdm import tqdm

from syncnerf.generate.adapter import ViewSyncAdapter

SHIFT = 5.0
"""How far the noise levels are shifted towards noise, in training and sampling (Esser et al., arXiv 2403.03206)."""
TRAINED_LEVELS = 1000
"""The model's unit of a noise level: it is told 1000 times the level."""


@dataclass(frozen=True)
class Group:
    """Views that are sampled together, and finished ones beside which they are."""

    views: tuple[int, ...]
    anchors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far a sampling has come.

    Attributes:
        latents: of all views, shape [V, channels, F, h, w]; noise where a view was not begun.
        group: number of the group under way.
        step: finished steps of it.
    """

    latents: Float[Tensor, "V channels F h w"]
    group: int = 0
    step: int = 0


def noise_levels(steps: int, shift: float = SHIFT) -> Float64[Tensor, " levels"]:
    """Levels from 1 to 0 that a sampling of so many steps goes through, float64, shape [steps + 1].

    ``s' = shift s / (1 + (shift - 1) s)`` of evenly spaced s, each exactly once; diffusers' scheduler, left to itself,
    shifts the last of them twice.
    """
    even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return shift * even / (1 + (shift - 1) * even)


def starting_noise(views: int, shape: tuple[int, ...], seed: int) -> Float32[Tensor, " V *shape"]:
    """Independent noise of each view, a function of seed and view alone, float32, shape [V, *shape]."""
    noises = []
    for view in range(views):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + view)
        noises.append(torch.randn(shape, generator=generator))
    return torch.stack(noises)


def groups(views: int, anchored: bool) -> list[Group]:
    """All views in one group; or, where memory is short, the first two, then each other beside the first."""
    if not anchored:
        return [Group(tuple(range(views)))]
    return [Group((0, 1)), *(Group((view,), (0,)) for view in range(2, views))]


@dataclass(frozen=True)
class Denoising:
    """What stays the same over a sampling.

    Attributes:
        adapter: the model, on the device, in evaluation mode.
        poses: of the views, shape [V, F, 12].
        text: embedding of the prompt, shape [L, E].
        negative: of what the views should not look like, same shape.
        guidance: weight of the difference between the two; 1 leaves the second out.
        levels: see :func:`noise_levels`.
    """

    adapter: ViewSyncAdapter
    poses: Float[Tensor, "V F 12"]
    text: Float[Tensor, "L E"]
    negative: Float[Tensor, "L E"]
    guidance: float
    levels: Float[Tensor, " levels"]

    @torch.no_grad()
    def run(
        self,
        noise: Float[Tensor, "V channels F h w"],
        order: list[Group],
        begun: Progress,
        save: Callable[[Progress], None],
    ) -> Float[Tensor, "V channels F h w"]:
        """Carry a sampling to its end.

        Args:
            noise: starting noise of all views, on the device; anchors are noised again with their own.
            order: the groups.
            begun: where to go on.
            save: called after each step.

        Returns:
            Latents of all views, shape [V, channels, F, h, w].
        """
        latents, steps = begun.latents.to(noise.device), len(self.levels) - 1
        total = steps * len(order)
        with tqdm(total=total, initial=begun.group * steps + begun.step, desc="sampling", unit="step") as bar:
            for number in range(begun.group, len(order)):
                group = order[number]
                own = list(group.views)
                for step in range(begun.step if number == begun.group else 0, steps):
                    level, following = self.levels[step].item(), self.levels[step + 1].item()
                    # A finished view is shown as it would look at this level.
                    beside = [(1 - level) * latents[view] + level * noise[view] for view in group.anchors]
                    shown = torch.cat([*(view[None] for view in beside), latents[own]])
                    velocity = self._guided(shown, [*group.anchors, *own], level)[len(beside) :]
                    latents = latents.clone()
                    latents[own] += (following - level) * velocity
                    done = step + 1
                    save(Progress(latents, number + done // steps, done % steps))
                    bar.update()
        return latents

    def _guided(self, latents: Tensor, views: list[int], level: float) -> Tensor:
        """Velocity (noise minus video) at a level with guidance, float32, shape of ``latents``."""
        wanted = self._velocity(latents, views, level, self.text)
        if self.guidance == 1:
            return wanted
        unwanted = self._velocity(latents, views, level, self.negative)
        return unwanted + self.guidance * (wanted - unwanted)

    def _velocity(self, latents: Tensor, views: list[int], level: float, text: Tensor) -> Tensor:
        model = self.adapter.transformer
        time = torch.full((len(views),), TRAINED_LEVELS * level, device=latents.device)
        texts = text.to(model.dtype).expand(len(views), *text.shape)
        with self.adapter.cameras(self.poses[views][None]):
            return model(latents.to(model.dtype), time, texts, return_dict=False)[0].float()
