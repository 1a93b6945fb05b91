"""Volume rendering of samples kept in one list, at T moments at once."""

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from syncnerf_mixvoxels.ray_weights import ray_weights


@dataclass
class PackedSamples:
    """Samples of N rays in one list, ray by ray and near to far.

    Attributes:
        rays: each sample's ray, ascending, int64, shape [M].
        points: in the field's cube [-1, 1]^3, float32, shape [M, 3].
        distances: along the ray, shape [M].
        lengths: of the samples' intervals in units of the space where samples are placed, shape [M].
        ray_count: N.
    """

    rays: Int64[Tensor, " M"]
    points: Float[Tensor, "M 3"]
    distances: Float[Tensor, " M"]
    lengths: Float[Tensor, " M"]
    ray_count: int

    def __len__(self) -> int:
        return len(self.rays)

    def __getitem__(self, chosen: Int64[Tensor, " K"]) -> "PackedSamples":
        """Samples at ascending places, int64; the rays keep their numbers."""
        parts = (value.index_select(0, chosen) for value in (self.rays, self.points, self.distances, self.lengths))
        return PackedSamples(*parts, self.ray_count)

    def weights(self, densities: Float[Tensor, "M T"]) -> Float[Tensor, "M T"]:
        """Weights [M, T] of the samples in their rays at T moments, from densities [M, T]; see :func:`ray_weights`."""
        return ray_weights(densities, self.lengths, self.rays, self.ray_count)

    def add_up(self, values: Float[Tensor, " M *values"]) -> Float[Tensor, " N *values"]:
        """Sums over the samples of each ray: values [M, ...] to [N, ...]."""
        return values.new_zeros(self.ray_count, *values.shape[1:]).index_add(0, self.rays, values)
