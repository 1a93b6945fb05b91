"""Common mistakes in calibrations: other conventions for poses, swapped cameras, another resolution.

A *reading* is the scene's cameras as they would be if the calibration meant something else. The import tries these if
what it was told does not fit the videos, and names the one that fits best.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from syncnerf.scene import Camera
from syncnerf.sync.conventions import CONVENTIONS, TURNED, Reading, calibrated_as, in_places, posed

OFF_CENTRE = 0.12
"""Principal points this far off the middle, as a share of the image's side, suggest images of another size."""
SCALES = (0.5, 2 / 3, 1.5, 2.0)
"""Ratios between usual video sizes, tried if the principal points tell nothing."""


def misread_poses(cameras: Sequence[Camera], extrinsics: bool) -> list[Reading]:
    """The cameras as they would be if their poses followed each of the conventions that are commonly confused.

    Args:
        cameras: of the scene.
        extrinsics: whether the format holds world-to-camera poses in OpenCV axes, as all but nerfstudio's do; otherwise
            it holds camera-to-world poses in OpenGL axes.
    """
    if not extrinsics:
        return [posed(f"the poses are {said}", cameras, turn) for said, turn in CONVENTIONS.items()]
    turns = {
        "the poses are world-to-camera in OpenGL axes (+Y up, -Z view), not OpenCV's": lambda pose: pose @ TURNED,
        # This differs from the right poses by a rotation of the whole world, which does not matter.
        "the poses are camera-to-world in OpenGL axes, not world-to-camera in OpenCV's": torch.linalg.inv,
        "the poses are camera-to-world, not world-to-camera": lambda pose: torch.linalg.inv(pose) @ TURNED,
        "the translations are the cameras' places": _place_from_translation,
        "the rotations are transposed": _transposed,
    }
    return [posed(said, cameras, turn) for said, turn in turns.items()]


def _place_from_translation(pose: Tensor) -> Tensor:
    """Camera-to-world if the file's translation is really the camera's place, [..., 4, 4]."""
    changed = pose.clone()
    changed[..., :3, 3] = _translation(pose)
    return changed


def _transposed(pose: Tensor) -> Tensor:
    """Camera-to-world if the file's rotation is transposed, but its translation is right, [..., 4, 4]."""
    changed = torch.eye(4, dtype=pose.dtype).repeat(*pose.shape[:-2], 1, 1)
    world_to_camera = pose[..., :3, :3] @ TURNED[:3, :3]
    changed[..., :3, 3] = -(world_to_camera.mT @ _translation(pose)[..., None])[..., 0]
    changed[..., :3, :3] = world_to_camera.mT @ TURNED[:3, :3]
    return changed


def _translation(pose: Tensor) -> Tensor:
    """The translation of the world-to-camera pose in OpenCV axes, [..., 3]."""
    rotation = (pose[..., :3, :3] @ TURNED[:3, :3]).mT
    return -(rotation @ pose[..., :3, 3:])[..., 0]


def misread_sizes(cameras: Sequence[Camera]) -> list[Reading]:
    """The cameras if their calibration was made with images of another size, mostly told by the principal points."""
    sides = [(c.intrinsics.width / c.intrinsics.centre_x, c.intrinsics.height / c.intrinsics.centre_y) for c in cameras]
    told = 0.5 * float(np.median(sides))
    scales = (told,) if abs(told - 1) > OFF_CENTRE else SCALES
    readings = []
    for scale in scales:
        others = []
        for camera in cameras:
            own = camera.intrinsics
            focal = {"focal_x": own.focal_x * scale, "focal_y": own.focal_y * scale}
            # A principal point in the middle belongs to the image as it is, and is not scaled.
            centre = {"centre_x": own.centre_x * scale, "centre_y": own.centre_y * scale} if scale == told else {}
            others.append(replace(camera, intrinsics=replace(own, **focal, **centre)))
        said = f"the calibration is of images {1 / scale:.2g} times as large"
        readings.append(Reading(said, tuple(others), frozenset(range(len(cameras)))))
    return readings


def shifted_cameras(cameras: Sequence[Camera], neighbouring: Sequence[Sequence[Camera]]) -> list[Reading]:
    """Every camera in the place of its predecessor or successor, as if the videos were in a shifted order.

    Args:
        cameras: of the scene.
        neighbouring: the cameras before them, and those after them.
    """
    return [
        Reading(
            f"each video belongs to the camera {side} its own ({other[0].name} for {cameras[0].name})",
            tuple(calibrated_as(camera, taken) for camera, taken in zip(cameras, other, strict=True)),
            frozenset(range(len(cameras))),
        )
        for side, other in zip(("before", "after"), neighbouring, strict=True)
    ]


def replaced_camera(
    cameras: Sequence[Camera], others: Sequence[Camera], agreements: dict[tuple[int, int], float]
) -> Iterator[Reading]:
    """The camera that agrees least with the others, in the place of each of some cameras that are not examined."""
    weakest = _by_agreement(len(cameras), agreements)[0]
    for other in others:
        changed = list(cameras)
        changed[weakest] = calibrated_as(cameras[weakest], other)
        said = f"the video {cameras[weakest].name} is that of camera {other.name}"
        yield Reading(said, tuple(changed), frozenset((weakest,)))


def _by_agreement(count: int, agreements: dict[tuple[int, int], float]) -> list[int]:
    """Indices of cameras, those whose pairs agree least first."""
    means = [np.mean([value for pair, value in agreements.items() if index in pair]) for index in range(count)]
    return np.argsort(means).tolist()


def swapped_cameras(cameras: Sequence[Camera], agreements: dict[tuple[int, int], float]) -> Iterator[Reading]:
    """Pairs of cameras exchanged, among those that agree least with the others.

    Args:
        cameras: of the scene.
        agreements: how well each pair of cameras agrees as read, by pair of indices.
    """
    weakest = sorted(_by_agreement(len(cameras), agreements)[: len(cameras) // 2 + 1])
    for one, two in combinations(weakest, 2):
        names = f"{cameras[one].name} and {cameras[two].name}"
        changed = in_places(cameras, {one: two, two: one})
        yield Reading(f"the videos of {names} are swapped", changed, frozenset((one, two)))
