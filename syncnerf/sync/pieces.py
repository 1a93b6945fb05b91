"""The beginning and the end of a video alone: at which lags they agree with another camera's video."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from syncnerf.sync.correlation import LEAST_POWER, Informative
from syncnerf.sync.landscape import NEIGHBOURHOOD, agrees_at, heights, stand_out

SHARES = (1 / 5, 1 / 4, 1 / 3, 5 / 12, 1 / 2)
"""Of a video, that its first and its last piece are in turn."""
LEAST_PIECE, LEAST_SHARED = 12, 10
"""Samples of a piece, and those that it must share with the other video at a lag, at least."""
LONGEST = 3000
"""Samples of a video whose pieces are looked at, at most: time and memory grow as their square. Longer ones have enough
windows of time to tell a jump."""
LEAST_PAIRS = 0.5
"""Share of a camera's pairs that must compare something."""


@dataclass(frozen=True)
class Pieces:
    """Agreement of pieces of one camera's video with all of another's.

    Attributes:
        camera: global index of the one whose pieces they are.
        other: of the other.
        lags: offset[camera] - offset[other], seconds, ascending in equal steps, float64, shape [S].
        values: correlation of each piece at each lag, 0 where too little is compared, float64, shape [E, S].
        overlap: samples that are compared, 0 likewise, int64, shape [E, S].
    """

    camera: int
    other: int
    lags: Float64[Tensor, " S"]
    values: Float64[Tensor, "E S"]
    overlap: Int64[Tensor, "E S"]


def pieces_of(
    pair: tuple[int, int],
    one: Float[Tensor, "L T1"],
    two: Float[Tensor, "L T2"],
    informative: Informative,
    step: float,
    lead: float,
) -> Pieces | None:
    """How the first camera's pieces agree with the second camera's video; None where they are too short.

    Signals without slow trends vary around 0, so the sum over lines of their products at every two moments is enough to
    correlate all pieces at all lags.

    Args:
        pair: global indices of both cameras.
        one: signals of the first, zero where not informative, shape [L, T1].
        two: of the second, likewise, shape [L, T2].
        informative: which samples of either say something.
        step: seconds per sample.
        lead: seconds to add to a lag between samples for that between the clocks.
    """
    length, other = one.shape[1], two.shape[1]
    counts = [round(share * length) for share in SHARES]
    if counts[-1] < LEAST_PIECE or other < LEAST_SHARED or max(length, other) > LONGEST:
        return None
    piece = torch.arange(length) < torch.tensor(counts)[:, None]
    piece, known = torch.cat([piece, piece.flip(1)]).double(), [each.double() for each in informative]
    powers = [signal.square().sum(0).double() * told for signal, told in zip((one, two), known, strict=True)]
    product = piece @ _skewed((one * known[0].to(one.dtype)).T @ (two * known[1].to(two.dtype))).double()
    first, second = _correlated(piece * powers[0], known[1]), _correlated(piece * known[0], powers[1])
    overlap = _correlated(piece * known[0], known[1]).round()
    usable = (overlap >= LEAST_SHARED) & (torch.tensor(2 * counts) >= LEAST_PIECE)[:, None]
    for power in (first, second):
        usable = usable & (power > (LEAST_POWER * power.amax(1, keepdim=True)).clamp_min(1e-9))
    values = torch.where(usable, product / (first * second).clamp_min(1e-30).sqrt(), 0.0).clamp(-1, 1)
    overlap = torch.where(usable, overlap, 0.0).long()
    shifts = torch.arange(1 - length, other)
    enough = (shifts >= LEAST_SHARED - length) & (shifts <= other - LEAST_SHARED)
    return Pieces(*pair, shifts[enough].double() * step + lead, values[:, enough], overlap[:, enough])


def _skewed(products: Float[Tensor, "T1 T2"]) -> Float[Tensor, "T1 S"]:
    """Products of samples t1 and t2 by their shift t2 - t1 from 1 - T1 on, zero where there is none."""
    length, other = products.shape
    width = length + other - 1
    skewed = products.new_zeros(length * width)
    skewed.as_strided((length, other), (width - 1, 1), length - 1).copy_(products)
    return skewed.view(length, width)


def _correlated(rows: Float64[Tensor, "E T1"], one: Float64[Tensor, " T2"]) -> Float64[Tensor, "E S"]:
    """Sums of products of each row with the samples of another, by their shift from 1 - T1 on."""
    length, width = rows.shape[1], rows.shape[1] + len(one) - 1
    spectra = torch.fft.rfft(rows, width).conj() * torch.fft.rfft(one, width)
    return torch.fft.irfft(spectra, width).roll(length - 1, dims=1)


