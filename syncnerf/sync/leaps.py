"""Frames that a video lacks and its times do not tell of, seen in its own motion: there all moves too far at once."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

BLOCK = 10
"""Pixels of blocks whose motion is looked at together."""
MORE = 1.25
"""Times the larger one of its neighbours that a block's motion reaches where it moves too far ..."""
LEAST, LEAST_ANEW = 0.4, 0.6
"""... and the share of the motion around that must do so, in blocks that move before and after. As large must the
logarithm to base 2 be of how many times as much moves in all, and in the median block, as before and after. The second
is for intervals in which the still background changes too. Measured: in 19000 intervals of 35 scenes the least of the
three is 0.33 at most (recordings at 30 frames per second: 0.14); where one frame is lost it is 0.4 to 1.1 in six of
seven cases, where more are from 0.5 on, but for what always moves by more than its size. Strongly compressed videos are
not judged: what they hold back comes out later, all at once."""


@dataclass(frozen=True)
class Leap:
    """A place where a video lacks frames.

    Attributes:
        interval: index of the file's interval that spans them: frame ``interval`` is the last one before.
        steps: about how many usual intervals it spans; of more than three no more than that is known.
    """

    interval: int
    steps: float


def leaps(
    values: Float[Tensor, "P I"],
    pixels: Int64[Tensor, " P"],
    columns: int,
    informative: Bool[Tensor, " I"],
    refreshed: Bool[Tensor, " I"] | None = None,
) -> tuple[Leap, ...]:
    """The intervals that hold the motion of several.

    Args:
        values: energy of pixels in each interval, shape [P, I].
        pixels: their places in the map (row * columns + column), shape [P].
        columns: of the map.
        informative: which intervals say something; one next to another kind is not judged, shape [I].
        refreshed: in which the background changes as well, shape [I]; None for nowhere.
    """
    if values.shape[1] < 3 or len(pixels) == 0:
        return ()
    totals = values.sum(0, dtype=torch.float32)
    anew = torch.zeros_like(informative) if refreshed is None else refreshed
    least = torch.where(anew, LEAST_ANEW, LEAST)[1:-1]
    excess = torch.log2((totals[1:-1] + 1) / (torch.maximum(totals[:-2], totals[2:]) + 1))
    judged = informative[:-2] & informative[1:-1] & informative[2:]
    row, column = pixels.div(columns * BLOCK, rounding_mode="floor"), pixels % columns // BLOCK
    block = row * (columns // BLOCK + 1) + column
    found = []
    for before in (judged & (excess > least)).nonzero()[:, 0].tolist():
        near = torch.zeros(int(block.max()) + 1, 3)
        near.index_add_(0, block, values[:, before : before + 3].float())
        usual, own = 0.5 * (near[:, 0] + near[:, 2]), near[:, 1]
        share = usual[own > MORE * torch.maximum(near[:, 0], near[:, 2])].sum() / usual.sum().clamp_min(1)
        typical = _median(torch.log2((own + 1) / (usual + 1)), usual)
        if min(float(share), typical) > least[before]:
            found.append(Leap(before + 1, max(2.0, 2 ** float(excess[before]))))
    return tuple(found)


def _median(values: Float[Tensor, " N"], weights: Float[Tensor, " N"]) -> float:
    """The value that half of the weight lies below."""
    order = values.argsort()
    passed = weights[order].cumsum(0)
    return float(values[order][int((passed >= 0.5 * passed[-1]).int().argmax())])
