"""The field: density and colour of a space-time point, from plane features."""

import torch
from torch import Tensor, nn

from syncnerf.encodings.mlp import mlp
from syncnerf.encodings.spherical_harmonics import WIDTH, spherical_harmonics
from syncnerf.rendering.compositing import truncated_exponential
from syncnerf_kplanes.planes import PlaneGrid

GEOMETRY_FEATURES = 15


class HybridDecoder(nn.Module):
    """Two small networks: features to density and geometry, those and the direction to colour (section 3.3)."""

    def __init__(self, features: int, width: int):
        super().__init__()
        self.density_network = mlp(features, 1 + GEOMETRY_FEATURES, width, hidden_layers=1)
        self.colour_network = mlp(GEOMETRY_FEATURES + WIDTH, 3, width, hidden_layers=2)

    def density(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Densities [N] and what the colour needs, [N, 15]."""
        output = self.density_network(features)
        return truncated_exponential(output[:, 0]), output[:, 1:]

    def view(self, directions: Tensor) -> Tensor:
        """What a ray's colours need of its unit direction [R, 3]: spherical harmonics, [R, 16]."""
        return spherical_harmonics(directions)

    def colour(self, geometry: Tensor, view: Tensor) -> Tensor:
        """Colours in [0, 1], shape [N, 3], from geometry features [N, 15] and each sample's :meth:`view` [N, 16]."""
        return torch.sigmoid(self.colour_network(torch.cat([geometry, view], dim=-1)).float())


class ExplicitDecoder(nn.Module):
    """Linear density, and colour as a dot product with a learned basis of the direction (K-Planes, section 3.2)."""

    def __init__(self, features: int, width: int):
        super().__init__()
        self.density_weights = nn.Linear(features, 1, bias=False)
        self.basis_network = mlp(3, 3 * features, width, hidden_layers=2, bias=True)

    def density(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Densities [N] and what the colour needs, the features themselves."""
        return truncated_exponential(self.density_weights(features)[:, 0]), features

    def view(self, directions: Tensor) -> Tensor:
        """What a ray's colours need of its unit direction [R, 3]: the colour basis, [R, 3 * features]."""
        return self.basis_network(directions)

    def colour(self, geometry: Tensor, view: Tensor) -> Tensor:
        """Colours in [0, 1], shape [N, 3], from features [N, F] and each sample's :meth:`view` [N, 3 F]."""
        return torch.sigmoid((view.reshape(len(view), 3, -1) * geometry[:, None]).sum(dim=-1))


class KPlanesField(nn.Module):
    """Planes and a decoder."""

    def __init__(self, planes: PlaneGrid, decoder: HybridDecoder | ExplicitDecoder):
        super().__init__()
        self.planes = planes
        self.decoder = decoder

    def density(self, points: Tensor, times: Tensor, static: bool = False) -> tuple[Tensor, Tensor]:
        """Densities [N] and what the colour needs, at points in [-1, 1]^3 [N, 3] and times in [-1, 1] [N]."""
        return self.decoder.density(self.planes(points, times, static))

    def colour(self, geometry: Tensor, directions: Tensor, ray: Tensor) -> Tensor:
        """Colours in [0, 1], shape [N, 3].

        Args:
            geometry: of the samples, shape [N, ...].
            directions: unit directions of the rays, shape [R, 3]; what depends on them alone is computed once a ray.
            ray: which ray each sample lies on, int64, shape [N].
        """
        # index_select, here and in the adapter: the backward pass of plain indexing is many times slower on a CPU.
        return self.decoder.colour(geometry, self.decoder.view(directions).index_select(0, ray))


class DensityField(nn.Module):
    """A density-only plane field, the proposal network of K-Planes (section 3.4)."""

    def __init__(self, resolution: int, time_resolution: int, channels: int, engine: str = "torch"):
        super().__init__()
        self.planes = PlaneGrid([resolution], time_resolution, channels, engine)
        self.network = mlp(channels, 1, 64, hidden_layers=1)

    def forward(self, points: Tensor, times: Tensor) -> Tensor:
        """Densities, shape [N], at points in [-1, 1]^3 [N, 3] and times in [-1, 1] [N]."""
        return truncated_exponential(self.network(self.planes(points, times))[:, 0])
