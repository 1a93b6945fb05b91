"""Vector-matrix decomposed grids that can be resampled while they train."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.encodings.plane_samples import plane_samples
from syncnerf_mixvoxels.vm_lookup import LINE_AXES, PLANE_AXES, vm_features


class VMGrid(nn.Module):
    """Three planes and three lines whose products are the features of a box (TensoRF, section 4.1).

    Planes and lines start as normal noise. A checkpoint of another resolution loads: the grids take its shape.

    Args:
        resolution: cells along x, y and z.
        ranks: features of the planes xy, xz and yz, each with its line.
        scale: standard deviation of the start.
    """

    def __init__(self, resolution: Sequence[int], ranks: Sequence[int], scale: float = 0.1):
        super().__init__()
        self.planes = nn.ParameterList(
            scale * torch.randn(resolution[second], resolution[first], rank)
            for (first, second), rank in zip(PLANE_AXES, ranks, strict=True)
        )
        self.lines = nn.ParameterList(
            scale * torch.randn(resolution[axis], rank) for axis, rank in zip(LINE_AXES, ranks, strict=True)
        )
        self.width = sum(ranks)

    def forward(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N width"]:
        """Features [N, width] of points in [-1, 1]^3, shape [N, 3]."""
        return vm_features(points, list(self.planes), list(self.lines))

    @torch.no_grad()
    def resample(self, resolution: Sequence[int], box: Float[Tensor, "2 3"] | None = None) -> None:
        """Replace the grids by linear samples of themselves; the parameters are new ones.

        Args:
            resolution: cells along x, y and z afterwards.
            box: the part of [-1, 1]^3 that becomes the new box, corners [2, 3]; all of it if None.
        """
        if box is None:
            box = torch.tensor([[-1.0] * 3, [1.0] * 3])
        box = box.to(self.lines[0])
        ticks = [torch.linspace(low, high, n).to(box) for low, high, n in zip(*box.tolist(), resolution, strict=True)]
        for index, (first, second) in enumerate(PLANE_AXES):
            at = torch.stack(torch.meshgrid(ticks[first], ticks[second], indexing="xy"), dim=-1)
            self.planes[index] = nn.Parameter(_resampled(self.planes[index], at))
        for index, axis in enumerate(LINE_AXES):
            at = torch.stack([torch.zeros_like(ticks[axis]), ticks[axis]], dim=-1)[:, None]
            self.lines[index] = nn.Parameter(_resampled(self.lines[index][:, None], at)[:, 0])

    def total_variation(self) -> Float[Tensor, ""]:
        """Mean squared difference of neighbours, over planes and lines (TensoRF, section 4.4)."""
        terms = [(plane[1:] - plane[:-1]).square().mean() for plane in (*self.planes, *self.lines)]
        terms += [(plane[:, 1:] - plane[:, :-1]).square().mean() for plane in self.planes]
        return torch.stack(terms).sum()

    def magnitude(self) -> Float[Tensor, ""]:
        """Mean absolute value, over planes and lines: the L1 loss that makes a field sparse (TensoRF, equation 11)."""
        return torch.stack([grid.abs().mean() for grid in (*self.planes, *self.lines)]).sum()

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        for name in ("planes", "lines"):
            grids = getattr(self, name)
            for index, grid in enumerate(grids):
                stored = state_dict.get(f"{prefix}{name}.{index}")
                if stored is not None and stored.shape != grid.shape and stored.shape[-1] == grid.shape[-1]:
                    grids[index] = nn.Parameter(grid.new_empty(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _resampled(plane: Tensor, at: Tensor) -> Tensor:
    """Bilinear samples [H, W, C] of a plane [second, first, C] at (first, second) in [-1, 1], shape [H, W, 2]."""
    return plane_samples(plane, at.reshape(-1, 2)).reshape(*at.shape[:2], -1).contiguous()
