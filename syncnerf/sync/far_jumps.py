"""Clocks that jump by more than a few frames: where a camera's offset explains nothing, another one does."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from syncnerf.sync.comparison import Comparison
from syncnerf.sync.correlation import Informative, correlate, line_slices
from syncnerf.sync.frame_products import FrameProducts
from syncnerf.sync.landscape import (
    LEAST_LEAD,
    LEAST_SIGNIFICANCE,
    NEIGHBOURHOOD,
    Landscape,
    Peak,
    agrees_at,
    heights,
    stand_out,
)
from syncnerf.sync.pieces import OtherOffset, Pieces, height_at, other_offset
from syncnerf.sync.result import SyncResult

PART = 8
"""Samples of the first camera that are looked at together."""
AGREES = 1.5
"""Samples by which a part's lag may differ from the whole videos' and still be the same."""
LEAST_REST = 6
"""Unexplained samples from which on another lag is sought for them; the pairs of a camera then decide together."""
REST_SHARE = 0.2
"""Share of the shorter video that a shift must compare: a piece at one end may belong to the other one."""
FEW, SURER = 60, 1.5
"""Where all pairs together compare fewer samples than the first number, a change must stand out by this factor more."""
LEAST_PAIRS = 0.5
"""Share of a camera's pairs that must leave something unexplained."""
AGREEING = 0.75
"""Of the pairs that compare anything at a change, this share must each agree there. A clock that jumps does so in all
pairs; a step that looks like another one fools a single pair."""
PIECE_PAIRS, PIECE_GAIN, PIECE_LEAD, PIECE_AGREEING = 2, 3.5, 2.0, 2 / 3
"""A piece of a video has an offset of its own if it gains so many robust deviations there over the found one, and leads
any third by so many, and if of so many pairs at least this share (the last) agrees. Measured on five rendered scenes of
4 to 14 cameras: 33 of 36 that lose a quarter of their video, hold a frame or are joined wrongly are told so."""
REPEATED = 5.5
"""Robust deviations by which half of the other cameras' pieces rise at a change of their own offsets where the scene
itself repeats after so long, as people's steps do. Measured: 7 to 12 in a garden of people who walk, up to 4.7 in rigs
in which one clock jumps."""


