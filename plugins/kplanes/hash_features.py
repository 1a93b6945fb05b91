"""Hash grids over space and over its pairs of axes with time (the split of Grid4D, Xu et al., NeurIPS 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.encodings.hash_grid import HashGrid
from syncnerf.encodings.hash_grid_layout import GridLayout

PAIRS = ((0, 1), (0, 2), (1, 2))
"""Axes of space that each grid of the dynamic part spans, with time."""


@dataclass(frozen=True)
class HashSizes:
    """Sizes of space-time hash grids.

    Attributes:
        levels: of each grid.
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

    @property
    def layout(self) -> GridLayout:
        """Every grid's layout, in 3 dimensions."""
        growth = (self.finest / self.coarsest) ** (1.0 / max(self.levels - 1, 1))
        return GridLayout(3, self.levels, self.features, self.log2_table_size, self.coarsest, growth, self.smooth)

    @property
    def time_scale(self) -> float:
        """Length of the time axis in a cube of side 1: it has no more cells than the spatial ones."""
        return min(1.0, self.time_finest / self.finest)


class SpaceTimeHash(nn.Module):
    """Features of (x, y, z), the static part, and of (x, y, t), (x, z, t), (y, z, t), the dynamic part, side by side.

    Each is a hash grid's. A grid of all four axes would have one cell per moment and place, which few rays light; a
    cell of three is lit by all rays that cross it anywhere along the axis that it lacks.

    Args:
        sizes: of the grids.
        engine: what they run on, see :func:`syncnerf.encodings.engines.choose_engine`.
    """

    def __init__(self, sizes: HashSizes, engine: str = "torch"):
        super().__init__()
        self.sizes = sizes
        layout = sizes.layout
        self.static = HashGrid(layout, engine)
        self.dynamic = nn.ModuleList(HashGrid(layout, engine) for _ in PAIRS)
        self.width = (1 + len(PAIRS)) * layout.width
        # Cells of the time axis [-1, 1] at each level, and each feature's share while a blur is set: tensors that stay
        # where they are, for a recorded step reads what they hold by then.
        cells = [2.0 / (grid.scale * sizes.time_scale) for grid in layout.grids]
        self.register_buffer("time_cells", torch.tensor(cells), persistent=False)
        self.register_buffer("level_weights", torch.ones(layout.width), persistent=False)
        self.blurred = False

    def forward(
        self, points: Float[Tensor, "N 3"], times: Float[Tensor, " N"], static: bool = False
    ) -> Float[Tensor, "N width"]:
        """Features of points, shape [N, width].

        Args:
            points: in [-1, 1]^3 (beyond, the border's value), shape [N, 3].
            times: in [-1, 1] (likewise), shape [N].
            static: leave the dynamic part out (zeros, near which it starts).
        """
        unit = (0.5 * points + 0.5).clamp(0.0, 1.0)
        still = self.static(unit)
        if static:
            return torch.cat([still, still.new_zeros(len(still), self.width - still.shape[1])], dim=-1)
        moment = ((0.5 * times + 0.5).clamp(0.0, 1.0) * self.sizes.time_scale).to(unit.dtype)
        axes = unit.unbind(dim=-1)
        changing = [
            grid(torch.stack([axes[first], axes[second], moment], dim=-1))
            for grid, (first, second) in zip(self.dynamic, PAIRS, strict=True)
        ]
        if self.blurred:
            changing = [part * self.level_weights.to(part.dtype) for part in changing]
        return torch.cat([still, *changing], dim=-1)

    def set_blur(self, width: float) -> None:
        """Fade the levels of the dynamic part that tell more of time than a Gaussian blur would leave.

        Args:
            width: standard deviation of the blur, in units of the time axis [-1, 1]; 0 for none. A level fades as
                the fastest wave does that its grids can hold.
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
        """Mean absolute value of each dynamic grid's entries, summed: 0 where all is static."""
        return torch.stack([grid.table.abs().mean() for grid in self.dynamic]).sum()

    def mean_square(self) -> Float[Tensor, ""]:
        """Mean square of each level's entries, summed over levels, static and dynamic (Zip-NeRF, section 4.3)."""
        total = self.static.table.new_zeros(())
        for grid in (self.static, *self.dynamic):
            sizes = [level.size * grid.layout.features for level in grid.layout.grids]
            total = total + torch.stack([part.square().mean() for part in grid.table.split(sizes)]).sum()
        return total
