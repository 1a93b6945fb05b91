"""Videos under the names of other cameras: whose motion fits better where another one's pose is taken for its own."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain, combinations

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.scene import Camera
from syncnerf.sync.conventions import agreement, in_places, seen_by
from syncnerf.sync.epipolar_cameras import EpipolarCameras
from syncnerf.sync.result import SyncResult
from syncnerf.sync.workers import in_parallel

SUSPICIOUS, UPPER = 0.7, 0.75
"""Two cameras of whose motion a smaller share is explained, in their mean, than this much of the upper quartile of all
may be exchanged: of exchanged ones that are next to each other it is 0.1 to 0.6 of that."""
MOST_SUSPICIOUS = 6
"""Cameras, those of the least share, that are asked in pairs."""
MOST_OTHERS, FEW_OTHERS = 6, 2
"""Other cameras, those of the largest share, that are asked, until all so far are against it: wrong guesses are soon
seen. Of so few the spread tells nothing."""
BETTER, SURE = 1.2, 3.0
"""How many times as well they must agree, and by how many standard errors, or each by so many times what varies by
chance: exchanged neighbours' agreement becomes 1.6 to 4 times as large when they are put right, and right ones' less
than 0.8 when they are not."""
SHIFTED_PAIRS, MORE_PAIRS = 2, 10
"""Pairs that are asked at first whether all videos belong to the next camera, and if so."""
ADVICE = "are the files or the poses named the wrong way round?"

Gains = list[tuple[float, float]]
"""What pairs agree by as the cameras are named, and otherwise."""


def with_exchanges(cameras: Sequence[Camera], prepared: EpipolarCameras, result: SyncResult) -> SyncResult:
    """The result with doubts about cameras whose videos are another's.

    Args:
        cameras: of the scene, all static.
        prepared: their motion.
        result: with checks, which know how much of each camera's motion is explained.
    """
    explained = [result.checks[name].explained for name in result.names]
    shares = torch.tensor(explained, dtype=torch.float64).nan_to_num(0.0)
    said = shifted_videos(cameras, prepared, shares) or exchanged_videos(cameras, prepared, shares)
    return result.doubted(said, ADVICE)


def exchanged_videos(
    cameras: Sequence[Camera], prepared: EpipolarCameras, shares: Float[Tensor, " C"]
) -> Mapping[str, str]:
    """What is to be said, by name, of cameras that agree clearly better with others if they exchange their videos.

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
        found = []
        for other in others:
            found.append((sum(given(own, other) for own in pair), sum(agreement(changed, own, other) for own in pair)))
            if not _ratio(found) > 1:
                break
        return found

    said = {}
    every = in_parallel(gains_of, candidates, "exchanged videos", "pair")
    for gains, pair in sorted(zip(every, candidates, strict=True), key=lambda each: -_ratio(each[0])):
        names = [cameras[camera].name for camera in pair]
        if _is_better(gains) and not said.keys() & set(names):
            said |= dict.fromkeys(names, f"the videos of {names[0]} and {names[1]} fit better exchanged")
    return said


def shifted_videos(
    cameras: Sequence[Camera], prepared: EpipolarCameras, shares: Float[Tensor, " C"]
) -> Mapping[str, str]:
    """What is to be said of all cameras, by name, if each one's video fits the one before or after it better.

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
        if _ratio(gains) > 1:
            more = (_agreements(each, pairs[SHIFTED_PAIRS:]) for each in (prepared, changed))
            gains += zip(*more, strict=True)
        if len(gains) > SHIFTED_PAIRS and _is_better(gains):
            names = cameras[0].name, cameras[step % count].name
            said = f"each video fits the camera {side} its own better, that of {names[0]} fits {names[1]}"
            return dict.fromkeys((camera.name for camera in cameras), said)
    return {}


def _agreements(prepared: EpipolarCameras, pairs: Sequence[tuple[int, int]]) -> list[float]:
    return in_parallel(lambda pair: agreement(prepared, *pair), pairs, "order of videos", "pair")


def _ratio(gains: Gains) -> float:
    """How many times as well all agree together."""
    return sum(after for _, after in gains) / max(sum(before for before, _ in gains), 1e-9)


def _is_better(gains: Gains) -> bool:
    """Whether they agree better by a clear factor, and by more than what differs by chance from one to the next."""
    change = torch.tensor([after - before for before, after in gains])
    usual = change.mean() > SURE * change.std() / len(change) ** 0.5 if len(change) > FEW_OTHERS else False
    return _ratio(gains) > BETTER and bool(usual or change.min() > SURE)
