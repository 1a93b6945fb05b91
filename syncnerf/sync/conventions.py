"""Poses in another convention than they are read in: which one would fit the motion."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

import torch
from torch import Tensor

from syncnerf.scene import Camera
from syncnerf.sync.comparison import Comparison
from syncnerf.sync.epipolar import EpipolarCameras, compare_pair
from syncnerf.sync.pencils import view_of
from syncnerf.sync.workers import in_parallel

SUSPICIOUS = 0.5
"""Where fewer than this share of the pairs that both see motion have a distinct lag, other conventions are tried."""
MOST_CAMERAS = 6
"""Cameras whose pairs are compared for that."""
TURNED = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))

CONVENTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "camera-to-world in OpenCV axes (+Y down, +Z view)": lambda pose: pose @ TURNED,
    "world-to-camera": torch.linalg.inv,
    "world-to-camera in OpenCV axes (+Y down, +Z view)": lambda pose: torch.linalg.inv(pose) @ TURNED,
}
"""What a pose may be that is taken for camera-to-world in OpenGL axes, and how it becomes that."""


def convention_hint(cameras: Sequence[Camera], prepared: EpipolarCameras, comparisons: Sequence[Comparison]) -> str:
    """Says which convention would fit the motion better than the one that the poses are read in; empty if none.

    Wrong poses send corresponding points to different lines, where nothing moves alike. Nothing is tried where most
    pairs agree on a lag.

    Args:
        cameras: of the scene, all static.
        prepared: their motion.
        comparisons: of all pairs, by the poses as they were read.
    """
    compared = [comparison for comparison in comparisons if comparison.peak is not None]
    accepted = [comparison for comparison in compared if not comparison.reason]
    if not compared or len(accepted) >= SUSPICIOUS * len(compared):
        return ""
    moving = sorted(range(len(cameras)), key=lambda c: -float(prepared.energies[c].values.sum(dtype=torch.float32)))
    chosen = sorted(moving[:MOST_CAMERAS])
    given = sum(comparison.first in chosen and comparison.second in chosen for comparison in accepted)
    found = {name: _agreeing_pairs(cameras, prepared, chosen, turn) for name, turn in CONVENTIONS.items()}
    best = max(found, key=found.__getitem__)
    pairs = len(chosen) * (len(chosen) - 1) // 2
    if found[best] < max(2 * given, 0.5 * pairs, 1):
        return ""
    return (
        f"read as {best}, the poses make {found[best]} of {pairs} pairs agree instead of {given}: "
        "convert them to camera-to-world in OpenGL axes (+X right, +Y up, -Z view)"
    )


def _agreeing_pairs(
    cameras: Sequence[Camera], prepared: EpipolarCameras, chosen: Sequence[int], turn: Callable[[Tensor], Tensor]
) -> int:
    """Pairs of the chosen cameras that have a distinct lag if their poses are turned."""
    views = list(prepared.views)
    for camera in chosen:
        turned = replace(cameras[camera], camera_to_world=turn(cameras[camera].pose(0)))
        views[camera] = view_of(turned, prepared.energies[camera])
    other = replace(prepared, views=views)
    pairs = list(combinations(chosen, 2))
    compared = in_parallel(lambda pair: compare_pair(other, *pair, None), pairs, "other conventions", "pair")
    return sum(comparison.peak is not None and not comparison.reason for comparison in compared)
