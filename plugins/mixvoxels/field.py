"""The static and the dynamic field, and the field that tells which points ever change."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from syncnerf.encodings.mlp import mlp
from syncnerf.encodings.spherical_harmonics import WIDTH, spherical_harmonics
from syncnerf.option import whole_numbers
from syncnerf_mixvoxels.options import GridsConfig
from syncnerf_mixvoxels.pair_products import Pairs
from syncnerf_mixvoxels.time_query import TimeSeries
from syncnerf_mixvoxels.vm_grid import VMGrid

SPARSE = 0.3
"""Share of a batch's points and moments beyond which densities of all are found faster than of those alone."""


class VoxelField(nn.Module):
    """What static and dynamic field share: grids for density and for appearance.

    Args:
        config: sizes.
        resolution: cells along x, y and z.
        start: density where the grids say zero.
    """

    def __init__(self, config: GridsConfig, resolution: Sequence[int], start: float):
        super().__init__()
        self.density_grid = VMGrid(resolution, whole_numbers(config, "density_ranks"))
        self.appearance_grid = VMGrid(resolution, whole_numbers(config, "appearance_ranks"))
        self.basis = nn.Linear(self.appearance_grid.width, config.appearance_features, bias=False)
        self.scale = config.density_scale
        # The softplus's inverse, in a form that neither overflows nor cancels.
        relative = start / self.scale
        self.shift = relative + math.log(-math.expm1(-relative))

    def activate(self, raw: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Densities from raw values: a shifted softplus (TensoRF, section 5)."""
        return self.scale * nn.functional.softplus(raw + self.shift)

    def appearance(self, points: Float[Tensor, "M 3"], directions: Float[Tensor, "M 3"]) -> Float[Tensor, "M F"]:
        """Input of the colour decoder at points [M, 3] seen along unit directions [M, 3]."""
        return torch.cat([self.basis(self.appearance_grid(points)), spherical_harmonics(directions)], dim=-1)


class StaticField(VoxelField):
    """A radiance field without time (TensoRF with vector-matrix grids)."""

    def __init__(self, config: GridsConfig, resolution: Sequence[int], start: float):
        super().__init__(config, resolution, start)
        inputs = config.appearance_features + WIDTH
        self.colour_decoder = mlp(inputs, 3, config.hidden_width, hidden_layers=2, bias=True)

    def density(self, points: Float[Tensor, "M 3"]) -> Float[Tensor, " M"]:
        """Densities [M] at points [M, 3] in [-1, 1]^3."""
        return self.activate(self.density_grid(points).sum(dim=-1))

    def colour(self, points: Float[Tensor, "M 3"], directions: Float[Tensor, "M 3"]) -> Float[Tensor, "M 3"]:
        """Colours [M, 3] in [0, 1] at points seen along unit directions [M, 3]."""
        return torch.sigmoid(self.colour_decoder(self.appearance(points, directions)))


class DynamicField(VoxelField):
    """A radiance field that answers all moments of a point at once (MixVoxels, section 3.3).

    A network turns a point's features into vectors, of the width of a moment's query; their inner products with it are
    the point's density and its colour then.
    """

    def __init__(self, config: GridsConfig, resolution: Sequence[int], start: float, width: int):
        super().__init__(config, resolution, start)
        self.width, hidden = width, config.hidden_width
        self.density_decoder = mlp(self.density_grid.width, self.width, hidden, hidden_layers=1, bias=True)
        inputs = config.appearance_features + WIDTH
        self.colour_decoder = mlp(inputs, 3 * self.width, hidden, hidden_layers=1, bias=True)

    def density(
        self,
        points: Float[Tensor, "M 3"],
        rays: Int64[Tensor, " M"],
        series: TimeSeries,
        possible: Bool[Tensor, "M T"] | None = None,
    ) -> Float[Tensor, "M T"]:
        """Densities [M, T] of points [M, 3] of rays [M] at the moments of the series.

        Where nothing is possible they are 0; by default all is.
        """
        vectors = self.density_decoder(self.density_grid(points))[:, None]
        if possible is None or possible.float().mean() > SPARSE:
            dense = self.activate(series.products(vectors, rays)[:, 0])
            return dense if possible is None else dense * possible
        pairs = Pairs.where(possible)
        found = self.activate(series.at(vectors, rays, pairs)[:, 0])
        return found.new_zeros(possible.numel()).index_copy(0, pairs.flat(), found).reshape(possible.shape)

    def colour(
        self,
        points: Float[Tensor, "M 3"],
        directions: Float[Tensor, "M 3"],
        rays: Int64[Tensor, " M"],
        series: TimeSeries,
        pairs: Pairs,
    ) -> Float[Tensor, "P 3"]:
        """Colours [P, 3] in [0, 1] of points seen along unit directions [M, 3], for pairs of a point and a moment."""
        vectors = self.colour_decoder(self.appearance(points, directions))
        return torch.sigmoid(series.at(vectors.reshape(-1, 3, self.width), rays, pairs))


class VariationField(nn.Module):
    """The chance that a point ever changes (MixVoxels, section 3.2); until it has learned, all points may."""

    def __init__(self, config: GridsConfig, resolution: Sequence[int]):
        super().__init__()
        self.grid = VMGrid(resolution, whole_numbers(config, "variation_ranks"))
        self.bias = nn.Parameter(torch.tensor(4.0))

    def forward(self, points: Float[Tensor, "M 3"]) -> Float[Tensor, " M"]:
        """Logits [M] of the chance, at points [M, 3] in [-1, 1]^3."""
        return self.grid(points).sum(dim=-1) + self.bias
