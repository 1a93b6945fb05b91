"""Multiresolution hash grid in 2 to 4 dimensions (Mueller et al. 2022, arXiv 2201.05989)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.encodings.engines import compute_type
from syncnerf.encodings.hash_grid_layout import GridLayout, Level
from syncnerf.encodings.hash_grid_native import native_features, native_is_there
from syncnerf.encodings.tcnn import TcnnModule


def hash_grid_features(
    coordinates: Float[Tensor, "N dimensions"], table: Float[Tensor, " entries"], layout: GridLayout
) -> Float[Tensor, "N features"]:
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

    def forward(self, coordinates: Float[Tensor, "N dimensions"]) -> Float[Tensor, "N features"]:
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
