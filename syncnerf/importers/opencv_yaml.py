"""A folder of OpenCV's yaml files, one per camera: ``camera_matrix``, ``distortion_coefficients`` and a pose."""

from pathlib import Path
from typing import Any

from syncnerf.errors import UserError
from syncnerf.importers.calibration import CalibratedCamera, Calibration, Importer, calibrated_camera, checked
from syncnerf.importers.calibration_parts import FISHEYE, PINHOLE
from syncnerf.importers.text import read_opencv_yaml, read_text

MATRIX = ("camera_matrix", "Camera_Matrix", "cameraMatrix", "intrinsicMat", "K", "M")
DISTORTION = ("distortion_coefficients", "Distortion_Coefficients", "distCoeffs", "dist_coeffs", "distortion", "D")
ROTATION = ("rvec", "R", "rotation", "rotation_matrix", "rotation_vector")
TRANSLATION = ("tvec", "T", "t", "translation", "translation_vector")
WIDTH, HEIGHT = ("image_width", "image_Width", "width"), ("image_height", "image_Height", "height")


def is_opencv_yaml(path: Path) -> bool:
    """Whether the folder holds yaml files that name a calibration matrix."""
    return path.is_dir() and bool(_files(path))


def read_opencv_cameras(path: Path) -> Calibration:
    """Cameras named after their files; poses are world to camera; the files do not state their unit.

    Raises:
        UserError: naming the file.
    """
    return checked(path, "OpenCV yaml", [_camera(file) for file in _files(path)], None)


def _files(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".yml", ".yaml") and file.is_file())
    return [file for file in files if any(f"{key}:" in read_text(file) for key in MATRIX)]


def _camera(file: Path) -> CalibratedCamera:
    record = read_opencv_yaml(file)
    matrix, rotation, translation = (_first(record, keys) for keys in (MATRIX, ROTATION, TRANSLATION))
    if rotation is None or translation is None:
        raise UserError(f"{file}: has no pose (rvec and tvec, or R and T: world to camera); add it")
    width, height = _first(record, WIDTH), _first(record, HEIGHT)
    size = None if width is None or height is None else (width, height)
    fisheye = "fisheye" in str(record.get("distortion_model", record.get("camera_model", ""))).lower()
    return calibrated_camera(
        str(file), file.stem, matrix, rotation, translation, size, _first(record, DISTORTION) or (),
        FISHEYE if fisheye else PINHOLE,
    )  # fmt: skip


def _first(record: dict[str, Any], keys: tuple[str, ...]) -> Any:
    """The value of the first key that is there; ROS writes matrices as plain maps of rows, cols and data."""
    value = next((record[key] for key in keys if key in record), None)
    if isinstance(value, dict) and {"rows", "cols", "data"} <= set(value):
        rows, columns, data = value["rows"], value["cols"], value["data"]
        return [data[row * columns : (row + 1) * columns] for row in range(rows)]
    return value


OPENCV_YAML = Importer(is_opencv_yaml, read_opencv_cameras)
