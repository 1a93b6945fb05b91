"""What is burned into a video, a running clock, a counter or a blinking mark: small patches that change by themselves.

They change at the file's own frames, whatever happens before the camera, and that draws lags to equal places of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

STRONG = 90.0
"""Grey levels, summed over channels, by which what is drawn differs from its ground."""
LEAST_INTERVALS = 20
"""With fewer intervals between frames there is no telling."""
OFTEN, ALWAYS = 0.35, 0.95
"""Share of the intervals in which a running digit's pixels change, and in which any of them does; in ten regular scenes
the small patches of such pixels have something that changes in 0.5 to 0.95 of all."""
NEARLY, DRAWN = 0.6, 0.2
"""Share of a pixel's largest change from which on a strong one is whole; and the share of a patch's rectangle that its
pixels fill, times the share of their strong changes that are whole: what is drawn alternates between ink and ground.
Measured, 0.3 to 0.9 in digits, and in small things that move in nearly every interval at most 0.11."""
UNEVEN = 0.03
"""Spread of the changes in and next to a patch, in their mean: digits change now by many strokes and now by few, what
turns evenly does not."""
BANDS, APART = slice(1, 4), 0.1
"""Rows above and below a running digit, counted from it, in which its pixels' like change in at most that share of all
intervals: what is around a clock's line is not a part of it, as a blade's end is of what turns."""
LEAST_PIXELS, LARGEST_PATCH = 8, 0.025
"""Pixels of a patch, and the share of the picture that its rectangle takes at most."""
BORDER = 0.2
"""Share of the picture's sides from its border within which a patch's middle lies."""
LEAST_BLINKS, EVEN, HALF = 3, 2, 0.5
"""Changes of a blinking mark, intervals by which the pauses between them differ at most, and the share of its rectangle
that it fills at least."""
BLOCK = 4
"""Pixels of blocks; patches are apart where an empty one lies between them."""
AROUND = 3
"""Pixels around what is drawn that compression changes with it."""
BESIDE = 1.5
"""Heights of a running digit to both sides of it that belong to the mark: slower digits stand there."""


@dataclass(frozen=True)
class Patch:
    """A rectangle of a map of pixels: rows from ``top`` to before ``bottom``, columns from ``left`` to ``right``."""

    top: int
    bottom: int
    left: int
    right: int

    def holds(self, row: Int64[Tensor, " P"], column: Int64[Tensor, " P"]) -> Bool[Tensor, " P"]:
        """Which pixels lie in it, bool, shape [P]."""
        return (row >= self.top) & (row < self.bottom) & (column >= self.left) & (column < self.right)

    def grown(self, down: int, across: int, size: tuple[int, int]) -> Patch:
        """It with so many more rows and columns on every side, as far as the map of ``size`` (rows, columns) goes."""
        return Patch(
            max(0, self.top - down), min(size[0], self.bottom + down),
            max(0, self.left - across), min(size[1], self.right + across),
        )  # fmt: skip

    def in_image(self, pool: int) -> Patch:
        """It in pixels of the image, of which every ``pool`` to each side were averaged into one of the map."""
        return Patch(*(pool * edge for edge in (self.top, self.bottom, self.left, self.right)))

    @property
    def area(self) -> int:
        """Pixels in it."""
        return (self.bottom - self.top) * (self.right - self.left)


def burned_in(
    values: Float[Tensor, "P I"], pixels: Int64[Tensor, " P"], size: tuple[int, int]
) -> tuple[Patch, ...]:
    """The patches of a picture that change by themselves, near its border, at nearly all frames or after equal pauses.

    A running digit's pixels alternate between ink and ground, in nearly every interval over the whole video; a blinking
    mark's do so at once, after equal pauses, and at no other time. What moves does neither in a small place of its own.

    Args:
        values: energy of pixels in each interval, shape [P, I].
        pixels: their places in the map (row * columns + column), shape [P].
        size: rows and columns of the map.
    """
    intervals = values.shape[1]
    if intervals < LEAST_INTERVALS:
        return ()
    strong = values > STRONG
    count = strong.sum(1)
    found, place = [], (pixels.div(size[1], rounding_mode="floor"), pixels % size[1])
    often = (count >= OFTEN * intervals).nonzero()[:, 0]
    for patch, members in _patches(pixels, often, size):
        totals = values[patch.grown(AROUND, AROUND, size).holds(*place)].sum(0, dtype=torch.float32)
        drawn = _runs(values[members].float(), patch.area) and totals.std() >= UNEVEN * totals.mean()
        if drawn and _apart(patch, count / intervals, place, size):
            found.append(patch.grown(AROUND, AROUND + round(BESIDE * (patch.bottom - patch.top)), size))
    seldom = ((count >= LEAST_BLINKS) & (count < OFTEN * intervals)).nonzero()[:, 0]
    seldom = seldom[~(strong[seldom, 1:] & strong[seldom, :-1]).any(1)]
    blinking = seldom[_evenly_spaced(strong[seldom])]
    for patch, members in _patches(pixels, blinking, size):
        if len(members) >= HALF * patch.area:
            found.append(patch.grown(AROUND, AROUND, size))
    return tuple(found)


def inside_any(patches: Sequence[Patch], pixels: Int64[Tensor, " P"], columns: int) -> Bool[Tensor, " P"]:
    """Which pixels, by their places row * columns + column, lie in one of the patches, bool, shape [P]."""
    place = pixels.div(columns, rounding_mode="floor"), pixels % columns
    return torch.stack([patch.holds(*place) for patch in patches]).any(0)


def _runs(energy: Float[Tensor, "N I"], area: int) -> bool:
    """Whether a patch of so many pixels, in which these often change, is a running digit."""
    strong = energy > STRONG
    whole = (energy > NEARLY * energy.amax(1, keepdim=True)) & strong
    drawn = len(energy) / area * float((whole.sum(1) / strong.sum(1)).median())
    return drawn >= DRAWN and bool(strong.any(0).float().mean() >= ALWAYS)


def _apart(patch: Patch, share: Float[Tensor, " P"], place: tuple[Tensor, Tensor], size: tuple[int, int]) -> bool:
    """Whether pixels above and below a patch hardly change; ``share`` of the intervals, and row and column, of each."""
    near, far = BANDS.start, BANDS.stop
    above = Patch(max(0, patch.top - far), max(0, patch.top - near), patch.left, patch.right)
    below = Patch(min(size[0], patch.bottom + near), min(size[0], patch.bottom + far), patch.left, patch.right)
    changes = sum(float(share[band.holds(*place)].sum()) for band in (above, below))
    return changes <= APART * (above.area + below.area)


def _evenly_spaced(strong: Bool[Tensor, "N I"]) -> Bool[Tensor, " N"]:
    """Which pixels change after equal pauses, from the beginning of the video to its end, bool, shape [N].

    Args:
        strong: when they change, at least twice each.
    """
    intervals = strong.shape[1]
    pixel, moment = strong.nonzero(as_tuple=True)
    same = pixel[1:] == pixel[:-1]
    owner, pause = pixel[1:][same], moment.diff()[same]
    longest = torch.zeros(len(strong), dtype=torch.int64).scatter_reduce(0, owner, pause, "amax")
    shortest = torch.full((len(strong),), intervals).scatter_reduce(0, owner, pause, "amin")
    first = strong.int().argmax(1)
    after = strong.flip(1).int().argmax(1)
    return (longest - shortest <= EVEN) & (first <= longest) & (after <= longest)


def _patches(pixels: Tensor, chosen: Tensor, size: tuple[int, int]) -> list[tuple[Patch, Tensor]]:
    """Groups of the chosen pixels that are apart from each other, small and near the border, with these pixels."""
    if len(chosen) < LEAST_PIXELS:
        return []
    rows, columns = size
    row, column = pixels[chosen].div(columns, rounding_mode="floor"), pixels[chosen] % columns
    blocks = list(zip((row // BLOCK).tolist(), (column // BLOCK).tolist(), strict=True))
    group = _groups(blocks)
    label = torch.tensor([group[block] for block in blocks])
    found = []
    for index in sorted(set(group.values())):
        own = label == index
        down, across = row[own], column[own]
        patch = Patch(int(down.min()), int(down.max()) + 1, int(across.min()), int(across.max()) + 1)
        middle = (patch.top + patch.bottom) / 2 / rows, (patch.left + patch.right) / 2 / columns
        near = min(min(place, 1 - place) for place in middle) < BORDER
        if near and int(own.sum()) >= LEAST_PIXELS and patch.area <= LARGEST_PATCH * rows * columns:
            found.append((patch, chosen[own]))
    return found


def _groups(blocks: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """The number of the group of touching blocks that each belongs to."""
    group: dict[tuple[int, int], int] = {}
    there = set(blocks)
    for index, block in enumerate(sorted(there)):
        if block in group:
            continue
        group[block], waiting = index, [block]
        while waiting:
            down, across = waiting.pop()
            for near in ((down + i, across + j) for i in (-1, 0, 1) for j in (-1, 0, 1)):
                if near in there and near not in group:
                    group[near] = index
                    waiting.append(near)
    return group
