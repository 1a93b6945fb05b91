"""Motion energy: how much each pixel changes between frames, with flicker and noise taken out."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor
from torch.nn.functional import avg_pool2d

from syncnerf.scene.frame_cache import release_pages
from syncnerf.sync.blending import Film, find_blending
from syncnerf.sync.burned_in import Patch, burned_in, inside_any
from syncnerf.sync.cadence import LIKELY, PERIODS, find_cadence
from syncnerf.sync.division import divided
from syncnerf.sync.flicker import CLIPPED, frame_gains
from syncnerf.sync.frame_samples import PIECE_BYTES, Frames
from syncnerf.sync.informative import around, informative_intervals, refreshed_intervals, steady_frames
from syncnerf.sync.leaps import Leap, leaps
from syncnerf.sync.pulldown import EVEN, Pulldown, find_pulldown

LARGEST_SIDE = 200
"""Energy maps are averaged down until neither side exceeds this many pixels."""
LEAST_FLOOR = 8.0
"""Smallest noise floor: grey levels, summed over the three channels."""
FLOOR_FACTOR = 3.0
"""Noise floor of a frame, in medians of its energy (most pixels of a static camera's frame stand still)."""
LARGEST_FLOOR = 36.0
"""Largest noise floor; a median above it is motion, not noise."""
CODED_FLOOR = 60.0
"""Noise floor of strongly compressed videos, whose blocks change late, and by as much as weak contrasts do; chosen on
four scenes at a constant rate factor of 28: from there to 100 all are as good, half as far off as at the least one.

Mean errors at 8, 30, 45 and 60: seven rendered scenes, 17 codings of them, 0.056, 0.039, 0.031 and 0.028 frame; 23
frames of a recorded rig, coded in eight ways, 0.042, 0.037, 0.041 and 0.045. Neither the contrast of what moves (the
rig's is strong) nor how plainly blocks show (hardly less than in AV1 and VP9, which want 60) tells one from the other.
"""
JUMP_FACTOR = 1.7
"""A frame with more energy than this many medians follows on a lost one."""


@dataclass(frozen=True)
class MotionEnergy:
    """A camera's motion energy, kept only where something ever moves.

    Attributes:
        values: energy of each kept pixel between frames k and k + 1, grey levels, float16, shape [P, T - 1].
        pixels: places of the kept pixels in the averaged-down map (row * width + column), int64, shape [P].
        pool: size of the blocks of image pixels that were averaged.
        width: columns of the averaged-down map.
        height: rows of it.
        informative: which intervals say something about time, bool, shape [T - 1]; values are zero in the others.
        pace: intervals here for one of the file; above 1 where frames were dropped at equal places, which are put back,
            below 1 where frames were repeated or blended to reach a higher rate, which is undone.
        delay: intervals by which frames lie later here, on the average, than at their index times ``pace``.
        divided: share of the informative intervals that are parts of a longer one, divided by what is around it.
        refreshed: share of the file's intervals in which the whole picture was coded anew.
        coded: the video is strongly compressed.
        lacking: intervals of the file after which a frame lacks each time; where ``pace`` is 1, that is only likely,
            and none were put back. 0 where there is no such pattern.
        late: seconds from the frames' own times to those at which what moves in them was read.
        gains: the frames' global brightness factors, which were divided out, float32, shape [T]; None where there are
            none, or ``pace`` is not 1.
        burned: patches of the averaged-down map in which something burned in changes by itself; left out of the values.
        leaps: where frames seem to be lost without the file's times telling it.
    """

    values: Float[Tensor, "P I"]
    pixels: Int64[Tensor, " P"]
    pool: int
    width: int
    height: int
    informative: Bool[Tensor, " I"]
    pace: float = 1.0
    delay: float = 0.0
    divided: float = 0.0
    refreshed: float = 0.0
    coded: bool = False
    lacking: int = 0
    late: float = 0.0
    gains: Float32[Tensor, " T"] | None = None
    burned: tuple[Patch, ...] = ()
    leaps: tuple[Leap, ...] = ()

    @property
    def burned_share(self) -> float:
        """Share of the picture in which something burned in changes by itself; patches that overlap count twice."""
        return sum(patch.area for patch in self.burned) / (self.width * self.height)

    @property
    def pixel_centres(self) -> Float64[Tensor, "P 2"]:
        """Where the kept pixels lie in the image: x and y in image pixels, float64, shape [P, 2]."""
        row = self.pixels.div(self.width, rounding_mode="floor").double()
        column = self.pixels.remainder(self.width).double()
        return (torch.stack([column, row], dim=-1) + 0.5) * self.pool


def motion_energy(
    frames: Frames, even: bool = True, lacking: int = 0, lost: float = EVEN, coded: bool = False
) -> MotionEnergy:
    """Absolute differences of consecutive frames, summed over channels, less a noise floor.

    Each frame's global gain (flicker, exposure) is divided out first; a clipped value counts as any brighter one. The
    noise floor is a multiple of the frame's median energy, and high where compression is strong. Maps larger than 200
    pixels are averaged down after the difference is taken, so that fine motion still counts. Source: the frame
    differences of Pundik & Moses (ECCV 2010); the treatment of gain and noise is this package's own.

    Args:
        frames: uint8 RGB, shape [T, height, width, 3]; read in pieces, so it may be a memory map.
        even: the file has one interval between all frames: where motion says that some lack or are shown twice at equal
            places, that is undone. Timestamps that differ say such things themselves.
        lacking: intervals after which a frame lacks in most other files: here it is enough that it is likely.
        lost: share of the motion that may seem lost by repeated frames of a film, see :func:`find_pulldown`.
        coded: the video is compressed so strongly that small changes are no motion.
    """
    blending = find_blending(frames) if even else None
    if blending is not None:
        film = motion_energy(Film(frames, blending), even=False, coded=coded)
        return replace(film, pace=blending.pace, delay=blending.delay, gains=None)
    count, height, width, _ = frames.shape
    pool = max(1, -(-max(height, width) // LARGEST_SIDE))
    shape = (height // pool, width // pool)
    if count < 2:
        nothing = torch.zeros(0, dtype=torch.int64)
        return MotionEnergy(torch.zeros(0, 0).half(), nothing, pool, shape[1], shape[0], torch.zeros(0).bool())
    steady, gains = steady_frames(frames), frame_gains(frames)
    values, pixels, burned = _moving(_pieces(frames, steady, gains, pool, CODED_FLOOR if coded else LEAST_FLOOR))
    totals = values.sum(0, dtype=torch.float32)
    refreshed = refreshed_intervals(frames)
    moving = informative_intervals(totals, steady)
    informative = moving & ~refreshed
    refreshed_share = float(refreshed.float().mean())
    seen = MotionEnergy(
        values, pixels, pool, *shape[::-1], informative, refreshed=refreshed_share, coded=coded, gains=gains,
        burned=burned,
    )  # fmt: skip
    film = find_pulldown(totals, lost) if even else None
    if film is not None:
        return _of_film(seen, film, steady)
    likely = find_cadence(totals, informative, LIKELY, [lacking] if lacking else PERIODS) if even else None
    # What is sure is likely as well.
    cadence = likely if lacking or likely is None else find_cadence(totals, informative)
    judged = even and likely is None and not coded
    lost = leaps(values, pixels, shape[1], moving, refreshed) if judged else ()
    values, informative = _without_repeats(values, totals, informative)
    if cadence is not None:
        values, informative, delay = cadence.spread(values, informative)
        period, share = cadence.period, 2 / (cadence.period + 1)
        return replace(
            seen, values=values, informative=informative, pace=cadence.pace, delay=delay, divided=share, lacking=period,
            gains=None,
        )  # fmt: skip
    totals = torch.where(informative, values.sum(0, dtype=torch.float32), totals)
    share = 1 - float(seen.informative.sum()) / max(float(informative.sum()), 1.0)
    period = likely.period if likely is not None else 0
    values = _without_jumps(values, totals)
    return replace(seen, values=values, informative=informative, divided=share, lacking=period, leaps=lost)


def _of_film(seen: MotionEnergy, film: Pulldown, steady: Tensor) -> MotionEnergy:
    """The energy of the film's own steps, from that of a video that repeats some of its frames.

    Args:
        seen: energy of the file's intervals.
        film: the pattern of repeats.
        steady: of the file's frames, bool, shape [T].
    """
    count = seen.values.shape[1]
    values = film.film(seen.values)
    totals = values.sum(0, dtype=torch.float32)
    informative = informative_intervals(totals, steady[film.shown(count)])
    values = _without_jumps(values * informative, totals)
    return replace(seen, values=values, informative=informative, pace=film.pace, delay=film.delay(count), gains=None)


def _pieces(frames: Frames, steady: Tensor, gains: Tensor | None, pool: int, least: float) -> list[Tensor]:
    """Energy maps of consecutive frames in pieces of time, float16, shape [t, rows, columns]; 0 where unsteady."""
    count, height, width, _ = frames.shape
    step = max(2, PIECE_BYTES // (height * width * 3))
    pieces = []
    for first in range(0, count - 1, step):
        chunk = torch.from_numpy(np.array(frames[first : first + step + 1]))
        release_pages(frames)
        difference = _difference(chunk, None if gains is None else gains[first : first + step + 1])
        floor = FLOOR_FACTOR * difference[:, ::4, ::4].flatten(1).median(dim=1).values
        difference -= floor.clamp(max=LARGEST_FLOOR).clamp(min=least)[:, None, None]
        energy = difference.clamp_min_(0)
        energy[~(steady[1:] & steady[:-1])[first : first + len(energy)]] = 0
        if pool > 1:
            energy = avg_pool2d(energy[:, None], pool)[:, 0]
        pieces.append(energy.half())
    return pieces


def _moving(pieces: list[Tensor]) -> tuple[Tensor, Tensor, tuple[Patch, ...]]:
    """Energy of pixels where something ever moves, shape [P, T - 1], their places, and patches of what is burned in."""
    rows, columns = pieces[0].shape[1:]
    moving = torch.zeros(rows, columns, dtype=torch.bool)
    for piece in pieces:
        moving |= (piece > 0).any(0)
    pixels = moving.flatten().nonzero()[:, 0]
    values = torch.cat([piece.flatten(1)[:, pixels].T for piece in pieces], dim=1)
    burned = burned_in(values, pixels, (rows, columns))
    if burned:
        kept = ~inside_any(burned, pixels, columns)
        values, pixels = values[kept], pixels[kept]
    return values, pixels, burned


def _without_repeats(values: Tensor, totals: Tensor, informative: Tensor) -> tuple[Tensor, Tensor]:
    """Energy, shape [P, T - 1], zero where not informative, and where it is, with single repeated frames undone.

    The interval after a repeated frame holds the motion of two, which is divided between them.
    """
    kept = values * informative
    silent = ~informative
    single = silent[1:-2] & silent[2:-1] & informative[:-3] & informative[3:] & (totals[1:-2] < totals[2:-1])
    places = single.nonzero()[:, 0] + 1
    for first in places.tolist():
        share = float(0.5 * (totals[first - 1] + totals[first + 2]) / totals[first + 1])
        kept[:, first] = kept[:, first + 1] = values[:, first + 1] * min(share, 1.0)
    kept = divided(kept, places, informative)
    informative = informative.clone()
    informative[places] = informative[places + 1] = True
    return kept, informative


def _without_jumps(values: Tensor, totals: Tensor) -> Tensor:
    """Energy, shape [P, T - 1], scaled down to that of the frames around it where it jumps, as after a lost frame."""
    typical = around(totals)
    jumps = totals > JUMP_FACTOR * typical
    values[:, jumps] *= (typical[jumps] / totals[jumps]).to(values.dtype)
    return values


def _difference(chunk: Tensor, gains: Tensor | None) -> Tensor:
    """Sum over channels of absolute differences of consecutive frames, float32, shape [T - 1, height, width]."""
    if gains is None:
        # In bytes until the channels are summed: a quarter of the memory traffic of floats.
        change = torch.maximum(chunk[1:], chunk[:-1]) - torch.minimum(chunk[1:], chunk[:-1])
        return (change[..., 0].short() + change[..., 1] + change[..., 2]).float()
    levels = chunk.float() / gains[:, None, None, None]
    change = levels[1:] - levels[:-1]
    clipped = chunk >= CLIPPED
    # A clipped value is only a lower bound: no change can be claimed towards the brighter side of it.
    unknown = (clipped[:-1] & (change > 0)) | (clipped[1:] & (change < 0))
    return change.abs_().masked_fill_(unknown, 0.0).sum(-1)
