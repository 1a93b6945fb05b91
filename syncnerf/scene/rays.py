"""Rays as tensors."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


@dataclass
class Rays:
    """A batch of rays in world space (metres or scene units).

    Attributes:
        origins: where the rays start, shape [N, 3]; float64 in the world, whose origin may be far away.
        directions: unit vectors, float32, shape [N, 3].
        near: distance along the ray at which the scene may begin, float32, shape [N].
        far: distance along the ray at which it ends, float32, shape [N].
    """

    origins: Float[Tensor, "N 3"]
    directions: Float[Tensor, "N 3"]
    near: Float[Tensor, " N"]
    far: Float[Tensor, " N"]

    def __len__(self) -> int:
        return self.origins.shape[0]

    def __getitem__(self, index: slice | Shaped[Tensor, " K"]) -> "Rays":
        """Rays chosen by a slice, an index tensor or a mask over the first dimension."""
        return self.apply(lambda tensor: tensor[index])

    def apply(self, change: Callable[[Shaped[Tensor, " ..."]], Shaped[Tensor, " ..."]]) -> "Rays":
        """The rays with ``change`` applied to each of their tensors."""
        return Rays(change(self.origins), change(self.directions), change(self.near), change(self.far))

    def to(self, device: torch.device | str) -> "Rays":
        """The same rays on another device."""
        return self.apply(lambda tensor: tensor.to(device))


def clip_to_box(rays: Rays, bounds: Float[Tensor, "2 3"]) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Distances at which rays enter and leave a box, within their near and far, each shape [N].

    A ray that misses the box gets ``leave = enter``.
    """
    inverse = 1.0 / torch.where(rays.directions.abs() < 1e-9, torch.full_like(rays.directions, 1e-9), rays.directions)
    first, second = (bounds[0] - rays.origins) * inverse, (bounds[1] - rays.origins) * inverse
    enter = torch.maximum(torch.minimum(first, second).amax(dim=-1), rays.near)
    leave = torch.minimum(torch.maximum(first, second).amin(dim=-1), rays.far)
    return enter, torch.maximum(leave, enter)
