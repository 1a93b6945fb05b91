"""nerfstudio's ``transforms.json`` with one entry per image."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from syncnerf.errors import UserError
from syncnerf.importers.calibration import CalibratedCamera, Calibration, Importer, checked
from syncnerf.importers.calibration_parts import FISHEYE, LENS_KEYS, PINHOLE, coefficients
from syncnerf.importers.posed_images import PosedImage, cameras_of
from syncnerf.importers.text import read_text
from syncnerf.point_files import read_ply
from syncnerf.records import number, positive, read_json_object, rigid_matrix
from syncnerf.scene.transforms_cameras import focal_of_angle, read_entries

MODELS = {"OPENCV": PINHOLE, "OPENCV_FISHEYE": FISHEYE, "PINHOLE": PINHOLE, "SIMPLE_PINHOLE": PINHOLE}
TO_OPENCV = np.diag([1.0, -1.0, -1.0])


def is_nerfstudio(path: Path) -> bool:
    """Whether the json (or the folder's ``transforms.json``) lists poses by image or video."""
    file = _file(path)
    return file.suffix.lower() == ".json" and file.is_file() and '"transform_matrix"' in read_text(file)


def read_nerfstudio(path: Path) -> Calibration:
    """Cameras, and points if there are any.

    Poses are camera-to-world in OpenGL axes, pixel centres at +0.5, the unit is arbitrary.

    Raises:
        UserError: naming the file and the entry.
    """
    file = _file(path)
    _, entries = read_entries(file)
    images = []
    for entry in entries:
        name = entry.values.get("file_path")
        if not isinstance(name, str) or not name:
            raise UserError(f"{entry.where}: 'file_path' should name its image")
        images.append(PosedImage(name, _camera(entry.values, entry.where)))
    cameras, notes = cameras_of(file, images)
    return replace(checked(file, "nerfstudio", cameras, None, notes=notes), points=_points(file))


def _points(file: Path) -> Float32[np.ndarray, "P 6"] | None:
    """The points of ``ply_file_path`` in the poses' coordinates; None if the file is missing, as in some exports."""
    name = read_json_object(file).get("ply_file_path")
    place = file.parent / name if isinstance(name, str) and name else None
    return read_ply(place) if place is not None and place.is_file() else None


def _file(path: Path) -> Path:
    return path / "transforms.json" if path.is_dir() else path


def _camera(values: dict[str, Any], where: str) -> CalibratedCamera:
    model_name = values.get("camera_model", "OPENCV")
    if model_name not in MODELS:
        raise UserError(
            f"{where}: 'camera_model' = {str(model_name)[:40]!r} is not supported; known: {', '.join(MODELS)}"
        )
    width, height = positive(values, "w", where), positive(values, "h", where)
    focal_x = positive(values, "fl_x", where) if "fl_x" in values else focal_of_angle(values, where, width)
    focal_y = positive(values, "fl_y", where, focal_x)
    centre_x, centre_y = number(values, "cx", where, width / 2), number(values, "cy", where, height / 2)
    pose = rigid_matrix(values.get("transform_matrix"), f"{where}.transform_matrix").numpy()
    rotation = TO_OPENCV @ pose[:3, :3].T
    model = MODELS[model_name]
    return CalibratedCamera(
        "",
        np.array([[focal_x, 0.0, centre_x], [0.0, focal_y, centre_y], [0.0, 0.0, 1.0]]),
        rotation,
        -rotation @ pose[:3, 3],
        (math.floor(width), math.floor(height)),
        model,
        coefficients([number(values, key, where, 0.0) for key in LENS_KEYS[model]], where, model),
    )


NERFSTUDIO = Importer(is_nerfstudio, read_nerfstudio)
