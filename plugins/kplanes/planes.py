"""Six planes per scale, and the losses that keep them smooth."""

from collections.abc import Callable, Hashable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf_kplanes.plane_lookup import PAIRS, plane_features

SPACE_PLANES, TIME_PLANES = (0, 1, 2), (3, 4, 5)


class PlaneGrid(nn.Module):
    """Multi-scale planes of a space-time volume (K-Planes, section 3.1).

    Space planes start uniform in [0.1, 0.5], space-time planes at exactly 1, which means static.

    Args:
        resolutions: cells per side of the spatial axes, one number per scale.
        time_resolution: cells along time, the same at every scale.
        channels: features per plane.
        engine: what the planes are sampled with, see :func:`syncnerf_kplanes.plane_lookup.plane_features`.
    """

    def __init__(self, resolutions: list[int], time_resolution: int, channels: int, engine: str = "torch"):
        super().__init__()
        self.engine = engine
        self.scales = len(resolutions)
        self.channels = channels
        self.time_resolution = max(2, time_resolution)
        planes = []
        for resolution in resolutions:
            sides = (resolution, resolution, resolution, self.time_resolution)
            for first, second in PAIRS:
                shape = (sides[second], sides[first], channels)
                planes.append(nn.Parameter(torch.ones(shape) if second == 3 else torch.empty(shape).uniform_(0.1, 0.5)))
        self.planes = nn.ParameterList(planes)
        self.blur: Tensor | None = None
        self._kernels: dict[tuple[int, torch.device], Tensor] = {}

    @property
    def width(self) -> int:
        """Number of features of a point."""
        return self.scales * self.channels

    def forward(
        self, points: Float[Tensor, "N 3"], times: Float[Tensor, " N"], static: bool = False
    ) -> Float[Tensor, "N width"]:
        """Features of points, float32, shape [N, width].

        Args:
            points: in [-1, 1]^3, shape [N, 3].
            times: in [-1, 1], shape [N].
            static: leave the space-time planes out (all ones): the static part of the decomposition.
        """
        coordinates = torch.cat([points, times[:, None].to(points.dtype)], dim=-1)
        return plane_features(coordinates, self.effective_planes(static), self.engine, not points.requires_grad)

    def effective_planes(self, static: bool = False) -> list[Float[Tensor, "_ _ _"]]:
        """The planes as they are sampled: space-time ones blurred along time where a blur is set, or all ones."""
        result = []
        for index, plane in enumerate(self.planes):
            if index % len(PAIRS) in TIME_PLANES:
                if static:
                    plane = torch.ones_like(plane)
                elif self.blur is not None:
                    plane = blur_along_time(plane, self.blur)
            result.append(plane)
        return result

    def set_blur(self, width: float) -> None:
        """Blur the space-time planes along time by a Gaussian of this standard deviation, on [-1, 1]; 0 for none.

        Wide at the start and narrowing, it makes time coarse to fine: offsets far from the truth still feel a slope.
        """
        self.blur = None
        cells = 0.5 * width * (self.time_resolution - 1)
        if cells > 0.05:
            radius = max(1, int(3 * cells + 0.5))
            ticks = torch.arange(-radius, radius + 1, device=self.planes[0].device, dtype=torch.float32)
            kernel = torch.exp(-0.5 * (ticks / cells) ** 2)
            # One place in memory per length: a recorded step reads what it holds by then.
            self.blur = self._kernels.setdefault((radius, kernel.device), torch.empty_like(kernel))
            torch.div(kernel, kernel.sum(), out=self.blur)

    @property
    def blur_kind(self) -> Hashable:
        """What decides the operations of the blur, beside its numbers."""
        return 0 if self.blur is None else len(self.blur)

    def penalties(self) -> dict[str, Callable[[], Float[Tensor, ""]]]:
        """Losses of the planes by the name of their weight."""
        return {
            "total_variation": self.total_variation,
            "time_smoothness": self.time_smoothness,
            "static": self.distance_from_static,
        }

    def total_variation(self) -> Float[Tensor, ""]:
        """Mean squared difference of neighbours, over all planes along space (K-Planes, equation 5)."""
        total = self.planes[0].new_zeros(())
        for index, plane in enumerate(self.planes):
            total = total + (plane[:, 1:] - plane[:, :-1]).square().mean()
            if index % len(PAIRS) in SPACE_PLANES:
                total = total + (plane[1:] - plane[:-1]).square().mean()
        return total

    def time_smoothness(self) -> Float[Tensor, ""]:
        """Mean squared second difference along time, over the space-time planes (K-Planes, equation 6)."""
        second = (p[2:] - 2 * p[1:-1] + p[:-2] for p in self._time_planes() if p.shape[0] > 2)
        return sum((difference.square().mean() for difference in second), start=self.planes[0].new_zeros(()))

    def distance_from_static(self) -> Float[Tensor, ""]:
        """Mean absolute distance of the space-time planes from 1 (K-Planes, equation 7)."""
        return torch.stack([(1 - plane).abs().mean() for plane in self._time_planes()]).sum()

    def _time_planes(self) -> list[Tensor]:
        return [plane for index, plane in enumerate(self.planes) if index % len(PAIRS) in TIME_PLANES]


def blur_along_time(
    plane: Float[Tensor, "time space channels"], kernel: Float[Tensor, " width"]
) -> Float[Tensor, "time space channels"]:
    """Convolve a plane [time, space, channels] along time; the border repeats."""
    time, space, channels = plane.shape
    rows = plane.reshape(time, -1).T[:, None]
    radius = len(kernel) // 2
    padded = torch.nn.functional.pad(rows, (radius, radius), mode="replicate")
    return torch.nn.functional.conv1d(padded, kernel[None, None])[:, 0].T.reshape(time, space, channels)
