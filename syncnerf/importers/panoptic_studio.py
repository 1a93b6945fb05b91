"""CMU Panoptic Studio's ``calibration_<sequence>.json``."""

from pathlib import Path
from typing import Any

from syncnerf.errors import UserError
from syncnerf.importers.calibration import (
    CENTIMETRE,
    CalibratedCamera,
    Calibration,
    Importer,
    calibrated_camera,
    checked,
)
from syncnerf.importers.text import read_text
from syncnerf.records import read_json_object


def is_panoptic_studio(path: Path) -> bool:
    """Whether the json lists cameras with ``distCoef``."""
    return path.suffix.lower() == ".json" and path.is_file() and '"distCoef"' in read_text(path)


def read_panoptic_studio(path: Path) -> Calibration:
    """The studio's cameras (hundreds, of which those with a video are used); centimetres; poses are world to camera.

    Raises:
        UserError: naming the file and the camera.
    """
    entries = read_json_object(path).get("cameras")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: 'cameras' should list the cameras; download it again")
    return checked(
        path, "Panoptic Studio", [_camera(path, index, entry) for index, entry in enumerate(entries)], CENTIMETRE
    )


def _camera(path: Path, index: int, entry: dict[str, Any]) -> CalibratedCamera:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise UserError(f"{path}: cameras[{index}] has no name; download it again")
    return calibrated_camera(
        f"{path}: camera '{name}'", name, entry.get("K"), entry.get("R"), entry.get("t"), entry.get("resolution"),
        entry.get("distCoef", ()),
    )  # fmt: skip


PANOPTIC_STUDIO = Importer(is_panoptic_studio, read_panoptic_studio)
