"""Poses and intrinsics in another reading than theirs: which one would fit the motion better.

Wrong poses send corresponding points to different lines, where nothing moves alike: the right ones make the motion of
all pairs of cameras agree most.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.scene import Camera
from syncnerf.sync.comparison import Comparison
from syncnerf.sync.correlation import condition, correlate
from syncnerf.sync.epipolar import compare_pair
from syncnerf.sync.epipolar_cameras import EpipolarCameras, least_baseline, unfit_pair
from syncnerf.sync.landscape import heights
from syncnerf.sync.pencils import pencil_view
from syncnerf.sync.workers import in_parallel

SUSPICIOUS = 0.5
"""Where fewer than this share of the pairs that both see motion have a distinct lag, other conventions are tried."""
MOST_CAMERAS = 6
"""Cameras whose pairs are compared for that."""
BETTER = 1.2
"""How many times the agreement of all pairs must grow for another reading to be named."""
MUCH_BETTER, AS_GOOD = 1.5, 0.5
"""The same of the pairs of some cameras, and the share of the other pairs' agreement that theirs must reach then."""
BEYOND = 100.0
"""So many times as well is compared with next to nothing."""
TURNED = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))

CONVENTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "camera-to-world in OpenCV axes (+Y down, +Z view)": lambda pose: pose @ TURNED,
    "world-to-camera": torch.linalg.inv,
    "world-to-camera in OpenCV axes (+Y down, +Z view)": lambda pose: torch.linalg.inv(pose) @ TURNED,
}
"""What a pose may be that is taken for camera-to-world in OpenGL axes, and how it becomes that (shape [..., 4, 4])."""


@dataclass(frozen=True)
class Reading:
    """Cameras that are read in another way.

    Attributes:
        said: what is taken for what.
        cameras: all of them, as they are then.
        changed: indices of those that differ.
    """

    said: str
    cameras: tuple[Camera, ...]
    changed: frozenset[int]


@dataclass(frozen=True)
class BetterReading:
    """A reading that fits the motion better than the given one.

    Attributes:
        said: what is taken for what.
        gain: how many times as well the motion of the pairs concerned agrees.
        pairs: how many of them have a distinct lag.
    """

    said: str
    gain: float
    pairs: int


def posed(
    said: str, cameras: Sequence[Camera], turn: Callable[[Float64[Tensor, "... 4 4"]], Float64[Tensor, "... 4 4"]]
) -> Reading:
    """The reading in which every pose is another."""
    turned = tuple(replace(camera, camera_to_world=turn(camera.camera_to_world)) for camera in cameras)
    return Reading(said, turned, frozenset(range(len(cameras))))


def calibrated_as(camera: Camera, other: Camera) -> Camera:
    """A camera with the pose and the intrinsics of another, for its own images."""
    width, height = camera.intrinsics.width, camera.intrinsics.height
    return replace(camera, camera_to_world=other.camera_to_world, intrinsics=other.intrinsics.resized(width, height))


def in_places(cameras: Sequence[Camera], taken: Mapping[int, int]) -> tuple[Camera, ...]:
    """The cameras, some of them, by index, in the place of another one among them, as if its video were theirs."""
    return tuple(
        calibrated_as(camera, cameras[taken[index]]) if index in taken else camera
        for index, camera in enumerate(cameras)
    )


def convention_hint(cameras: Sequence[Camera], prepared: EpipolarCameras, comparisons: Sequence[Comparison]) -> str:
    """Says which convention would fit the motion better than the one that the poses are read in; empty if none.

    Nothing is tried where most pairs agree on a lag and their lines are aligned: on one side of a scene, where all
    cameras see much the same, wrong poses make pairs agree too, but not line by line. Poses that are wholly wrong leave
    no line with motion in two views.

    Args:
        cameras: of the scene, all static.
        prepared: their motion.
        comparisons: of all pairs, by the poses as they were read.
    """
    compared = [comparison for comparison in comparisons if comparison.peak is not None]
    accepted = [comparison for comparison in compared if not comparison.reason]
    if prepared.exact and len(accepted) >= SUSPICIOUS * len(compared):
        return ""
    moving = sorted(range(len(cameras)), key=lambda c: -float(prepared.energies[c].values.sum(dtype=torch.float32)))
    chosen = sorted(moving[:MOST_CAMERAS])
    some = [cameras[index] for index in chosen]
    part = chosen_of(prepared, chosen)
    given = sum(comparison.first in chosen and comparison.second in chosen for comparison in accepted)
    readings = [posed(said, some, turn) for said, turn in CONVENTIONS.items()]
    best = better_reading(part, agreements(part, some), readings, given)
    if best is None:
        return ""
    pairs = len(chosen) * (len(chosen) - 1) // 2
    motion = f", and motion {best.gain:.1f} times as well" if best.gain < BEYOND else ""
    return (
        f"read as {best.said}, the poses make {best.pairs} of {pairs} pairs agree instead of {given}{motion}: "
        "convert them to camera-to-world in OpenGL axes (+X right, +Y up, -Z view)"
    )


