"""EasyMocap's ``intri.yml`` and ``extri.yml``."""

from pathlib import Path
from typing import Any

from syncnerf.errors import UserError
from syncnerf.importers.calibration import METRE, CalibratedCamera, Calibration, Importer, calibrated_camera, checked
from syncnerf.importers.text import read_opencv_yaml

INTRINSICS, EXTRINSICS = "intri.yml", "extri.yml"


def is_easymocap(path: Path) -> bool:
    """Whether the folder holds the two files, or the path is one of them and the other lies beside it."""
    folder = path if path.is_dir() else path.parent
    named = path.is_dir() or path.name in (INTRINSICS, EXTRINSICS)
    return named and (folder / INTRINSICS).is_file() and (folder / EXTRINSICS).is_file()


def read_easymocap(path: Path) -> Calibration:
    """The cameras listed under ``names``; metres; poses are world to camera; image sizes are often missing.

    Raises:
        UserError: naming the file and the camera.
    """
    folder = path if path.is_dir() else path.parent
    intrinsics, extrinsics = read_opencv_yaml(folder / INTRINSICS), read_opencv_yaml(folder / EXTRINSICS)
    names = intrinsics.get("names")
    if not isinstance(names, list) or not names:
        raise UserError(f"{folder / INTRINSICS}: 'names' should list the cameras; write it again with EasyMocap")
    cameras = [_camera(folder, str(name), intrinsics, extrinsics) for name in names]
    return checked(folder, "EasyMocap", cameras, METRE)


def _camera(folder: Path, name: str, intrinsics: dict[str, Any], extrinsics: dict[str, Any]) -> CalibratedCamera:
    where = f"{folder / EXTRINSICS}: camera '{name}'"
    rotation = extrinsics.get(f"Rot_{name}", extrinsics.get(f"R_{name}"))
    distortion = intrinsics.get(f"dist_{name}", intrinsics.get(f"D_{name}", ()))
    width, height = (intrinsics.get(f"{side}_{name}") for side in ("W", "H"))
    size = None if width is None or height is None else (width, height)
    matrix = intrinsics.get(f"K_{name}")
    if matrix is None:
        raise UserError(f"{folder / INTRINSICS}: camera '{name}' has no K_{name}; calibrate this camera")
    return calibrated_camera(where, name, matrix, rotation, extrinsics.get(f"T_{name}"), size, distortion)


EASYMOCAP = Importer(is_easymocap, read_easymocap)
