"""Masked space-time hash grids (MSTH, Wang et al., NeurIPS 2023, arXiv 2310.17527, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.encodings.hash_grid import HashGrid
from syncnerf.encodings.hash_grid_layout import GridLayout

MASK_LEVELS, MASK_FINEST = 4, 64
"""The mask is smoother than what it chooses from."""


@dataclass(frozen=True)
class HashSizes:
    """Sizes of a masked space-time hash.

    Attributes:
        levels: grids of the static and of the dynamic part.
        features: per level.
        log2_table_size: binary logarithm of the most entries of a level.
        coarsest: resolution of the first level along space.
        finest: resolution of the last.
        time_finest: cells along time of the last level; those of coarser levels shrink alike.
        smooth: interpolate by smoothstep instead of linearly.
    """

    levels: int
    features: int
    log2_table_size: int
    coarsest: int
    finest: int
    time_finest: int
    smooth: bool

    def layout(self, dimensions: int) -> GridLayout:
        """The grids in 3 or 4 dimensions."""
        return self._layout(dimensions, self.levels, self.features, self.finest)

    def mask_layout(self) -> GridLayout:
        """The grids of the mask."""
        finest = max(self.coarsest, min(self.finest, MASK_FINEST))
        return self._layout(3, min(self.levels, MASK_LEVELS), 1, finest)

    def _layout(self, dimensions: int, levels: int, features: int, finest: int) -> GridLayout:
        growth = (finest / self.coarsest) ** (1.0 / max(levels - 1, 1))
        return GridLayout(dimensions, levels, features, self.log2_table_size, self.coarsest, growth, self.smooth)

    @property
    def time_scale(self) -> float:
        """Length of the time axis in a cube of side 1: it has fewer cells than the spatial ones."""
        return min(1.0, self.time_finest / self.finest)


class MaskedHashGrid(nn.Module):
    """Features ``m(x) f_static(x) + (1 - m(x)) f_dynamic(x, t)``, each from a hash grid, the mask m in (0, 1) too.

    Args:
        sizes: of the grids.
        engine: what they run on, see :func:`syncnerf.encodings.engines.choose_engine`.
    """

    def __init__(self, sizes: HashSizes, engine: str = "torch"):
        super().__init__()
        self.sizes = sizes
        self.static = HashGrid(sizes.layout(3), engine)
        self.dynamic = HashGrid(sizes.layout(4), engine)
        self.mask = HashGrid(sizes.mask_layout(), engine)
        self.width = self.static.layout.width
        # Cells of the time axis [-1, 1] at each level, and each feature's share while a blur is set: tensors that stay
        # where they are, for a recorded step reads what they hold by then.
        cells = [2.0 / (grid.scale * sizes.time_scale) for grid in self.dynamic.layout.grids]
        self.register_buffer("time_cells", torch.tensor(cells), persistent=False)
        self.register_buffer("level_weights", torch.ones(self.width), persistent=False)
        self.blurred = False

    def forward(
        self, points: Float[Tensor, "N 3"], times: Float[Tensor, " N"], static: bool = False
    ) -> Float[Tensor, "N width"]:
        """Features of points, shape [N, width].

        Args:
            points: in [-1, 1]^3 (beyond, the border's value), shape [N, 3].
            times: in [-1, 1] (likewise), shape [N].
            static: leave the dynamic part out.
        """
        unit = (0.5 * points + 0.5).clamp(0.0, 1.0)
        mask = torch.sigmoid(self.mask(unit).sum(dim=-1, keepdim=True))
        kept = mask * self.static(unit)
        if static:
            return kept
        moment = (0.5 * times + 0.5).clamp(0.0, 1.0) * self.sizes.time_scale
        dynamic = self.dynamic(torch.cat([unit, moment[:, None].to(unit.dtype)], dim=-1))
        if self.blurred:
            dynamic = dynamic * self.level_weights.to(dynamic.dtype)
        return kept + (1.0 - mask) * dynamic

    def set_blur(self, width: float) -> None:
        """Fade the levels of the dynamic part that tell more of time than a Gaussian blur would leave.

        Args:
            width: standard deviation of the blur, in units of the time axis [-1, 1]; 0 for none. A level fades as
                the fastest wave does that its grid can hold.
        """
        self.blurred = width > 0
        if self.blurred:
            weights = torch.exp(-0.5 * (math.pi * width / self.time_cells).square())
            self.level_weights.view(-1, self.sizes.features).copy_(weights[:, None])

    @property
    def blur_kind(self) -> Hashable:
        """What decides the operations of the blur, beside its numbers."""
        return self.blurred

    def penalties(self) -> dict[str, Callable[[], Float[Tensor, ""]]]:
        """Losses of the grids by the name of their weight."""
        return {"static": self.distance_from_static, "decay": self.mean_square}

    def distance_from_static(self) -> Float[Tensor, ""]:
        """Mean of ``-log m`` over the mask's entries, each alone: 0 where all is static."""
        return torch.nn.functional.softplus(-self.mask.table).mean()

    def mean_square(self) -> Float[Tensor, ""]:
        """Mean square of each level's entries, summed over levels, static and dynamic (Zip-NeRF, section 4.3)."""
        total = self.static.table.new_zeros(())
        for grid in (self.static, self.dynamic):
            sizes = [level.size * grid.layout.features for level in grid.layout.grids]
            total = total + torch.stack([part.square().mean() for part in grid.table.split(sizes)]).sum()
        return total
