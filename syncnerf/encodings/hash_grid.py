"""Multiresolution hash grid in 2 to 4 dimensions (Mueller et al. 2022, arXiv 2201.05989)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from syncnerf.encodings.engines import compute_type
from syncnerf.encodings.hash_grid_native import native_features, native_is_there
from syncnerf.encodings.tcnn import TcnnModule

PRIMES = (1, 2654435761, 805459861, 3674653429)


@dataclass(frozen=True)
class Level:
    """One level's grid.

    Attributes:
        scale: cells per unit of the coordinate.
        side: vertices per axis.
        size: entries of its part of the table, a multiple of 8.
        offset: entries of the levels before it.
        hashed: whether vertices share entries by hash (the size is then a power of two), or each has its own.
    """

    scale: float
    side: int
    size: int
    offset: int
    hashed: bool


@dataclass(frozen=True)
class GridLayout:
    """Where everything lies in a hash grid's table; tiny-cuda-nn's layout, so that tables can be exchanged.

    Attributes:
        dimensions: of the points, 2 to 4.
        levels: number of grids.
        features: numbers per entry: 1, 2, 4 or 8.
        log2_table_size: binary logarithm of the most entries of a level, at least 3.
        base_resolution: resolution of the coarsest level.
        growth: factor from level to level.
        smooth: interpolate by smoothstep, whose slope has no steps, instead of linearly.
    """

    dimensions: int
    levels: int
    features: int
    log2_table_size: int
    base_resolution: int
    growth: float
    smooth: bool = False

    def __post_init__(self) -> None:
        if self.dimensions not in (2, 3, 4) or self.features not in (1, 2, 4, 8):
            raise ValueError("a hash grid has 2 to 4 dimensions and 1, 2, 4 or 8 features per entry")
        if self.levels < 1 or self.base_resolution < 2 or self.growth < 1 or not 3 <= self.log2_table_size <= 28:
            raise ValueError("a hash grid has levels of at least 2 cells, growing, in tables of 2^3 to 2^28 entries")

    @property
    def width(self) -> int:
        """Number of features of a point."""
        return self.levels * self.features

    @property
    def size(self) -> int:
        """Number of parameters."""
        return (self.grids[-1].offset + self.grids[-1].size) * self.features

    @cached_property
    def grids(self) -> tuple[Level, ...]:
        """The levels, coarse to fine."""
        grids, offset, most = [], 0, 1 << self.log2_table_size
        logarithm = np.float32(math.log2(self.growth))
        for index in range(self.levels):
            # In float32 as tiny-cuda-nn does: a level's side depends on which side of a whole number this lands.
            scale = np.exp2(np.float32(index) * logarithm) * np.float32(self.base_resolution) - np.float32(1.0)
            side = int(np.ceil(scale)) + 1
            vertices = side**self.dimensions
            size = min(8 * math.ceil(vertices / 8), most)
            grids.append(Level(float(scale), side, size, offset, vertices > size))
            offset += size
        return tuple(grids)

    def tcnn_config(self) -> dict[str, Any]:
        """The same grids as tiny-cuda-nn's configuration."""
        return {
            "otype": "HashGrid",
            "n_levels": self.levels,
            "n_features_per_level": self.features,
            "log2_hashmap_size": self.log2_table_size,
            "base_resolution": self.base_resolution,
            "per_level_scale": self.growth,
            "interpolation": "Smoothstep" if self.smooth else "Linear",
        }

    def factors(self, level: Level) -> list[int]:
        """What a vertex's number along each axis is multiplied with, before they are added (or, hashed, xor-ed)."""
        if level.hashed:
            return list(PRIMES[: self.dimensions])
        return [level.side**axis for axis in range(self.dimensions)]


def hash_grid_features(coordinates: Tensor, table: Tensor, layout: GridLayout) -> Tensor:
    """Features of points, with plain torch: what the other engines are tested against; differentiable in both.

    Every level interpolates the entries of a cell's vertices; see :meth:`HashGrid.forward` for the arguments.
    """
    entries = table.reshape(-1, layout.features)
    corners = torch.arange(2**layout.dimensions, device=table.device)
    bits = (corners[:, None] >> torch.arange(layout.dimensions, device=table.device)) & 1
    features = []
    for level in layout.grids:
        position = coordinates * level.scale + 0.5
        lower = position.detach().floor()
        fraction = position - lower
        if layout.smooth:
            fraction = fraction.square() * (3.0 - 2.0 * fraction)
        vertices = lower.long()[:, None] + bits
        weights = torch.ones_like(position[:, :1])
        for axis in range(layout.dimensions):
            along = fraction[:, axis, None]
            weights = weights * torch.where(bits[:, axis] == 1, along, 1.0 - along)
        sample = entries.index_select(0, _entry_indices(vertices, level, layout.factors(level)).reshape(-1))
        weighted = weights[..., None].to(table.dtype) * sample.reshape(*weights.shape, layout.features)
        features.append(weighted.sum(dim=1))
    return torch.cat(features, dim=-1)


def _entry_indices(vertices: Tensor, level: Level, factors: list[int]) -> Tensor:
    """Rows of the table of vertices [..., D], int64 [...]; arithmetic is that of 32-bit unsigned integers."""
    wrapped = 0xFFFFFFFF
    index = torch.zeros_like(vertices[..., 0])
    for axis, factor in enumerate(factors):
        term = (vertices[..., axis] & wrapped) * factor & wrapped
        index = index ^ term if level.hashed else index + term & wrapped
    return level.offset + index % level.size


class HashGrid(nn.Module):
    """Learned features of points: grids of growing resolution whose fine levels share entries by a hash.

    Parameters are one flat tensor in tiny-cuda-nn's order for every engine: level, entry, feature; uniform in
    [-1e-4, 1e-4] at first.

    Args:
        layout: the grids.
        engine: ``torch``, ``triton`` or ``tcnn``, see :func:`syncnerf.encodings.engines.choose_engine`.
    """

    def __init__(self, layout: GridLayout, engine: str = "torch"):
        super().__init__()
        self.layout, self.engine = layout, engine
        self.tcnn = TcnnModule("Encoding", (layout.dimensions,), layout.tcnn_config(), layout.size, layout.width)
        self.table = nn.Parameter(torch.empty(layout.size).uniform_(-1e-4, 1e-4))

    def forward(self, coordinates: Tensor) -> Tensor:
        """Features, shape [N, levels * features], levels coarse to fine; float32, or autocast's type inside it.

        Args:
            coordinates: float32, shape [N, dimensions]; the grids cover [0, 1], beyond it they repeat or wrap.
        """
        kind = compute_type(coordinates.device)
        if self.engine == "tcnn":
            return self.tcnn(coordinates, self.table, kind)
        if self.engine == "triton":
            from syncnerf.encodings.hash_grid_triton import triton_features

            return triton_features(coordinates, self.table, self.layout, kind)
        if native_is_there(coordinates, self.table):
            return native_features(coordinates, self.table, self.layout).to(kind)
        return hash_grid_features(coordinates, self.table.to(kind), self.layout)
