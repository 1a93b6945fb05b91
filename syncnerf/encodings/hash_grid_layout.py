"""Where everything lies in a multiresolution hash grid (Mueller et al. 2022, arXiv 2201.05989)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

PRIMES = (1, 2654435761, 805459861, 3674653429)
MOST_ENTRIES = 2**32 - 1
"""Kernels count them in 32 bits."""


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
        if self.grids[-1].offset + self.grids[-1].size > MOST_ENTRIES or self.grids[-1].side > MOST_ENTRIES:
            raise ValueError("a hash grid has fewer than 2^32 entries in all, and as many vertices along an axis")

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
