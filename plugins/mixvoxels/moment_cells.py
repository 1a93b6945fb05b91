"""When the cells of a box may hold something, and what: asked for all moments of a point at once."""

import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from torch import Tensor, nn

from syncnerf.rendering.occupancy import TimedCells
from syncnerf.rendering.occupied_steps import time_bins

NOTHING, STILL, MOVING = 0, 1, 2
"""What a cell may hold in an interval: MOVING for anything."""


class MomentCells(nn.Module):
    """What cells of the cube [-1, 1]^3 may hold over time, of which hulls tell.

    The intervals of a cell lie together in memory: what is asked of a point at once is found in one place.

    Args:
        resolution: cells per side.
        intervals: of time, over [-1, 1].
        hull: see :class:`syncnerf.rendering.occupancy.TimedCells`.
        moving: the same of what moves; None where that can be wherever anything can.
    """

    def __init__(
        self, resolution: int, intervals: int, hull: Bool[Tensor, "*T X Y Z"] | None,
        moving: Bool[Tensor, "T X Y Z"] | None = None,
    ):  # fmt: skip
        super().__init__()
        cube = torch.tensor([[-1.0] * 3, [1.0] * 3])
        occupied = TimedCells(cube, resolution, intervals, hull).occupied
        moves = occupied if moving is None else TimedCells(cube, resolution, intervals, moving).occupied
        contents = torch.where(occupied & moves, MOVING, torch.where(occupied, STILL, NOTHING))
        self.register_buffer("contents", contents.to(torch.uint8).movedim(0, -1).contiguous())

    def at(
        self, points: Float[Tensor, "M 3"], times: Float64[Tensor, "N T"], rows: Int64[Tensor, " M"]
    ) -> UInt8[Tensor, "M T"]:
        """What points [M, 3] may hold at times [N, T] of their rows [M]: NOTHING, STILL or MOVING, uint8 [M, T]."""
        side, intervals = self.contents.shape[-2:]
        cells = (0.5 * side * (points + 1.0)).floor()
        inside = ((cells >= 0) & (cells < side)).all(dim=-1)
        cells = cells.clamp(0, side - 1).long()
        flat = (cells[:, 0] * side + cells[:, 1]) * side + cells[:, 2]
        contents = self.contents.reshape(-1, intervals).index_select(0, flat) * inside[:, None]
        return contents.gather(1, time_bins(times, intervals).long().index_select(0, rows))