def rest_landscape(
    pair: tuple[int, int],
    signals: tuple[Float[Tensor, "L T1"], Float[Tensor, "L T2"]],
    informative: Informative,
    peak: Peak,
    products: FrameProducts,
) -> Landscape | None:
    """Agreement of two cameras at every shift in the parts of the time that their lag does not explain.

    Args:
        pair: global indices of the cameras.
        signals: of their lines, shapes [L, T1] and [L, T2], zero where not informative.
        informative: which samples say something, of each.
        peak: of the whole videos, its lag counted from each one's first sample.
        products: what each frame contributes around it.

    Returns:
        None where too little is unexplained to compare.
    """
    count, step = max(1, len(products.values) // PART), products.interval
    part = torch.arange(len(products.values)) * count // len(products.values)
    values, _ = products.within(part, count)
    place = peak.lag / step - products.whole + values.shape[1] // 2
    odd = (values.argmax(1) - place).abs() > AGREES
    rest = informative[0] & odd[part]
    if int(rest.sum()) < LEAST_REST:
        return None
    one, two = line_slices(len(signals[0]), peak.line_shift)
    found = correlate(signals[0][one] * rest, signals[1][two], (rest, informative[1]), 0, LEAST_REST, REST_SHARE)
    return Landscape(*pair, found.shifts.double() * step, found.values[0], found.overlap)


def far_jumps(result: SyncResult, comparisons: Sequence[Comparison]) -> Float64[Tensor, " C"]:
    """By how much each camera's clock jumps, where its pairs agree on another offset for some of the time.

    First by what the found offset leaves unexplained in the pairs that are used, anywhere. A camera that jumps in the
    middle has few of these, as half of its video tells each pair something else; so then by all its pairs, for the
    beginning and the end of its video.

    Returns:
        Seconds, float64, shape [C]; 0 for a clock that does not jump.
    """
    used = {(pair.first, pair.second) for pair in result.pairs if pair.used}
    left, offsets = [c for c in comparisons if (c.first, c.second) in used], result.offsets
    jumps = torch.zeros(len(result.names), dtype=torch.float64)
    while True:
        found = {camera: _own_jump(offsets, left, camera) for camera in range(len(jumps)) if not jumps[camera]}
        found = {c: told for c, told in found.items() if told[0] and not _repeats(offsets, comparisons, c, told[0])}
        surest = max(found, key=lambda camera: found[camera][1], default=None)
        if surest is None:
            break
        # What its pairs leave unexplained is no other camera's doing.
        jumps[surest] = found[surest][0]
        left = [c for c in left if surest not in (c.first, c.second)]
    for camera in (~offsets.isnan() & (jumps == 0)).nonzero()[:, 0].tolist():
        change = _piece_jump(offsets, comparisons, camera)
        jumps[camera] = change if change and not _repeats(offsets, comparisons, camera, change) else 0.0
    return jumps


def _repeats(offsets: Tensor, comparisons: Sequence[Comparison], camera: int, change: float) -> bool:
    """Whether what the cameras film repeats after a change of one's offset: the others' pieces agree so as well."""
    rest, reached = [c for c in comparisons if camera not in (c.first, c.second)], []
    for other in (~offsets.isnan()).nonzero()[:, 0].tolist():
        if pieces := _own_pieces(offsets, rest, other):
            reached.append(height_at(offsets, pieces, other, change))
    return bool(reached) and float(torch.tensor(reached).median()) > REPEATED


def likely_change(offsets: Float64[Tensor, " C"], comparisons: Sequence[Comparison], camera: int) -> float:
    """The change of a camera's offset that a piece of its video agrees with better than with the found one, seconds.

    For a clock that is known to jump, so it need not be sure; 0 where no piece agrees better with another offset.
    """
    other = _other_offset(offsets, comparisons, camera, 1)
    return other.change if other is not None and other.gain > 0 else 0.0


def _piece_jump(offsets: Tensor, comparisons: Sequence[Comparison], camera: int) -> float:
    """The change of a camera's offset that a piece of its video agrees with instead, seconds; 0 where none does."""
    other = _other_offset(offsets, comparisons, camera, PIECE_PAIRS)
    if other is None or other.gain < PIECE_GAIN or other.lead < PIECE_LEAD or other.agreeing < PIECE_AGREEING:
        return 0.0
    return other.change


def _other_offset(offsets: Tensor, comparisons: Sequence[Comparison], camera: int, least: int) -> OtherOffset | None:
    """The offset that a piece of a camera's video agrees with instead, by so many pairs at least."""
    pieces = _own_pieces(offsets, comparisons, camera)
    return other_offset(offsets, pieces, camera) if len(pieces) >= least else None


def _own_pieces(offsets: Tensor, comparisons: Sequence[Comparison], camera: int) -> list[Pieces]:
    """Pieces of a camera's video against those of all others that are determined."""
    known = (~offsets.isnan()).tolist()
    return [each for c in comparisons for each in c.pieces if each.camera == camera and known[each.other]]


def _own_jump(offsets: Tensor, comparisons: Sequence[Comparison], camera: int) -> tuple[float, float]:
    """By how much one camera's clock jumps, and how far that stands out; zeros where it does not."""
    pairs = [c for c in comparisons if camera in (c.first, c.second)]
    rests = [c for c in pairs if c.rest is not None]
    if not rests or len(rests) < LEAST_PAIRS * len(pairs):
        return 0.0, 0.0
    return _common_jump(offsets, rests, camera)


def _common_jump(offsets: Tensor, rests: Sequence[Comparison], camera: int) -> tuple[float, float]:
    """The change of a camera's offset that explains what is left best, and its height; zeros where none stands out."""
    step = float(rests[0].rest.lags.diff()[0])
    reach = max(float(c.rest.lags.abs().max()) for c in rests) + float(offsets.nan_to_num().abs().max()) * 2
    half = int(reach / step) + 1
    total, seen, compared = torch.zeros(3, 2 * half + 1, dtype=torch.float64)
    for comparison in rests:
        land, sign = comparison.rest, 1.0 if camera == comparison.first else -1.0
        lag = float(offsets[comparison.first] - offsets[comparison.second])
        score, telling = heights(land.values, land.overlap), land.overlap > 0
        places = (sign * (land.lags - lag) / step).round().long() + half
        inside = telling & (places >= 0) & (places <= 2 * half)
        total.index_add_(0, places[inside], score[inside])
        seen.index_add_(0, places[inside], torch.ones_like(score[inside]))
        compared.index_add_(0, places[inside], land.overlap[inside].double())
    telling = seen >= LEAST_PAIRS * len(rests)
    changes = (torch.arange(2 * half + 1, dtype=torch.float64)[telling] - half) * step
    if len(changes) < 4 * NEIGHBOURHOOD:
        return 0.0, 0.0
    score = total[telling] / seen[telling].sqrt()
    best = int(score.argmax())
    significance, lead = stand_out(score, best)
    apart = abs(float(changes[best])) > NEIGHBOURHOOD * step
    needed = LEAST_SIGNIFICANCE * (SURER if float(compared[telling][best]) < FEW else 1.0)
    if not (apart and significance >= needed and lead >= LEAST_LEAD):
        return 0.0, 0.0
    if _agreeing(offsets, rests, camera, float(changes[best])) < AGREEING:
        return 0.0, 0.0
    return float(changes[best]), float(score[best])


def _agreeing(offsets: Tensor, rests: Sequence[Comparison], camera: int, change: float) -> float:
    """Share of the pairs that compare something at a change of a camera's offset, seconds, and agree there."""
    said = []
    for comparison in rests:
        land, sign = comparison.rest, 1.0 if camera == comparison.first else -1.0
        wanted = float(offsets[comparison.first] - offsets[comparison.second]) + sign * change
        said.append(agrees_at(land.lags, land.values, land.overlap, wanted))
    told = [each for each in said if each is not None]
    return sum(told) / max(1, len(told))
