"""The common record that every calibration format is read into."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Float64

from syncnerf.errors import UserError
from syncnerf.importers.calibration_parts import (
    PINHOLE,
    calibration_matrix,
    coefficients,
    image_size,
    rotation_matrix,
    vector,
)
from syncnerf.records import refuse_repeated

HALF_PIXEL = 0.5
"""OpenCV puts the first pixel's centre at 0, this package at 0.5."""
MILLIMETRE, CENTIMETRE, METRE = 1e-3, 1e-2, 1.0


@dataclass(frozen=True)
class CalibratedCamera:
    """One camera of a calibration.

    Attributes:
        name: as in the file.
        matrix: calibration matrix K in pixels, pixel centres at +0.5, float64, shape [3, 3].
        rotation: world to camera, OpenCV axes (+X right, +Y down, +Z view), float64, shape [3, 3], or [T, 3, 3] for a
            camera that moves.
        translation: world to camera, in the file's unit, float64, shape [3] or [T, 3].
        size: width and height in pixels of the images that were calibrated; None where the file does not say.
        model: ``OPENCV`` or ``OPENCV_FISHEYE``.
        distortion: coefficients in OpenCV's order (see ``LENS_KEYS``); missing ones are 0.
    """

    name: str
    matrix: Float64[np.ndarray, "3 3"]
    rotation: Float64[np.ndarray, "*T 3 3"]
    translation: Float64[np.ndarray, "*T 3"]
    size: tuple[int, int] | None = None
    model: Literal["OPENCV", "OPENCV_FISHEYE"] = PINHOLE
    distortion: tuple[float, ...] = ()

    @property
    def is_moving(self) -> bool:
        """Whether it has a pose per frame."""
        return self.rotation.ndim == 3

    def camera_to_world(self, metres: float) -> Float64[np.ndarray, "*T 4 4"]:
        """Camera-to-world in metres and OpenGL axes, float64, [4, 4] or [T, 4, 4]; ``metres``: the file's unit."""
        turned = np.swapaxes(self.rotation, -1, -2)
        pose = np.zeros((*turned.shape[:-2], 4, 4))
        pose[..., :3, :3] = turned * np.array([1.0, -1.0, -1.0])
        pose[..., :3, 3] = -(turned @ self.translation[..., None])[..., 0] * metres
        pose[..., 3, 3] = 1.0
        return pose


@dataclass(frozen=True)
class Calibration:
    """All cameras of a calibration.

    Attributes:
        path: the file or folder it was read from.
        format: the format's name.
        cameras: in the file's order.
        metres: length of the file's unit in metres; None where it is not known.
        notes: what the user should know, one line each.
        points: points of the still scene: places in the file's unit and colours in [0, 1], float32, shape [P, 6]; None
            if the file has none.
    """

    path: Path
    format: str
    cameras: tuple[CalibratedCamera, ...]
    metres: float | None
    notes: tuple[str, ...] = ()
    points: Float32[np.ndarray, "P 6"] | None = None

    def with_unit(self, metres: float) -> "Calibration":
        """The same calibration with another length of its unit, in metres."""
        return replace(self, metres=metres)


@dataclass(frozen=True)
class Importer:
    """A format: how to recognise it and how to read it, from a file or a folder; ``read`` raises UserError."""

    recognises: Callable[[Path], bool]
    read: Callable[[Path], Calibration]


def calibrated_camera(
    where: str,
    name: str,
    matrix: Any,
    rotation: Any,
    translation: Any,
    size: Any = None,
    distortion: Any = (),
    model: Literal["OPENCV", "OPENCV_FISHEYE"] = PINHOLE,
) -> CalibratedCamera:
    """Make a camera of parts in OpenCV's conventions (first pixel's centre at 0), after checking them.

    Args:
        where: file and entry, for the error's text.
        name: the camera's.
        matrix: 3 rows of 3.
        rotation: 3 rows of 3, or a Rodrigues vector of 3 numbers (radians).
        translation: 3 numbers.
        size: width and height in pixels, or None.
        distortion: coefficients in OpenCV's order.
        model: of the lens.

    Raises:
        UserError: a part is missing, not finite or impossible.
    """
    if matrix is None or rotation is None or translation is None:
        absent = "matrix" if matrix is None else "rotation" if rotation is None else "translation"
        raise UserError(f"{where}: has no {absent}; calibrate this camera, or remove it from the file")
    intrinsics = calibration_matrix(matrix, f"{where}: its matrix")
    intrinsics[:2, 2] += HALF_PIXEL
    return CalibratedCamera(
        name,
        intrinsics,
        rotation_matrix(rotation, f"{where}: its rotation"),
        vector(translation, f"{where}: its translation", 3),
        None if size is None else image_size(size, f"{where}: its size"),
        model,
        coefficients(distortion, f"{where}: its distortion", model),
    )


def checked(
    path: Path,
    format_name: str,
    cameras: Sequence[CalibratedCamera],
    metres: float | None,
    notes: Sequence[str] = (),
) -> Calibration:
    """The calibration of a file; raises UserError where it holds no cameras or two of one name."""
    if not cameras:
        raise UserError(f"{path}: holds no calibrated camera; calibrate again")
    refuse_repeated([camera.name for camera in cameras], path)
    return Calibration(path, format_name, tuple(cameras), metres, tuple(notes))
