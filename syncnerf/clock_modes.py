"""How the clocks of many cameras can be wrong together so that a field hardly shows it.

If the cameras' shifts are a linear function of where the cameras stand, each moving surface appears displaced a little
further to one side in every next camera, much as it would if it were nearer or farther away. A field takes that for
its geometry: the loss bends several times less along these directions than the single cameras' clocks suggest, and
their part of each gradient is lost in its noise. (Measured with the demo's K-Planes: with the field held, a step of
least squares takes back 0.4 of what the shifts err otherwise, but 0.1 of what they err along these directions.)
"""

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

FLAT = 1e-3
"""Extent of a rig along one direction, as a share of its largest, below which it has none."""


def place_modes(places: Float64[Tensor, "C 3"], trained: Bool[Tensor, " C"]) -> Float64[Tensor, "C K"]:
    """Shifts that are linear functions of the cameras' places, as orthonormal columns, float64, shape [C, K].

    Each sums up to zero, for a shift of all cameras is no error at all. Rows of cameras that are not trained are zero.

    Args:
        places: where the cameras stand, in any unit, float64, shape [C, 3].
        trained: which of them are trained, bool, shape [C].
    """
    own = places[trained]
    columns, extents, _ = torch.linalg.svd(own - own.mean(dim=0), full_matrices=False)
    columns = columns[:, (extents > FLAT * extents[0]) & (extents > 0.0)]
    modes = places.new_zeros(len(places), columns.shape[1])
    modes[trained] = columns
    return modes
