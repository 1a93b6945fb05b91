"""How the clocks of many cameras can be wrong together so that a field hardly shows it.

If the cameras' shifts are a linear function of where the cameras stand, each moving surface appears displaced a little
further to one side in every next camera, much as it would if it were nearer or farther away. A field takes that for
its geometry: the loss bends several times less along these directions than the single cameras' clocks suggest, and
their part of each gradient is lost in its noise. (Measured with the demo's K-Planes: with the field held, a step of
least squares takes back 0.4 of what the shifts err otherwise, but 0.1 of what they err along these directions.)

A readout time that all cameras share is nearly a field whose upper parts are early, and hardly shows either. In both
cases what the cameras' gradients have in common is added to them again.
"""

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

HASTE = 5.0
"""How often a shift's gradient is added again along the directions that depend on the places. In a garden, whose errors
lie nearly all along them, 5 and 10 do alike."""
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


def hastened(gradient: Float64[Tensor, " C"], modes: Float64[Tensor, "C K"]) -> Float64[Tensor, " C"]:
    """What is to be added to the shifts' gradients so that they follow the modes sooner, float64, shape [C].

    Args:
        gradient: of the shifts, a running mean over many steps, float64, shape [C].
        modes: of :func:`place_modes`, float64, shape [C, K].
    """
    return HASTE * modes @ (modes.T @ gradient)


def common_readout(gradient: Float64[Tensor, " C"], trained: Bool[Tensor, " C"]) -> Float64[Tensor, " C"]:
    """What the cameras' gradients of their readout times have in common, to be added to each, float64, shape [C].

    In the noise of a single camera's gradient it is lost; in their sum, which is brought to the noise of a single one,
    it is not.

    Args:
        gradient: of the readout times, of a single step, float64, shape [C].
        trained: which cameras are trained, bool, shape [C]; the others get nothing.
    """
    common = gradient.nan_to_num(0.0, 0.0, 0.0).sum() / trained.sum().to(gradient.dtype).sqrt()
    return torch.where(trained, common, 0.0)
