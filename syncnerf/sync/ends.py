"""The beginnings and ends of videos, sample by sample: do they agree with the others' a few samples away instead?"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from syncnerf.sync.frame_products import FrameProducts

FARTHEST = 7
"""Samples by which an end is moved at most ..."""
WIDEST = FARTHEST + 2
"""... and those that are kept for it: the found offset may be a sample beside the pair's lag, and lies between two."""
LONGEST = 3000
"""Samples of a video whose ends are looked at, at most; longer ones have enough windows of time to tell a jump."""
CLEARLY, LEAST_GAIN = 2.0, 1.0
"""By so many standard errors, as an end's own samples tell it, does it agree better elsewhere, and by so many of what
samples that have nothing in common would. Measured on 14 rendered and recorded scenes and on 96 rigs of three and four
of their cameras: of 529 cameras that nothing ails none reaches both; of 72 in six whole rigs that lose one to seven
frames, or hold one for as long, 66 do."""
ALIKE = 0.95
"""Share of the clearest change's standard errors that others reach which are as likely to be the cause."""


@dataclass(frozen=True)
class NearLags:
    """How two cameras agree at each moment around the lag of their whole videos.

    Attributes:
        first: global index of the one camera.
        second: global index of the other.
        values: products of their signals at shifts -9 .. 9 about ``lag``, in what they vary by at farther ones, zero
            where one of them says nothing, float16, shape [T, 19].
        told: whether both say something there, bool, likewise.
        lag: offset[first] - offset[second] to which the middle column belongs, seconds.
        begins: of the first sample on either camera's own clock at that lag, seconds.
        interval: seconds per sample.
    """

    first: int
    second: int
    values: Float[Tensor, "T D"]
    told: Bool[Tensor, "T D"]
    lag: float
    begins: tuple[float, float]
    interval: float


def near_lags(pair: tuple[int, int], products: FrameProducts, begins: tuple[float, float]) -> NearLags | None:
    """What products around a peak say of each moment; None where they are too many, or none are far from the peak.

    Args:
        pair: global indices of the cameras.
        products: of their signals.
        begins: where the samples begin on either camera's own clock, seconds.
    """
    middle = products.values.shape[1] // 2
    inner = slice(middle - WIDEST, middle + WIDEST + 1)
    far = torch.ones(products.values.shape[1], dtype=torch.bool)
    far[inner] = False
    count, power = products.shared[:, far].sum(), products.values[:, far].square().sum()
    if len(products.values) > LONGEST or not (count > 0 and power > 0):
        return None
    values, told = products.values[:, inner] * (count / power).sqrt(), products.shared[:, inner] > 0
    moved = products.whole * products.interval
    lag, begins = moved + begins[1] - begins[0], (begins[0], begins[1] + moved)
    return NearLags(*pair, values.half(), told, lag, begins, products.interval)


def end_changes(
    offsets: Float64[Tensor, " C"],
    near: Sequence[NearLags],
    interval: float,
    rates: Float64[Tensor, " C"] | None = None,
    jumping: Bool[Tensor, " C"] | None = None,
) -> Float64[Tensor, " C"]:
    """By how much the offset of the beginning or the end of each camera's video differs from the whole's.

    Clocks that are known to jump go first, and then those whose ends agree better elsewhere most clearly: what their
    pairs say against the others is their own doing. Of what is left, one pair alone, which an occlusion may fool, says
    nothing any more; and a camera that is compared with none but the latter is as unsure.

    Args:
        offsets: of the cameras, seconds; NaN where undetermined.
        near: of the pairs that the offsets rest on.
        interval: seconds per frame.
        rates: of their clocks, no unit; 0 if None.
        jumping: clocks that something else says to jump; none if None.

    Returns:
        Seconds, float64, shape [C]; 0 where both ends agree best with the found offset.
    """
    changes, rates = torch.zeros_like(offsets), torch.zeros_like(offsets) if rates is None else rates
    known = set() if jumping is None else set(jumping.nonzero()[:, 0].tolist())
    for camera in known:
        changes[camera] = _change(offsets, rates, near, camera, interval)[0]
    left = near = _without(near, known)
    while left:
        told = {c: _change(offsets, rates, left, c, interval, alone=not known) for c in _compared(left)}
        clearest = max(clearly for _, clearly in told.values())
        found = {c for c, (change, clearly) in told.items() if change and clearly >= ALIKE * clearest}
        if not found:
            break
        for camera in found:
            changes[camera] = told[camera][0]
        known, left = known | found, _without(left, found)
    for camera in _compared(near) - _compared(left):
        changes[camera] = changes[camera] or changes.abs().max()
    return changes