@dataclass(frozen=True)
class OtherOffset:
    """Another offset than the found one that a piece of a camera's video agrees with.

    Attributes:
        change: seconds to add to the found offset.
        gain: by how many robust deviations the piece agrees better there than at the found offset.
        lead: by how many it does than at any third one.
        agreeing: share of the pairs that compare anything there and each agree.
    """

    change: float
    gain: float
    lead: float
    agreeing: float


def other_offset(offsets: Float64[Tensor, " C"], pieces: Sequence[Pieces], camera: int) -> OtherOffset | None:
    """The other offset of a camera that gains most for a piece of its video; None where nothing can be compared.

    Args:
        offsets: of all cameras, seconds.
        pieces: of this camera's video, against all others.
        camera: its global index.
    """
    changes, scores, telling = _profiles(offsets, pieces, camera)
    step, found = float(pieces[0].lags.diff()[0]), []
    for index, known in enumerate(telling):
        places, score = changes[known], scores[index][known]
        near, far = places.abs() <= 1, places.abs() > NEIGHBOURHOOD
        # Where others show nothing of the piece by the found offset, as when all stood still or had not begun, none
        # contradicts it; a sample beside it they may have in common with the piece what does not move there.
        if int(far.sum()) < 4 * NEIGHBOURHOOD or not (places == 0).any():
            continue
        best = int(score.masked_fill(~far, -torch.inf).argmax())
        spread = 1.4826 * float((score - score.median()).abs().median()) + 1e-9
        gain = float(score[best] - score[near].max()) / spread
        found.append((gain, stand_out(score, best)[1], int(places[best]) * step, index))
    if not found:
        return None
    gain, lead, change, index = max(found)
    return OtherOffset(change, gain, lead, _agreeing(offsets, pieces, index, change))


def height_at(offsets: Float64[Tensor, " C"], pieces: Sequence[Pieces], camera: int, change: float) -> float:
    """How high a camera's pieces rise, at most, if its offset changed by so much to either side; robust deviations.

    Args:
        offsets: of all cameras, seconds.
        pieces: of this camera's video, against others.
        camera: its global index.
        change: seconds.
    """
    places, scores, telling = _profiles(offsets, pieces, camera)
    there = (places.abs() - round(abs(change) / float(pieces[0].lags.diff()[0]))).abs() <= 1
    highest = 0.0
    for score, known in zip(scores, telling, strict=True):
        if int(known.sum()) < 4 * NEIGHBOURHOOD or not (there & known).any():
            continue
        middle = score[known].median()
        spread = 1.4826 * float((score[known] - middle).abs().median()) + 1e-9
        highest = max(highest, float(score[there & known].max() - middle) / spread)
    return highest


def _profiles(offsets: Tensor, pieces: Sequence[Pieces], camera: int) -> tuple[Tensor, Tensor, Tensor]:
    """Agreement of all of a camera's pairs, taken together, if its offset changed, for each piece of its video.

    Returns:
        Changes in steps, int64, shape [S]; sums of the pairs' heights in what these vary by chance, shape [E, S]; and
        which half of the pairs or more compare, bool, shape [E, S].
    """
    step = float(pieces[0].lags.diff()[0])
    reach = max(float(each.lags.abs().max()) for each in pieces) + float(offsets.nan_to_num().abs().max()) * 2
    half = int(reach / step) + 1
    total, seen = torch.zeros(2, len(pieces[0].values), 2 * half + 1, dtype=torch.float64)
    for each in pieces:
        lag = float(offsets[camera] - offsets[each.other])
        places = ((each.lags - lag) / step).round().long() + half
        total.index_add_(1, places, heights(each.values, each.overlap))
        seen.index_add_(1, places, (each.overlap > 0).double())
    return torch.arange(-half, half + 1), total / seen.clamp_min(1).sqrt(), seen >= LEAST_PAIRS * len(pieces)


def _agreeing(offsets: Tensor, pieces: Sequence[Pieces], index: int, change: float) -> float:
    """Share of the pairs that compare something at a change of their camera's offset, seconds, and each agree there."""
    said = []
    for each in pieces:
        wanted = float(offsets[each.camera] - offsets[each.other]) + change
        said.append(agrees_at(each.lags, each.values[index], each.overlap[index], wanted))
    told = [agrees for agrees in said if agrees is not None]
    return sum(told) / max(1, len(told))
