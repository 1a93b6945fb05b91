"""The epipolar tangents of all pairs of cameras, over their whole videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Bool
from torch import Tensor

from syncnerf.scene import Scene
from syncnerf.sync.epipolar import EpipolarCameras
from syncnerf.sync.outlines import Outlines, outlines
from syncnerf.sync.tangents import Tangent, tangents
from syncnerf.sync.workers import in_parallel

ERROR = 0.2
"""Pixels by which a tangent errs; larger differences count ever less."""


@dataclass(frozen=True)
class SharedTangent:
    """A tangent as two cameras saw it.

    Attributes:
        first: index of the one camera.
        second: of the other.
        angles: of both.
        error: radians by which an angle errs; larger differences count ever less.
    """

    first: int
    second: int
    angles: tuple[Tangent, Tangent]
    error: float


def seen_outlines(scene: Scene, cameras: EpipolarCameras, chosen: Sequence[int]) -> dict[int, Outlines]:
    """Outlines in some of the cameras' frames that say something, by global index.

    Args:
        scene: cameras and frames, static.
        cameras: which frames say something.
        chosen: global indices.
    """

    def outline(camera: int) -> Outlines:
        informative = cameras.informative(camera)
        edge = informative.new_zeros(1)
        return outlines(scene, camera, torch.cat([informative, edge]) | torch.cat([edge, informative]))

    return dict(zip(chosen, in_parallel(outline, chosen, "outlines", "camera"), strict=True))


def shared_tangents(scene: Scene, cameras: EpipolarCameras, known: Bool[Tensor, " C"]) -> list[SharedTangent]:
    """What all pairs of cameras see of the same tangents.

    Args:
        scene: cameras and frames, static.
        cameras: which frames say something.
        known: which cameras to compare, bool, shape [C].
    """
    chosen = [camera for camera in known.nonzero()[:, 0].tolist() if cameras.energies[camera].pace == 1]
    seen = seen_outlines(scene, cameras, chosen)

    def compare(pair: tuple[int, int]) -> list[SharedTangent]:
        views = [seen[camera].view for camera in pair]
        if float((views[0].centre - views[1].centre).norm()) <= cameras.least_baseline:
            return []
        error = ERROR * max(view.spacing for view in views)
        return [SharedTangent(*pair, angles, error) for angles in tangents(*(seen[camera] for camera in pair))]

    found = in_parallel(compare, list(combinations(chosen, 2)), "tangents", "pair")
    return [each for several in found for each in several]
