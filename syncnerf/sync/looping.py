"""Videos that repeat themselves: one period's frames shown again and again, by a loop or by what is filmed."""

import torch
from torch import Tensor

from syncnerf.scene import Scene
from syncnerf.sync.frame_samples import Frames, sampled_pixels
from syncnerf.sync.result import SyncResult

SAMPLES, VISIBLE = 600, 24
"""About how many pixels are looked at, and grey levels, summed over channels, that one must change by to count."""
LEAST_PIXELS = 6
"""With fewer that change from a frame to the next there is no telling."""
MOST_FRAMES = 60
"""Frames, spread over the video, for each of which its like is sought among all."""
LEAST_PERIOD = 8
"""Frames from which on a frame is another one's repetition, not its neighbour."""
ALIKE = 0.25
"""A frame's repetition differs from it in fewer pixels than this share of those that the frames next to it do."""
LEAST_ALIKE, LEAST_SHARE = 6, 0.5
"""Frames, and share of those in motion so far from the ends, that must be repeated after the same time."""


def find_loop(frames: Frames) -> int | None:
    """Frames after which a video repeats itself; None where it does not.

    Motion that is nearly periodic is alike after a period, but no more so than from frame to frame: only what is shown
    again, or repeats in whole frames, is. Where nothing moves neither differs, and that says nothing.

    Args:
        frames: uint8 RGB, shape [T, height, width, 3]; read in pieces, so it may be a memory map.
    """
    pixels = sampled_pixels(frames, SAMPLES).flatten(1, 2)
    count = len(pixels)
    if count < LEAST_PERIOD + LEAST_ALIKE:
        return None
    pixels = pixels[:, _changed(pixels[1:], pixels[:-1]).any(0)]
    if pixels.shape[1] < LEAST_PIXELS:
        return None
    repeated, asked = torch.zeros(count), torch.zeros(count)
    for frame in range(1, count - 1, max(1, count // MOST_FRAMES)):
        changed = _changed(pixels, pixels[frame]).sum(1)
        beside = int(torch.minimum(changed[frame - 1], changed[frame + 1]))
        if beside < LEAST_PIXELS:
            continue
        later, earlier = changed[frame:] < ALIKE * beside, changed[: frame + 1].flip(0) < ALIKE * beside
        both = torch.zeros(count, dtype=torch.bool)
        both[: len(later)] |= later
        both[: len(earlier)] |= earlier
        repeated += both
        asked[: max(len(later), len(earlier))] += 1
    loops = (repeated >= LEAST_ALIKE) & (repeated >= LEAST_SHARE * asked)
    periods = loops[LEAST_PERIOD:].nonzero()[:, 0] + LEAST_PERIOD
    return int(periods[0]) if len(periods) else None


def _changed(first: Tensor, second: Tensor) -> Tensor:
    """Which pixels of frames differ visibly from those of others, bool, shape [T, N]."""
    return (torch.maximum(first, second) - torch.minimum(first, second)).sum(-1, dtype=torch.int16) > VISIBLE


def with_loops(scene: Scene, result: SyncResult) -> SyncResult:
    """The result with a warning for cameras whose videos repeat themselves: any of the repetitions may be meant."""
    remarks = {}
    for camera in scene.cameras:
        period = find_loop(scene.frame_cache.open(camera)) if camera.name not in result.reasons else None
        if period is not None:
            remarks[camera.name] = f"its video repeats itself after {period / camera.fps:.2f} s"
    return result.warned(remarks)
