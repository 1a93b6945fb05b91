"""A grid of cells that may hold something; space that is empty, always or at the queried time, costs nothing."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from syncnerf.rendering.occupied_steps import cells_hold, occupied_steps, time_bins
from syncnerf.rendering.ray_samples import RaySamples
from syncnerf.scene.rays import Rays, clip_to_box

DROPPED = 0.25
"""Share of the cells that were dropped of which a look asks whether they have filled again."""


class TimedCells(nn.Module):
    """Cells of a box over time that may hold something, of which a hull tells.

    Args:
        bounds: corners of the box, float32, shape [2, 3].
        resolution: cells per side.
        time_bins: cells along time, over [-1, 1]; 1 for cells that are occupied at any time.
        hull: cells that may hold something at some time, bool, shape [X, Y, Z] of any resolution, or in each of equal
            intervals of [-1, 1], shape [T, X, Y, Z]; None for all.
    """

    def __init__(
        self,
        bounds: Float[Tensor, "2 3"],
        resolution: int,
        time_bins: int = 1,
        hull: Bool[Tensor, "*T X Y Z"] | None = None,
    ):
        super().__init__()
        self.resolution, self.time_bins = resolution, time_bins
        occupied = torch.ones(time_bins, resolution, resolution, resolution, dtype=torch.bool)
        if hull is not None:
            occupied.copy_(_pooled(hull.reshape(-1, *hull.shape[-3:]), time_bins, resolution))
        self.register_buffer("bounds", bounds.clone(), persistent=False)
        self.register_buffer("occupied", occupied)

    def contains(self, points: Float[Tensor, "*#shape 3"], times: Float[Tensor, "*#shape"]) -> Bool[Tensor, "*#shape"]:
        """Whether points lie in cells that are occupied at their times, bool, shape [...].

        Args:
            points: in the units of the bounds, shape [..., 3].
            times: in [-1, 1], shape [...] or one that broadcasts with it.
        """
        return cells_hold(self.occupied, self.bounds, points, time_bins(times, self.time_bins))


class OccupancyGrid(TimedCells):
    """Occupied cells of a box over time, from a visual hull at first and from the field's density later.

    Its tensors keep their places in memory: what was recorded with them stays valid. Arguments are those of
    :class:`TimedCells`.
    """

    def __init__(self, *cells: Any, **named: Any):
        super().__init__(*cells, **named)
        self.register_buffer("possible", self.occupied.clone())
        # Only compared with a threshold: 16 bits halve the checkpoint.
        self.register_buffer("density", torch.zeros(self.occupied.shape, dtype=torch.bfloat16))
        self.register_buffer("box", self.bounds.clone())
        self._fit_box()

    def march(
        self,
        rays: Rays,
        times: Float[Tensor, " N"],
        step: float,
        generator: torch.Generator | None,
        count: int | None = None,
    ) -> RaySamples:
        """Steps of equal length through the box of occupied cells; those outside occupied cells are marked as such.

        Args:
            rays: N rays.
            times: in [-1, 1], shape [N].
            step: length of a step.
            generator: shifts each ray's steps by a random part of one; None for half a step.
            count: number of steps, enough for the longest way through the bounds; None for no more than these rays
                need, which waits for the device.
        """
        enter, leave = clip_to_box(rays, self.box)
        if count is None:
            count = max(1, int(((leave - enter).max() / step).ceil())) if len(rays) else 1
        if generator is None:
            shift = torch.full_like(enter, 0.5)
        else:
            shift = torch.rand(len(rays), generator=generator, device=enter.device)
        # The middles, where the field is asked, lie at enter + (0, 1, 2, ... + shift) * step.
        steps = torch.arange(count + 1, device=enter.device)[None] + (shift[:, None] - 0.5)
        samples = RaySamples(enter[:, None] + step * steps)
        in_box, bins = Rays(rays.origins, rays.directions, enter, leave), time_bins(times, self.time_bins)
        samples.inside = occupied_steps(self.occupied, self.bounds, in_box, samples.middles, bins)
        return samples

    @torch.no_grad()
    def update(
        self,
        density: Callable[[Float[Tensor, "M 3"], Float[Tensor, " M"]], Float[Tensor, " M"]],
        threshold: float,
        decay: float,
        generator: torch.Generator,
    ) -> None:
        """Look at the field's density once in every occupied cell, at a random place and time in it.

        The largest density seen decays, so that a cell is dropped only after several looks (instant-ngp, section E.2);
        neighbours of dense cells, in space and time, stay occupied: they may hold the rest of a surface that moves.
        Nothing is trained in cells that were dropped: they are looked at in turns, a :data:`DROPPED` of them at a time.

        Args:
            density: densities [M] at points [M, 3] in the units of the bounds and times [M] in [-1, 1].
            threshold: density above which a cell counts as occupied.
            decay: factor on the remembered density.
            generator: places and times within cells.
        """
        self.density *= decay
        for time_bin, (possible, occupied) in enumerate(zip(self.possible, self.occupied, strict=True)):
            cells = possible.nonzero()
            asked = torch.rand(len(cells), generator=generator, device=cells.device) < DROPPED
            cells = cells[occupied[possible] | asked]
            draws = torch.rand(len(cells), 4, generator=generator, device=cells.device)
            points = self.bounds[0] + (cells + draws[:, :3]) / self.resolution * (self.bounds[1] - self.bounds[0])
            times = (time_bin + draws[:, 3]) / self.time_bins * 2 - 1
            index = (time_bin, *cells.T)
            self.density[index] = torch.maximum(self.density[index], density(points, times).bfloat16())
        dense = self.density > threshold
        if dense.any():
            self.occupied.copy_(with_neighbours(dense) & self.possible)
            self._fit_box()

    def _fit_box(self) -> None:
        cells = self.occupied.any(dim=0).nonzero()
        if len(cells):
            size = (self.bounds[1] - self.bounds[0]) / self.resolution
            low, high = cells.amin(0), cells.amax(0) + 1
            self.box.copy_(torch.stack([self.bounds[0] + low * size, self.bounds[0] + high * size]))


def with_neighbours(cells: Bool[Tensor, "T X Y Z"]) -> Bool[Tensor, "T X Y Z"]:
    """Cells, and those that touch any of them, in space and time."""
    for axis in range(4):
        spread = cells.clone()
        for part, beside in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            spread[(slice(None),) * axis + (part,)] |= cells[(slice(None),) * axis + (beside,)]
        cells = spread
    return cells


def _pooled(hull: Bool[Tensor, "T X Y Z"], time_bins: int, resolution: int) -> Bool[Tensor, "bins R R R"]:
    """A hull at another resolution: a cell is marked where it overlaps any cell of the hull."""
    intervals, pooled = len(hull), []
    for time_bin in range(time_bins):
        first, last = time_bin * intervals // time_bins, -(-(time_bin + 1) * intervals // time_bins)
        part = hull[first:last].any(dim=0).float()
        pooled.append(torch.nn.functional.adaptive_max_pool3d(part[None, None], resolution)[0, 0] > 0)
    return torch.stack(pooled)
