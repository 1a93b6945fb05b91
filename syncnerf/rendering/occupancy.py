"""A grid of cells that may hold something at some time; space that is always empty costs nothing."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from syncnerf.rendering.ray_samples import RaySamples, clip_to_box
from syncnerf.scene.rays import Rays


class OccupancyGrid(nn.Module):
    """Occupied cells of a box, from a visual hull at first and from the field's density later.

    Args:
        bounds: corners of the box, float32, shape [2, 3].
        resolution: cells per side.
        occupied: cells that may hold something, bool, shape [X, Y, Z] of any resolution; None for all.
    """

    def __init__(self, bounds: Tensor, resolution: int, occupied: Tensor | None = None):
        super().__init__()
        self.resolution = resolution
        start = torch.ones(resolution, resolution, resolution, dtype=torch.bool)
        if occupied is not None:
            coarse = torch.nn.functional.interpolate(occupied.float()[None, None], size=(resolution,) * 3)
            start = coarse[0, 0] > 0
        self.register_buffer("bounds", bounds.clone(), persistent=False)
        self.register_buffer("possible", start.clone())
        self.register_buffer("occupied", start)
        self.register_buffer("density", torch.zeros(start.shape))
        self.register_buffer("box", bounds.clone())
        self._fit_box()

    def contains(self, points: Tensor) -> Tensor:
        """Whether points lie in occupied cells, bool; points [..., 3] in the units of the bounds."""
        unit = (points - self.bounds[0]) / (self.bounds[1] - self.bounds[0])
        cells = (unit * self.resolution).long()
        inside = ((cells >= 0) & (cells < self.resolution) & (unit >= 0)).all(dim=-1)
        cells = cells.clamp(0, self.resolution - 1)
        flat = (cells[..., 0] * self.resolution + cells[..., 1]) * self.resolution + cells[..., 2]
        return self.occupied.reshape(-1)[flat] & inside

    def march(self, rays: Rays, step: float, generator: torch.Generator | None) -> RaySamples:
        """Steps of equal length through the box of occupied cells; those outside occupied cells are marked as such.

        Args:
            rays: N rays.
            step: length of a step.
            generator: shifts each ray's steps by a random part of one; None for half a step.
        """
        enter, leave = clip_to_box(rays, self.box)
        count = max(1, int(((leave - enter).max() / step).ceil())) if len(rays) else 1
        if generator is None:
            shift = torch.full_like(enter, 0.5)
        else:
            shift = torch.rand(len(rays), generator=generator, device=enter.device)
        steps = torch.arange(count + 1, device=enter.device)[None] - 0.5 + (shift[:, None] - 0.5)
        samples = RaySamples(enter[:, None] + step * steps)
        middles = samples.middles
        points = rays.origins[:, None] + middles[..., None] * rays.directions[:, None]
        samples.inside = self.contains(points) & (middles < leave[:, None]) & (middles > enter[:, None])
        return samples

    @torch.no_grad()
    def update(
        self, density: Callable[[Tensor], Tensor], threshold: float, decay: float, generator: torch.Generator
    ) -> None:
        """Look at the field's density in every possible cell, at a random place in it, and mark the dense ones.

        The largest density seen decays, so that a cell is dropped only after several looks (instant-ngp, section E.2).

        Args:
            density: densities [M] at points [M, 3]; it chooses the times itself.
            threshold: density above which a cell counts as occupied.
            decay: factor on the remembered density.
            generator: places within cells.
        """
        cells = self.possible.nonzero()
        place = torch.rand(cells.shape, generator=generator, device=cells.device)
        points = self.bounds[0] + (cells + place) / self.resolution * (self.bounds[1] - self.bounds[0])
        seen = torch.cat([density(part) for part in points.split(65536)]) if len(points) else points[:, 0]
        index = tuple(cells.T)
        self.density[index] = torch.maximum(self.density[index] * decay, seen)
        dense = self.density > threshold
        if dense.any():
            # A neighbour of a dense cell may hold the rest of a surface that moves or has yet to form.
            spread = torch.nn.functional.max_pool3d(dense.float()[None, None], 3, stride=1, padding=1)[0, 0] > 0
            self.occupied = spread & self.possible
            self._fit_box()

    def _fit_box(self) -> None:
        cells = self.occupied.nonzero()
        if len(cells):
            size = (self.bounds[1] - self.bounds[0]) / self.resolution
            low, high = cells.amin(0), cells.amax(0) + 1
            self.box = torch.stack([self.bounds[0] + low * size, self.bounds[0] + high * size])
