"""Point tracks of a video, by pyramidal Lucas-Kanade."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from kornia.feature import gftt_response
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from syncnerf.sync.windows import WINDOW, moved_windows, sample, window_offsets

LEVELS = 3
"""Images of the pyramid, each half the size of the one before."""
RENEW_EVERY = 6
"""Frames between searches for new corners."""
MOST_POINTS = 250
"""Points followed at once."""
CORNER_DISTANCE = 4
"""Pixels that points keep from each other when they are chosen."""
RETURN_DISTANCE = 0.5
"""A step is believed if following it back ends within this many pixels."""
LEAST_LENGTH = 8
"""Frames that a track must last to be kept."""


@dataclass(frozen=True)
class Tracks:
    """Points followed through one camera's video.

    Attributes:
        points: places in pixels (pixel centres at +0.5), float32, shape [T, N, 2]; or in the world, shape [T, N, 3].
        visible: where they are known, bool, shape [T, N].
        colours: mean colour around each point where it was first seen, grey levels, float32, shape [N, 3]; None where
            a file brought no colours.
        ids: numbers that tell which tracks of several cameras are of one point, int64, shape [N], or None.
        features: what each point looks like, of any length but 0, float32, shape [N, D], or None.
    """

    points: Float32[Tensor, "T N D"]
    visible: Bool[Tensor, "T N"]
    colours: Float32[Tensor, "N 3"] | None
    ids: Int64[Tensor, " N"] | None = None
    features: Float32[Tensor, "N F"] | None = None

    def __len__(self) -> int:
        return self.points.shape[1]


def follow_points(frames: UInt8[np.ndarray, "T height width 3"]) -> Tracks:
    """Track corners through a video by pyramidal Lucas-Kanade (Bouguet), with a check forward and back.

    Corners (Shi-Tomasi) are found in the first frame and every few frames again where no point is near.

    Args:
        frames: uint8 RGB, shape [T, height, width, 3]; one frame is read at a time.

    Returns:
        The tracks that last at least 8 frames.
    """
    count = len(frames)
    previous = _pyramid(frames[0])
    current, places = torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)
    positions: list[tuple[Tensor, Tensor]] = []
    colours: list[Tensor] = []
    total = 0
    for frame in range(count):
        if frame > 0:
            following = _pyramid(frames[frame])
            moved, good = _follow(previous, following, current)
            current, places, previous = moved[good], places[good], following
        if frame % RENEW_EVERY == 0 and frame < count - LEAST_LENGTH:
            fresh = _corners(previous[0], current)
            colours.append(_colours(frames[frame], fresh))
            current = torch.cat([current, fresh])
            places = torch.cat([places, total + torch.arange(len(fresh))])
            total += len(fresh)
        positions.append((places, current))
    points, visible = torch.zeros(count, total, 2), torch.zeros(count, total, dtype=torch.bool)
    for frame, (columns, values) in enumerate(positions):
        points[frame, columns], visible[frame, columns] = values, True
    lasting = visible.sum(0) >= LEAST_LENGTH
    return Tracks(points[:, lasting], visible[:, lasting], torch.cat(colours)[lasting] if colours else None)


def _pyramid(image: np.ndarray) -> list[Tensor]:
    """Colour images of halving size, float32, each of shape [1, 3, height, width]."""
    level = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    levels = [level]
    for _ in range(LEVELS - 1):
        if min(level.shape[-2:]) < 8 * WINDOW:
            break
        level = avg_pool2d(level, 2)
        levels.append(level)
    return levels


def _corners(image: Tensor, taken: Tensor) -> Tensor:
    """Strongest corners away from points already followed and from the border, shape [N, 2]."""
    room = MOST_POINTS - len(taken)
    border = WINDOW + 1
    if room <= 0 or min(image.shape[-2:]) <= 2 * border:
        return torch.zeros(0, 2)
    response = gftt_response(image.mean(1, keepdim=True))
    size = 2 * CORNER_DISTANCE + 1
    peaks = (response == max_pool2d(response, size, 1, CORNER_DISTANCE))[0, 0]
    strength = response[0, 0]
    peaks &= strength > 0.01 * strength.max()
    inside = torch.zeros_like(peaks)
    inside[border:-border, border:-border] = True
    row, column = (peaks & inside).nonzero().unbind(-1)
    candidates = torch.stack([column, row], -1) + 0.5
    order = strength[row, column].argsort(descending=True)
    candidates = candidates[order]
    if len(taken):
        candidates = candidates[torch.cdist(candidates, taken).amin(1) > CORNER_DISTANCE]
    return candidates[:room]


def first_colours(frames: UInt8[np.ndarray, "T height width 3"], tracks: Tracks) -> Float32[Tensor, "N 3"]:
    """Mean colour around each track's point where it is first seen, grey levels, shape [N, 3]; 0 where it never is.

    Args:
        frames: uint8 RGB, shape [T, height, width, 3].
        tracks: of these frames, in their pixels.
    """
    colours = torch.zeros(len(tracks), 3)
    first = tracks.visible.int().argmax(dim=0)
    for frame in first.unique().tolist():
        mine = ((first == frame) & tracks.visible[frame]).nonzero()[:, 0]
        colours[mine] = _colours(frames[frame], tracks.points[frame, mine])
    return colours


def _colours(frame: np.ndarray, points: Tensor) -> Tensor:
    """Mean colours of 5x5 pixels around points, shape [N, 3]."""
    image = torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float()
    return sample(avg_pool2d(image, 5, 1, 2, count_include_pad=False), points[:, None])[:, 0]


def _follow(before: list[Tensor], after: list[Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
    """Where points went from one image to the next (shape [N, 2]), and whether that can be believed (bool, [N])."""
    if len(points) == 0:
        return points, torch.zeros(0, dtype=torch.bool)
    moved, difference = _step(before, after, points)
    returned, _ = _step(after, before, moved)
    height, width = before[0].shape[-2:]
    border = WINDOW
    inside = (
        (moved[:, 0] > border)
        & (moved[:, 0] < width - border)
        & (moved[:, 1] > border)
        & (moved[:, 1] < height - border)
    )
    good = ((returned - points).norm(dim=-1) < RETURN_DISTANCE) & inside & (difference < 25.0)
    return moved, good


def _step(before: list[Tensor], after: list[Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
    """Coarse-to-fine translation of each point's window; new places and the mean absolute difference left."""
    shift = torch.zeros_like(points)
    for level in range(len(before) - 1, -1, -1):
        scale = 2.0**level
        shift = scale * moved_windows(before[level], after[level], points / scale, shift / scale)
    offsets = window_offsets()
    left = sample(before[0], points[:, None] + offsets) - sample(after[0], (points + shift)[:, None] + offsets)
    return points + shift, left.abs().mean((1, 2))
