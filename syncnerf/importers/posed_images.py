"""Calibrations with a pose per image (COLMAP, nerfstudio): which images belong to one camera, and whether it moves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from syncnerf.errors import UserError
from syncnerf.importers.calibration import CalibratedCamera
from syncnerf.scene.natural_order import natural_key

STILL_SHARE, STILL_DEGREES = 2e-3, 0.2
"""A camera stands still if its poses differ by less than this, as a share of the rig's size and in degrees."""


@dataclass(frozen=True)
class PosedImage:
    """An image's path inside the calibration, and the camera that took it, with a single pose."""

    file: str
    camera: CalibratedCamera


def cameras_of(path: Path, images: Sequence[PosedImage]) -> tuple[list[CalibratedCamera], list[str]]:
    """Group images into cameras; returns these, and notes on what was decided.

    Images in several folders: a camera per folder. All in one: a camera per image. A camera whose poses differ moves;
    its poses are in the order of its images' names.

    Args:
        path: the calibration, to name in errors.
        images: in any order.

    Raises:
        UserError: a camera's intrinsics change from image to image.
    """
    folders = {str(PurePosixPath(image.file).parent) for image in images}
    groups: dict[str, list[PosedImage]] = {}
    for image in sorted(images, key=lambda image: natural_key(image.file)):
        file = PurePosixPath(image.file)
        groups.setdefault(file.parent.name if len(folders) > 1 else file.stem, []).append(image)
    centres = np.stack([_centre(image.camera) for image in images]) if images else np.zeros((1, 3))
    span = float(np.linalg.norm(np.ptp(centres, axis=0)))
    cameras, notes = [], []
    for name, group in groups.items():
        views = [image.camera for image in group]
        if any(not _same_lens(view, views[0]) for view in views):
            raise UserError(f"{path}: camera '{name}' has other intrinsics in each image; calibrate one set per camera")
        if len(views) == 1:
            cameras.append(replace(views[0], name=name))
        elif _stands_still(views, span):
            cameras.append(_mean(name, views))
            notes.append(f"camera {name} stands still: the mean of its {len(views)} poses is taken")
        else:
            rotations, translations = (np.stack([getattr(view, key) for view in views]) for key in
                                       ("rotation", "translation"))  # fmt: skip
            cameras.append(replace(views[0], name=name, rotation=rotations, translation=translations))
    return cameras, notes


def _centre(camera: CalibratedCamera) -> np.ndarray:
    return -camera.rotation.T @ camera.translation


def _same_lens(one: CalibratedCamera, other: CalibratedCamera) -> bool:
    same = (one.size, one.model, one.distortion) == (other.size, other.model, other.distortion)
    return same and np.allclose(one.matrix, other.matrix, rtol=1e-9)


def _stands_still(views: Sequence[CalibratedCamera], span: float) -> bool:
    centres = np.stack([_centre(view) for view in views])
    apart = np.linalg.norm(centres - centres.mean(0), axis=1).max()
    turns = [np.trace(view.rotation @ views[0].rotation.T) for view in views]
    degrees = np.degrees(np.arccos(np.clip((np.array(turns) - 1) / 2, -1, 1))).max()
    return apart <= STILL_SHARE * span and degrees <= STILL_DEGREES


def _mean(name: str, views: Sequence[CalibratedCamera]) -> CalibratedCamera:
    """The mean place, and the rotation nearest to all (chordal mean)."""
    left, _, right = np.linalg.svd(np.mean([view.rotation for view in views], axis=0))
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    centre = np.mean([_centre(view) for view in views], axis=0)
    return replace(views[0], name=name, rotation=rotation, translation=-rotation @ centre)
