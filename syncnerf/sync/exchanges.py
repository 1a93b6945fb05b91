"""Videos under another camera's name: their motion agrees better with the others' by that camera's pose."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain, combinations

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.scene import Camera
from syncnerf.sync.conventions import agreement, in_places, seen_by
from syncnerf.sync.epipolar_cameras import EpipolarCameras
from syncnerf.sync.gains import (
    MOST_OTHERS,
    MOST_SUSPICIOUS,
    SUSPICIOUS,
    UPPER,
    Gains,
    explained_shares,
    gain_ratio,
    gains_over,
)
from syncnerf.sync.result import SyncResult
from syncnerf.sync.workers import in_parallel

FEW_OTHERS = 2
"""From so many gains no spread is estimated."""
BETTER, SURE = 1.2, 3.0
"""Factor by which an exchange must raise agreement, and the standard errors by which the mean gain, or the chance
deviations by which each single gain, must exceed 0. Measured: putting exchanged neighbours right raises agreement 1.6
to 4 times; exchanging cameras that are right lowers it to less than 0.8."""
SHIFTED_PAIRS, MORE_PAIRS = 2, 10
"""Pairs that are tried first for whether all videos belong to the next camera, and further ones where they say so."""
ADVICE = "are the files or the poses named the wrong way round?"


def with_exchanges(cameras: Sequence[Camera], prepared: EpipolarCameras, result: SyncResult) -> SyncResult:
    """The result with doubts about cameras whose videos are another's.

    Args:
        cameras: of the scene, all static.
        prepared: their motion.
        result: with checks, which know how much of each camera's motion is explained.
    """
    shares = explained_shares(result)
    said = shifted_videos(cameras, prepared, shares) or exchanged_videos(cameras, prepared, shares)
    return result.doubted(said, ADVICE)


def exchanged_videos(
    cameras: Sequence[Camera], prepared: EpipolarCameras, shares: Float[Tensor, " C"]
) -> Mapping[str, str]:
    """Remarks, by name, on cameras that agree clearly better with the others once two exchange their videos.

    Args:
        cameras: of the scene.
        prepared: their motion.
        shares: of each camera's motion that is explained, 0 where it is not determined, shape [C].
    """
    order = shares.argsort().tolist()
    suspicious = [camera for camera in order if len(prepared.energies[camera].pixels)][:MOST_SUSPICIOUS]
    least = SUSPICIOUS * float(shares.quantile(UPPER))
    candidates = [pair for pair in combinations(sorted(suspicious), 2) if float(shares[list(pair)].mean()) < least]

    @cache
    def given(camera: int, other: int) -> float:
        return agreement(prepared, camera, other)

    def gains_of(pair: tuple[int, int]) -> Gains:
        others = [other for other in reversed(order) if other not in pair][:MOST_OTHERS]
        changed = seen_by(prepared, in_places(cameras, {pair[0]: pair[1], pair[1]: pair[0]}), pair)

        def compared(other: int) -> tuple[float, float]:
            return sum(given(own, other) for own in pair), sum(agreement(changed, own, other) for own in pair)

        return gains_over(others, compared)

    said = {}
    every = in_parallel(gains_of, candidates, "exchanged videos", "pair")
    for gains, pair in sorted(zip(every, candidates, strict=True), key=lambda each: -gain_ratio(each[0])):
        names = [cameras[camera].name for camera in pair]
        if _is_better(gains) and not said.keys() & set(names):
            said |= dict.fromkeys(names, f"the videos of {names[0]} and {names[1]} fit better exchanged")
    return said


def shifted_videos(
    cameras: Sequence[Camera], prepared: EpipolarCameras, shares: Float[Tensor, " C"]
) -> Mapping[str, str]:
    """Remarks on all cameras, by name, if each video fits the camera before or after its own better.

    The arguments are those of :func:`exchanged_videos`.
    """
    count = len(cameras)
    if count < 3:
        return {}
    order = shares.argsort(descending=True).tolist()
    pairs = sorted(combinations(order, 2), key=lambda pair: max(map(order.index, pair)))[: SHIFTED_PAIRS + MORE_PAIRS]
    given, asked = _agreements(prepared, pairs[:SHIFTED_PAIRS]), set(chain(*pairs))
    for step, side in ((-1, "before"), (1, "after")):
        changed = seen_by(prepared, in_places(cameras, {own: (own + step) % count for own in asked}), asked)
        gains = list(zip(given, _agreements(changed, pairs[:SHIFTED_PAIRS]), strict=True))
        if gain_ratio(gains) > 1:
            more = (_agreements(each, pairs[SHIFTED_PAIRS:]) for each in (prepared, changed))
            gains += zip(*more, strict=True)
        if len(gains) > SHIFTED_PAIRS and _is_better(gains):
            names = cameras[0].name, cameras[step % count].name
            said = f"each video fits the camera {side} its own better, that of {names[0]} fits {names[1]}"
            return dict.fromkeys((camera.name for camera in cameras), said)
    return {}


def _agreements(prepared: EpipolarCameras, pairs: Sequence[tuple[int, int]]) -> list[float]:
    return in_parallel(lambda pair: agreement(prepared, *pair), pairs, "order of videos", "pair")


def _is_better(gains: Gains) -> bool:
    """Whether the exchange raises agreement by a clear factor, and by more than chance varies from pair to pair."""
    change = torch.tensor([after - before for before, after in gains])
    usual = change.mean() > SURE * change.std() / len(change) ** 0.5 if len(change) > FEW_OTHERS else False
    return gain_ratio(gains) > BETTER and bool(usual or change.min() > SURE)