def chosen_of(prepared: EpipolarCameras, chosen: Sequence[int]) -> EpipolarCameras:
    """The motion of some of the cameras."""
    parts = ("energies", "views", "rates", "times")
    return replace(prepared, **{part: [getattr(prepared, part)[index] for index in chosen] for part in parts})


def better_reading(
    prepared: EpipolarCameras, given: dict[tuple[int, int], float], readings: Iterable[Reading], given_pairs: int
) -> BetterReading | None:
    """The reading that fits the motion clearly better than the given one; None if there is none.

    Args:
        prepared: the cameras' motion.
        given: agreement by pair, as the cameras were read (see :func:`agreements`).
        readings: to be tried.
        given_pairs: how many pairs have a distinct lag as the cameras were read.
    """
    found = [(reading, agreements(prepared, reading.cameras, reading.changed)) for reading in readings]
    if not found:
        return None
    best, agreed = max(found, key=lambda each: sum(each[1].values()) - sum(given[pair] for pair in each[1]))
    gain = sum(agreed.values()) / max(sum(given[pair] for pair in agreed), 1e-9)
    others = [value for pair, value in given.items() if pair not in agreed]
    if gain <= (MUCH_BETTER if others else BETTER):
        return None
    if others and sum(agreed.values()) / len(agreed) < AS_GOOD * sum(others) / len(others):
        return None
    other = seen_by(prepared, best.cameras)
    compared = in_parallel(lambda pair: compare_pair(other, *pair, None), list(given), "another reading", "pair")
    distinct = sum(comparison.peak is not None and not comparison.reason for comparison in compared)
    enough = distinct >= max(given_pairs, SUSPICIOUS * len(given), 1)
    return BetterReading(best.said, gain, distinct) if enough else None


def is_best_reading(
    prepared: EpipolarCameras, given: dict[tuple[int, int], float], readings: Iterable[Reading]
) -> bool:
    """Whether the motion agrees clearly better as the cameras were read than in each of some readings of them all.

    The pairs of every single camera must agree better as well: a few good pairs say nothing of the others' cameras.

    Args:
        prepared: the cameras' motion.
        given: agreement by pair, as the cameras were read (see :func:`agreements`).
        readings: of which each changes every camera.
    """
    for reading in readings:
        other = agreements(prepared, reading.cameras)
        if sum(given.values()) <= BETTER * sum(other.values()):
            return False
        gained = {pair: value - other[pair] for pair, value in given.items()}
        cameras = range(len(reading.cameras))
        if any(sum(gain for pair, gain in gained.items() if camera in pair) <= 0 for camera in cameras):
            return False
    return True


def agreements(
    prepared: EpipolarCameras, cameras: Sequence[Camera], changed: frozenset[int] | None = None
) -> dict[tuple[int, int], float]:
    """How well the motion of each pair agrees at its best shift, in what it varies by chance, by the pair's indices.

    Args:
        prepared: the cameras' motion.
        cameras: the poses and intrinsics by which it is compared.
        changed: pairs without any of these cameras are left out; None for all pairs.
    """
    seen = seen_by(prepared, cameras, changed)
    pairs = [pair for pair in combinations(range(len(cameras)), 2) if changed is None or changed & set(pair)]
    return dict(zip(pairs, in_parallel(lambda pair: agreement(seen, *pair), pairs, "readings", "pair"), strict=True))


def seen_by(
    prepared: EpipolarCameras, cameras: Sequence[Camera], changed: Collection[int] | None = None
) -> EpipolarCameras:
    """The same motion, seen by cameras of other poses and intrinsics.

    Args:
        prepared: the cameras' motion.
        cameras: as which they are seen.
        changed: indices of those that differ from what they were; None for all.
    """
    views = [
        pencil_view(cameras[index], energy) if changed is None or index in changed else own
        for index, (own, energy) in enumerate(zip(prepared.views, prepared.energies, strict=True))
    ]
    return replace(prepared, views=views, least_baseline=least_baseline(views))


def agreement(prepared: EpipolarCameras, first: int, second: int) -> float:
    """How well the motion of two cameras agrees at its best shift, in what it varies by chance."""
    if unfit_pair(prepared, first, second):
        return 0.0
    lines, informative, _ = prepared.signals(first, second)
    if len(lines[0]) == 0:
        return 0.0
    signals = [condition(signal, False, known) for signal, known in zip(lines, informative, strict=True)]
    found = correlate(*signals, informative)
    score = heights(found.values, found.overlap)[:, found.overlap > 0]
    return max(float(score.max()), 0.0) if score.numel() else 0.0
