"""The field: density and colour of a space-time point, from features of planes or hash grids."""

from collections.abc import Callable, Hashable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.encodings.fused_mlp import FusedMLP
from syncnerf.encodings.mlp import mlp
from syncnerf.encodings.spherical_harmonics import WIDTH, SphericalHarmonics
from syncnerf.rendering.compositing import truncated_exponential
from syncnerf.rendering.selection import Selection
from syncnerf.rendering.thinning import Thinned, unthinned

GEOMETRY_FEATURES = 15


class HybridDecoder(nn.Module):
    """Two small networks: features to density and geometry, those and the direction to colour (section 3.3).

    Args:
        features: of a point.
        width: of the hidden layers.
        start: density where the network says zero.
        engine: what the networks run on.
    """

    def __init__(self, features: int, width: int, start: float = 1.0, engine: str = "torch"):
        super().__init__()
        self.start = start
        self.density_network = FusedMLP(features, 1 + GEOMETRY_FEATURES, width, 1, engine)
        self.harmonics = SphericalHarmonics(engine)
        self.colour_network = FusedMLP(GEOMETRY_FEATURES + WIDTH, 3, width, 2, engine)

    def density(
        self, features: Float[Tensor, "N F"], thinned: Thinned = unthinned
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N G"]]:
        """Densities [N] and what the colour needs, [N, 15]."""
        output = thinned(self.density_network(features))
        return self.start * truncated_exponential(output[:, 0]), output[:, 1:]

    def view(self, directions: Float[Tensor, "R 3"]) -> Float[Tensor, "R V"]:
        """What a ray's colours need of its unit direction [R, 3]: spherical harmonics, [R, 16]."""
        return self.harmonics(directions)

    def colour(
        self, geometry: Float[Tensor, "N G"], view: Float[Tensor, "N V"], thinned: Thinned = unthinned
    ) -> Float[Tensor, "N 3"]:
        """Colours in [0, 1], shape [N, 3], from geometry features [N, 15] and each sample's :meth:`view` [N, 16]."""
        return torch.sigmoid(thinned(self.colour_network(torch.cat([geometry, view], dim=-1))).float())


class ExplicitDecoder(nn.Module):
    """Linear density, and colour as a dot product with a learned basis of the direction (K-Planes, section 3.2).

    Args:
        features: of a point.
        width: of the hidden layers.
        start: density where the linear map says zero.
    """

    def __init__(self, features: int, width: int, start: float = 1.0):
        super().__init__()
        self.start = start
        self.density_weights = nn.Linear(features, 1, bias=False)
        self.basis_network = mlp(3, 3 * features, width, hidden_layers=2, bias=True)

    def density(
        self, features: Float[Tensor, "N F"], thinned: Thinned = unthinned
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N G"]]:
        """Densities [N] and what the colour needs, the features themselves."""
        features = thinned(features)
        return self.start * truncated_exponential(self.density_weights(features)[:, 0]), features

    def view(self, directions: Float[Tensor, "R 3"]) -> Float[Tensor, "R V"]:
        """What a ray's colours need of its unit direction [R, 3]: the colour basis, [R, 3 * features]."""
        return self.basis_network(directions)

    def colour(
        self, geometry: Float[Tensor, "N G"], view: Float[Tensor, "N V"], thinned: Thinned = unthinned
    ) -> Float[Tensor, "N 3"]:
        """Colours in [0, 1], shape [N, 3], from features [N, F] and each sample's :meth:`view` [N, 3 F]."""
        return torch.sigmoid(thinned((view.reshape(len(view), 3, -1) * geometry[:, None]).sum(dim=-1)))


@runtime_checkable
class Features(Protocol):
    """What a field looks points up in: :class:`PlaneGrid` or :class:`SpaceTimeHash`, which say more."""

    width: int
    blur_kind: Hashable

    def __call__(
        self, points: Float[Tensor, "N 3"], times: Float[Tensor, " N"], static: bool = False
    ) -> Float[Tensor, "N width"]:
        """Features, shape [N, width], of points in [-1, 1]^3 and times in [-1, 1]; the static part of them alone."""

    def set_blur(self, width: float) -> None:
        """Tell no more of time than a blur of this standard deviation leaves, on the axis [-1, 1]; 0 for none."""

    def penalties(self) -> dict[str, Callable[[], Float[Tensor, ""]]]:
        """Regularisers by the name of their weight."""


class Field(nn.Module):
    """Features and a decoder."""

    def __init__(self, features: Features, decoder: HybridDecoder | ExplicitDecoder):
        super().__init__()
        self.features = features
        self.decoder = decoder

    def density(
        self,
        points: Float[Tensor, "N 3"],
        times: Float[Tensor, " N"],
        static: bool = False,
        thinned: Thinned = unthinned,
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, "N G"]]:
        """Densities [N] and what the colour needs, at points in [-1, 1]^3 [N, 3] and times in [-1, 1] [N]."""
        return self.decoder.density(self.features(points, times, static), thinned)

    def colour(
        self,
        geometry: Float[Tensor, "M G"],
        directions: Float[Tensor, "N 3"],
        selection: Selection,
        thinned: Thinned = unthinned,
    ) -> Float[Tensor, "M 3"]:
        """Colours in [0, 1], shape [M, 3].

        Args:
            geometry: of the samples, shape [M, ...].
            directions: unit directions of the rays, shape [N, 3]; what depends on them alone is computed once a ray.
            selection: which samples of those rays they are.
            thinned: thins the samples' gradients out (:mod:`syncnerf.rendering.thinning`).
        """
        return self.decoder.colour(geometry, selection.of_rays(self.decoder.view(directions)), thinned)


class DensityField(nn.Module):
    """A field of density alone, the proposal network of K-Planes (section 3.4)."""

    def __init__(self, features: Features, start: float = 1.0, engine: str = "torch"):
        super().__init__()
        self.features, self.start = features, start
        self.network = FusedMLP(features.width, 1, 64, 1, engine)

    def forward(
        self, points: Float[Tensor, "N 3"], times: Float[Tensor, " N"], thinned: Thinned = unthinned
    ) -> Float[Tensor, " N"]:
        """Densities, shape [N], at points in [-1, 1]^3 [N, 3] and times in [-1, 1] [N]."""
        return self.start * truncated_exponential(thinned(self.network(self.features(points, times)))[:, 0])
