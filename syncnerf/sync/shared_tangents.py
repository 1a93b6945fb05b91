"""The epipolar tangents of all pairs of cameras, over their whole videos."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch

from syncnerf.scene import Scene
from syncnerf.sync.epipolar_cameras import EpipolarCameras
from syncnerf.sync.outlines import Outlines, outlines
from syncnerf.sync.tangents import Tangent, tangents
from syncnerf.sync.workers import in_parallel

ERROR = 0.2
"""Pixels by which a tangent errs; larger differences count ever less."""
LEAST_PAIRS = 3
"""A camera that shares tangents with fewer others is left out."""
WIDENING, SHARED = 2.0, 0.02
"""Factor that the errors of what tangents say lack, and frames that a camera errs by in all of its pairs, at all times;
measured."""


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


def shared_tangents(scene: Scene, cameras: EpipolarCameras) -> list[SharedTangent]:
    """The tangents that pairs of cameras share, pair by pair, in frames that are informative.

    Cameras whose frames were put back or left out are passed over.

    Args:
        scene: cameras and frames, static.
        cameras: their motion.
    """
    chosen = [camera for camera, energy in enumerate(cameras.energies) if len(energy.pixels) and energy.pace == 1]

    def outline(camera: int) -> Outlines:
        informative = cameras.informative(camera)
        edge = informative.new_zeros(1)
        told = torch.cat([informative, edge]) | torch.cat([edge, informative])
        energy = cameras.energies[camera]
        burned = [patch.in_image(energy.pool) for patch in energy.burned]
        return outlines(scene, camera, told, energy.gains, burned)

    seen = dict(zip(chosen, in_parallel(outline, chosen, "outlines", "camera"), strict=True))

    def compare(pair: tuple[int, int]) -> list[SharedTangent]:
        views = [seen[camera].view for camera in pair]
        if float((views[0].centre - views[1].centre).norm()) <= cameras.least_baseline:
            return []
        error = ERROR * max(view.spacing for view in views)
        return [SharedTangent(*pair, angles, error) for angles in tangents(*(seen[camera] for camera in pair))]

    found = in_parallel(compare, list(combinations(chosen, 2)), "tangents", "pair")
    return [each for several in found for each in several]