def _without(near: Sequence[NearLags], cameras: set[int]) -> list[NearLags]:
    """The pairs that none of some cameras is in."""
    return [each for each in near if not {each.first, each.second} & cameras]


def _compared(near: Sequence[NearLags]) -> set[int]:
    """The cameras of some pairs."""
    return {camera for each in near for camera in (each.first, each.second)}


def _change(
    offsets: Tensor, rates: Tensor, near: Sequence[NearLags], camera: int, interval: float, alone: bool = True
) -> tuple[float, float]:
    """By how much an end of one camera's video is moved, seconds, and how clearly; zeros where neither is.

    With ``alone`` one of its pairs may say so alone.
    """
    own = [each for each in near if camera in (each.first, each.second)]
    if not own:
        return 0.0, 0.0
    gains = [_gains(offsets, rates, each, camera, interval) for each in own]
    begin = min(int(places.min()) for places, _ in gains)
    length = max(int(places.max()) for places, _ in gains) + 1 - begin
    spread = torch.zeros(len(own), 2 * FARTHEST + 1, length, dtype=torch.float64)
    for row, (places, gain) in zip(spread, gains, strict=True):
        row.scatter_add_(1, places - begin, gain)
    best = 0.0, 0.0
    for side in (spread, spread.flip(2)):
        part = side[..., : length // 2 + 1]
        total, gained = part.sum(0) / len(own) ** 0.5, part.cumsum(2)
        more = gained.sum(0) / len(own) ** 0.5
        clearly = more / total.square().cumsum(1).sqrt().clamp_min(1e-9)
        clearly[more < LEAST_GAIN * torch.arange(1, part.shape[2] + 1).sqrt()] = 0
        if not alone:
            clearly[gained.sum(0) <= gained.amax(0)] = 0
        highest = float(clearly.max())
        if highest > max(CLEARLY, best[1]):
            best = (int(clearly.amax(1).argmax()) - FARTHEST) * own[0].interval, highest
    return best


def _gains(offsets: Tensor, rates: Tensor, near: NearLags, camera: int, interval: float) -> tuple[Tensor, Tensor]:
    """By how much better a pair agrees at each of its samples if one camera's offset changed.

    Returns:
        Frames of the camera that the samples are, int64, shape [2 * FARTHEST + 1, T]; and the gains of changes by
        -FARTHEST .. FARTHEST samples, likewise.
    """
    first, second, step = near.first, near.second, near.interval
    samples = torch.arange(len(near.values), dtype=torch.float64)
    times = near.begins[0] + (samples + 0.5) * step
    lag = offsets[first] - offsets[second] + rates[first] * times - rates[second] * (times + near.lag)
    place = ((lag - near.lag) / step).clamp(-1, 1)
    whole = place.floor().long().clamp_max(0)
    share = (place - whole)[:, None]
    sign = 1 if camera == first else -1
    columns = WIDEST + whole[:, None] + sign * torch.arange(-FARTHEST, FARTHEST + 1)
    values, told = near.values.double(), near.told
    between = (1 - share) * values.gather(1, columns) + share * values.gather(1, columns + 1)
    known = told.gather(1, columns) & told.gather(1, columns + 1)
    gain = (between - between[:, FARTHEST : FARTHEST + 1]) * (known & known[:, FARTHEST : FARTHEST + 1])
    # A sample of the second camera meets another one of the first at each shift.
    moved = torch.zeros_like(columns) if camera == first else columns - WIDEST
    places = (near.begins[camera == second] + (samples[:, None] + moved) * step) / interval
    return places.round().long().T, gain.T
