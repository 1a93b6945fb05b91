"""Film shown at a higher rate by blending: each frame lies on the line between two of the film's."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from syncnerf.sync.frame_samples import Frames, sampled_pixels

RATES = tuple(Fraction(rate) for rate in ("2", "3", "4", "5/2", "12/5", "5/3", "5/4", "6/5"))
"""A file's frames for one of the film that are known: 30 shown at 60, 24 at 60, 25 at 60, 30 at 50, 24 at 30, ..."""
BLOCK, LEAST_BLOCKS, MOST_BLOCKS = 12, 3, 12
"""Frames that are looked at together, and how often at least and at most."""
SAMPLES, VISIBLE = 2000, 24
"""About how many pixels are looked at, and grey levels that one must change by to count."""
LEAST_PIXELS = 30
"""With fewer there is no telling."""
UNEXPLAINED = 0.25
"""What such lines leave of the pixels' changes at the right phase, at most, as a share of what they leave at others.
Blended ones leave 0.00 to 0.08, all others 0.7 and more."""
BEYOND = 2
"""Frames of the film to either side that are solved for along with those that are wanted."""


@dataclass(frozen=True)
class Blending:
    """Where the file's frames lie between those of the film.

    Attributes:
        rate: frames of the file for one of the film.
        phase: where the file's first frame lies after one of the film, in steps of 1 / ``rate.numerator`` of theirs.
    """

    rate: Fraction
    phase: int

    @property
    def pace(self) -> float:
        """Steps of the film in one interval of the file."""
        return float(1 / self.rate)

    def places(self, count: int) -> Float64[np.ndarray, " {count}+1"]:
        """Where ``count`` intervals of the file begin, and the last ends, in frames of the film, shape [count + 1]."""
        return (self.phase + np.arange(count + 1) * self.rate.denominator) / self.rate.numerator

    @property
    def delay(self) -> float:
        """Steps by which the film's frames lie later than at their index times the rate: none, or up to one earlier."""
        return -((-self.phase) % self.rate.numerator) / self.rate.numerator


class Film:
    """The frames behind a video's blended ones; solved for when they are looked at, as an array's slices are.

    Args:
        frames: uint8 RGB, shape [T, height, width, 3].
        blending: of these.
    """

    def __init__(self, frames: Frames, blending: Blending):
        self._frames, self._places = frames, blending.places(len(frames) - 1)
        self._first = int(np.ceil(self._places[0] - 1e-9))
        self.shape = (int(np.floor(self._places[-1] + 1e-9)) - self._first + 1, *frames.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice | tuple[slice, ...]) -> UInt8[np.ndarray, " ..."]:
        """Frames, uint8, by least squares from the blended ones between them and two frames beyond."""
        time, *area = key if isinstance(key, tuple) else (key,)
        wanted = self._first + np.arange(len(self))[time]
        near = np.flatnonzero((self._places >= wanted[0] - BEYOND) & (self._places <= wanted[-1] + BEYOND))
        lines, before = _lines(self._places[near])
        solve = np.linalg.pinv(lines)[wanted - before]
        blended = self._frames[(slice(near[0], near[-1] + 1), *area)]
        film = np.tensordot(solve.astype(np.float32), blended.astype(np.float32), 1)
        return film.round().clip(0, 255).astype(np.uint8)


def find_blending(frames: Frames) -> Blending | None:
    """How a video's frames are blended from those of a film; None where they are not.

    Between the same two frames of a film all frames lie on one line. What the nearest such lines leave of the pixels'
    changes vanishes for the right rate and phase, and is about the same for all phases of a wrong one.

    Args:
        frames: uint8 RGB, shape [T, height, width, 3].
    """
    if len(frames) < BLOCK * LEAST_BLOCKS:
        return None
    count = min(MOST_BLOCKS, len(frames) // BLOCK)
    starts = np.linspace(0, len(frames) - BLOCK, count).round().astype(int).tolist()
    shares = {rate: [] for rate in RATES}
    for start in starts:
        pixels = sampled_pixels(frames[start : start + BLOCK], SAMPLES).flatten(1).float()
        pixels = pixels[:, pixels.diff(dim=0).abs().amax(0) > VISIBLE]
        if pixels.shape[1] < LEAST_PIXELS:
            continue
        pixels = pixels - pixels.mean(0)
        products = (pixels @ pixels.T).double()
        for rate, own in shares.items():
            left = torch.einsum("pij,ij->p", _off_lines(rate), products).numpy()
            # By the phase that the file's first frame would have.
            left = left[(np.arange(rate.numerator) + start * rate.denominator) % rate.numerator]
            own.append(left / max(np.sort(left)[(len(left) + 1) // 2], 1e-9))
    if len(shares[RATES[0]]) < LEAST_BLOCKS:
        return None
    # One event (a cut, a camera that goes on after it hung) may look so in its own block.
    usual = {rate: np.median(own, axis=0) for rate, own in shares.items()}
    best = min(usual, key=lambda rate: float(usual[rate].min()))
    return Blending(best, int(usual[best].argmin())) if usual[best].min() < UNEXPLAINED else None


@lru_cache
def _off_lines(rate: Fraction) -> Float64[Tensor, "phases 12 12"]:
    """For each phase, what takes a block of frames off its lines, per degree of freedom; shape [phases, 12, 12]."""
    found = []
    for phase in range(rate.numerator):
        basis = np.linalg.qr(_lines(Blending(rate, phase).places(BLOCK - 1))[0])[0]
        found.append((np.eye(BLOCK) - basis @ basis.T) / (BLOCK - basis.shape[1]))
    return torch.from_numpy(np.stack(found))


def _lines(places: np.ndarray) -> tuple[np.ndarray, int]:
    """What frames at such places of a film show of its frames, shape [N, F], and the number of the first of these."""
    before = np.floor(places + 1e-9).astype(int)
    share = (places - before).clip(0)
    lines = np.zeros((len(places), before[-1] - before[0] + 2))
    rows = np.arange(len(places))
    lines[rows, before - before[0]] = 1 - share
    lines[rows, before - before[0] + 1] += share
    return lines[:, (lines > 1e-9).any(0)], int(before[0])
