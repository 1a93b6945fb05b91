"""Trails: strong temporal noise reduction mixes earlier pictures into each one, so that motion is shown late."""

from dataclasses import replace

import torch
from torch import Tensor

from syncnerf.scene import Scene
from syncnerf.sync.frame_samples import Frames, sampled_pixels
from syncnerf.sync.result import SyncResult

SAMPLES = 4000
"""About how many pixels are looked at."""
VISIBLE = 16
"""Grey levels, in one channel, by which a pixel must change for what follows to be looked at."""
RANGE = (0.25, 0.9)
"""Share of one change that the next one may be, where a picture is mixed with the one before."""
TOLERANCE, SHARE = 3.0, 0.1
"""Grey levels, and share of the first change, to which three changes must follow from each other."""
REPEATED = 0.1
"""Share of the median frame's changes below which a frame repeats the one before, or shows nothing that moves: what is
shown twice or stands still makes changes fade, and they are looked at as if such frames were not there."""
LEAST_TRAILS = 160
"""Pixels' changes that must fade so ..."""
LOPSIDED = 2.1
"""... and how many times as many as grow so, which is what they do backwards in time; measured, 0.5 to 1.9 in whole
videos and otherwise damaged ones, and 2.4 and more in mixed ones of a half to four fifths, that were not compressed
strongly afterwards."""
MOST_MOMENTS = 0.55
"""Share of the moments at which anything fades or grows so in which that must be so: loops make changes fade now and
then. Measured, at most 0.5, and 0.59 and more."""
DIFFERENT = 0.15
"""Share of the picture before by which a camera's mixing must differ from what is usual among all to be harmful."""
ERROR = 0.5
"""Frames of standard error of the offset of such a camera; measured."""
ADVICE = "switch it off, or take recordings without"


def with_trails(scene: Scene, result: SyncResult) -> SyncResult:
    """The result with doubts about cameras whose pictures keep more, or less, of earlier ones than the others' do.

    Args:
        scene: cameras that stand still, and their frames.
        result: with checks.
    """
    kept = torch.tensor([kept_share(scene.frame_cache.open(camera)) for camera in scene.cameras], dtype=torch.float64)
    usual = kept.median()
    odd = ((kept - usual).abs() > DIFFERENT).nonzero()[:, 0].tolist()
    if not odd:
        return result
    stderr = result.stderr.clone()
    stderr[odd] = torch.hypot(stderr[odd], torch.full((len(odd),), ERROR * scene.frame_interval, dtype=torch.float64))
    said = {
        result.names[camera]: f"each of its pictures keeps about {float(kept[camera]):.0%} of the one before, "
        f"most cameras' {float(usual):.0%} (temporal noise reduction?), so that motion is seen late"
        for camera in odd
    }
    return replace(result, stderr=stderr).doubted(said, ADVICE)


def kept_share(frames: Frames) -> float:
    """Share of the picture before that is left in each of a video's pictures; 0 where none seems to be.

    Such a filter turns a sudden change into ever smaller steps, each the same share of the one before: changes fade.
    Without it, as many changes grow geometrically as fade, whatever moves.

    Args:
        frames: uint8 RGB, shape [T, height, width, 3]; read in pieces, so it may be a memory map.
    """
    if len(frames) < 4:
        return 0.0
    changes, large = _changes(sampled_pixels(frames, SAMPLES).flatten(1, 2).to(torch.int16))
    (fading, when), (growing, before) = (_geometric(changes, large, step) for step in (1, -1))
    if len(fading) < LEAST_TRAILS or len(fading) < LOPSIDED * len(growing):
        return 0.0
    faded, grown = (each.bincount(minlength=len(changes)) for each in (when, before))
    told = (faded + grown > 0).sum()
    return float(fading.median()) if (faded > LOPSIDED * grown).sum() >= MOST_MOMENTS * told else 0.0


def _changes(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Changes of pixels [T, N, 3] from frame to frame [M, N, 3], repeated ones left out, and which are large [M, N]."""
    changes = pixels.diff(dim=0)
    large = changes.abs().amax(-1) > VISIBLE
    counts = large.sum(1).double()
    moving = counts > (REPEATED * counts[counts > 0].median() if counts.any() else 0.0)
    changes = pixels[torch.cat([moving.new_ones(1), moving])].diff(dim=0)
    return changes, changes.abs().amax(-1) > VISIBLE


def _geometric(changes: Tensor, large: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Large ones of the changes [T, N, 3] that go on in one direction of time as geometric series do.

    Returns:
        The ratios of such series, and when they begin, shape [M] each.
    """
    moment, pixel = large.nonzero(as_tuple=True)
    inside = (moment + 2 * step >= 0) & (moment + 2 * step < len(changes))
    moment, pixel = moment[inside], pixel[inside]
    first, second, third = (changes[moment + k * step, pixel].float() for k in range(3))
    power = first.square().sum(-1)
    ratio = (first * second).sum(-1) / power
    limit = TOLERANCE + SHARE * second.norm(dim=-1)
    steps = (first, second), (second, third)
    close = [(after - ratio[:, None] * before).norm(dim=-1) < limit for before, after in steps]
    series = close[0] & close[1] & (ratio > RANGE[0]) & (ratio < RANGE[1])
    return ratio[series], moment[series]
