"""Videos under the names of other cameras: whose motion fits better where another one's pose is taken for its own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import torch
from torch import Tensor

from syncnerf.scene import Camera
from syncnerf.sync.conventions import agreement, calibrated_as
from syncnerf.sync.epipolar import EpipolarCameras
from syncnerf.sync.pencils import PencilView, pencil_view
from syncnerf.sync.result import Check, SyncResult
from syncnerf.sync.workers import in_parallel

SUSPICIOUS, UPPER = 0.7, 0.75
"""Two cameras of whose motion a smaller share is explained, in their mean, than this much of the upper quartile of all
may be exchanged: of exchanged ones that are next to each other it is 0.1 to 0.6 of that."""
MOST_SUSPICIOUS = 6
"""Cameras, those of the least share, that are asked in pairs."""
MOST_OTHERS, FIRST_OTHERS = 6, 2
"""Other cameras, those of the largest share, that are asked, and so many at first: wrong guesses are soon seen."""
BETTER, SURE = 1.2, 3.0
"""How many times as well they must agree, and by how many standard errors, or each by so many times what varies by
chance: exchanged neighbours' agreement becomes 1.6 to 4 times as large when they are put right, and right ones' less
than 0.8 when they are not."""
SHIFTED_PAIRS = 4
"""Pairs that are asked at first whether all videos belong to the next camera; if so, three times as many."""
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
    shares = torch.tensor([result.checks[name].explained for name in result.names]).nan_to_num(0.0)
    said = shifted_videos(cameras, prepared, shares) or exchanged_videos(cameras, prepared, shares)
    checks = {name: _doubted(check, said.get(name, "")) for name, check in result.checks.items()}
    return replace(result, checks=checks)


def exchanged_videos(cameras: Sequence[Camera], prepared: EpipolarCameras, shares: Tensor) -> Mapping[str, str]:
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

    def gains_of(pair: tuple[int, int]) -> Gains:
        others = [other for other in reversed(order) if other not in pair][:MOST_OTHERS]
        changed = _read_as(prepared, cameras, {pair[0]: pair[1], pair[1]: pair[0]})
        found = []
        for other in others:
            sums = (sum(agreement(each, own, other) for own in pair) for each in (prepared, changed))
            found.append(tuple(sums))
            if len(found) == FIRST_OTHERS and not _ratio(found) > 1:
                break
        return found

    said = {}
    every = in_parallel(gains_of, candidates, "exchanged videos", "pair")
    for gains, pair in sorted(zip(every, candidates, strict=True), key=lambda each: -_ratio(each[0])):
        names = [cameras[camera].name for camera in pair]
        if _is_better(gains) and not said.keys() & set(names):
            said |= dict.fromkeys(names, f"the videos of {names[0]} and {names[1]} fit better exchanged")
    return said


def shifted_videos(cameras: Sequence[Camera], prepared: EpipolarCameras, shares: Tensor) -> Mapping[str, str]:
    """What is to be said of all cameras, by name, if each one's video fits the one before or after it better.

    The arguments are those of :func:`exchanged_videos`.
    """
    count = len(cameras)
    if count < 3:
        return {}
    order = shares.argsort(descending=True).tolist()
    pairs = sorted(combinations(order, 2), key=lambda pair: max(map(order.index, pair)))[: 3 * SHIFTED_PAIRS]
    for step, side in ((-1, "before"), (1, "after")):
        changed = _read_as(prepared, cameras, {camera: (camera + step) % count for camera in range(count)})

        def both(pair: tuple[int, int], changed: EpipolarCameras = changed) -> tuple[float, float]:
            return agreement(prepared, *pair), agreement(changed, *pair)

        gains = in_parallel(both, pairs[:SHIFTED_PAIRS], "videos in another order", "pair")
        if _ratio(gains) > 1:
            gains += in_parallel(both, pairs[SHIFTED_PAIRS:], "videos in another order", "pair")
        if len(gains) > SHIFTED_PAIRS and _is_better(gains):
            names = cameras[0].name, cameras[step % count].name
            said = f"each video fits the camera {side} its own better, that of {names[0]} fits {names[1]}"
            return dict.fromkeys((camera.name for camera in cameras), said)
    return {}


def _read_as(prepared: EpipolarCameras, cameras: Sequence[Camera], taken: Mapping[int, int]) -> EpipolarCameras:
    """The same motion with some cameras' videos seen from other cameras' places, by index."""

    def view(camera: int) -> PencilView:
        return pencil_view(calibrated_as(cameras[camera], cameras[taken[camera]]), prepared.energies[camera])

    views = [view(camera) if camera in taken else own for camera, own in enumerate(prepared.views)]
    return replace(prepared, views=views)


def _ratio(gains: Gains) -> float:
    """How many times as well all agree together."""
    return sum(after for _, after in gains) / max(sum(before for before, _ in gains), 1e-9)


def _is_better(gains: Gains) -> bool:
    """Whether they agree better by a clear factor, and by more than what differs by chance from one to the next."""
    change = torch.tensor([after - before for before, after in gains])
    usual = change.mean() > SURE * change.std() / len(change) ** 0.5 if len(change) > FIRST_OTHERS else False
    return _ratio(gains) > BETTER and bool(usual or change.min() > SURE)


def _doubted(check: Check, said: str) -> Check:
    """A check that says so first; an undetermined camera's remains one, and its advice says so."""
    if not said:
        return check
    if check.verdict == "undetermined":
        return replace(check, advice=f"{said}: {ADVICE}")
    return replace(check, verdict="check", reason="; ".join(filter(None, [said, check.reason])), advice=ADVICE)
