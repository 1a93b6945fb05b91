"""Space that too few cameras look at holds nothing: what a field puts there only hides what it lacks elsewhere."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from syncnerf.rendering.occupied_steps import cells_hold


class Overlooked(nn.Module):
    """Cells of a box that too few cameras see, as :func:`syncnerf.scene.overlooked_cells.overlooked_cells` finds them.

    They follow from the cameras, so that no checkpoint has them.

    Args:
        bounds: corners of the box, float32, shape [2, 3].
        cells: bool, shape [R, R, R]; None if there are none.
    """

    def __init__(self, bounds: Float[Tensor, "2 3"], cells: Bool[Tensor, "R R R"] | None):
        super().__init__()
        self.known = cells is not None
        cells = torch.zeros(1, 1, 1, dtype=torch.bool) if cells is None else cells
        self.register_buffer("bounds", bounds.clone(), persistent=False)
        self.register_buffer("cells", cells[None], persistent=False)

    def forward(self, points: Float[Tensor, "*shape 3"]) -> Bool[Tensor, "*shape"]:
        """Whether points, shape [..., 3], in the units of the bounds, lie in such cells, bool, shape [...]."""
        return cells_hold(self.cells, self.bounds, points, torch.zeros_like(points[..., 0], dtype=torch.int32))
