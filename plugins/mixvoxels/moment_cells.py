"""When the cells of a box may hold something: asked for all moments of a point at once."""

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn

from syncnerf.rendering.occupancy import TimedCells
from syncnerf.rendering.occupied_steps import time_bins


class MomentCells(nn.Module):
    """Cells of the cube [-1, 1]^3 over time that may hold something, of which a hull tells.

    The intervals of a cell lie together in memory: what is asked of a point at once is found in one place.

    Args:
        resolution: cells per side.
        intervals: of time, over [-1, 1].
        hull: see :class:`syncnerf.rendering.occupancy.TimedCells`.
    """

    def __init__(self, resolution: int, intervals: int, hull: Bool[Tensor, "*T X Y Z"] | None):
        super().__init__()
        cells = TimedCells(torch.tensor([[-1.0] * 3, [1.0] * 3]), resolution, intervals, hull)
        self.register_buffer("occupied", cells.occupied.movedim(0, -1).contiguous())

    def contains(
        self, points: Float[Tensor, "M 3"], times: Float64[Tensor, "N T"], rows: Int64[Tensor, " M"]
    ) -> Bool[Tensor, "M T"]:
        """Whether points [M, 3] lie in cells that are occupied at times [N, T] of their rows [M], bool [M, T]."""
        side, intervals = self.occupied.shape[-2:]
        cells = (0.5 * side * (points + 1.0)).floor()
        inside = ((cells >= 0) & (cells < side)).all(dim=-1)
        cells = cells.clamp(0, side - 1).long()
        flat = (cells[:, 0] * side + cells[:, 1]) * side + cells[:, 2]
        occupied = self.occupied.reshape(-1, intervals).index_select(0, flat) & inside[:, None]
        return occupied.gather(1, time_bins(times, intervals).long().index_select(0, rows))
