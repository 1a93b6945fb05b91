"""Qualisys Track Manager's calibration (``*.qca.txt``), which Theia3D and Contemplas write as well."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from syncnerf.errors import UserError, one_line
from syncnerf.importers.calibration import (
    MILLIMETRE,
    CalibratedCamera,
    Calibration,
    Importer,
    calibrated_camera,
    checked,
)
from syncnerf.importers.text import read_text

SUBPIXELS = 64.0
"""Pixel coordinates are stored multiplied by this."""
TO_OPENCV = np.diag([1.0, -1.0, -1.0])
DISTORTION = (
    "radialDistortion1",
    "radialDistortion2",
    "tangentalDistortion1",
    "tangentalDistortion2",
    "radialDistortion3",
)
"""In OpenCV's order; "tangental" is the format's own spelling."""


def is_qualisys(path: Path) -> bool:
    """Whether the file is xml of a calibration."""
    if not path.is_file() or not path.name.lower().endswith((".txt", ".xml", ".qca")):
        return False
    start = read_text(path)[:2000]
    return "<calibration" in start and start.lstrip().startswith("<")


def read_qualisys(path: Path) -> Calibration:
    """Cameras of a ``*.qca.txt``, lengths in millimetres.

    The transpose of the matrix r11 .. r33 is the camera-to-world rotation in OpenGL axes, and x y z the camera's place.
    Principal points are relative to the sensor's corner, so the place of the video's corner on the sensor is
    subtracted.

    Raises:
        UserError: naming the file and the camera.
    """
    text = read_text(path)
    if "<!ENTITY" in text:  # the format has none, and nested ones can expand without end
        raise UserError(f"{path}: defines entities of its own; export the calibration again")
    try:
        root = ElementTree.fromstring(text.encode("utf-8") if "encoding=" not in text[:80] else _without_header(text))
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: is not valid xml ({one_line(error)}); export the calibration again") from error
    entries = [entry for entry in root.iter("camera") if entry.get("active", "1") != "0"]
    cameras = [_camera(path, entry) for entry in entries]
    turned = [entry.get("serial", "") for entry in entries if _number(path, entry, "viewrotation", 0.0) % 360]
    notes = [
        f"camera {name} is turned on the display: its calibration is that of the unturned video" for name in turned
    ]
    return checked(path, "Qualisys", cameras, MILLIMETRE, notes=notes)


def _without_header(text: str) -> str:
    """The text without its xml declaration, since it is decoded already."""
    return text.lstrip().partition("?>")[2]


def _camera(path: Path, entry: ElementTree.Element) -> CalibratedCamera:
    name = entry.get("serial") or ""
    where = f"{path}: camera '{name}'"
    if not name:
        raise UserError(f"{path}: a camera has no serial; export the calibration again")
    window, transform, intrinsic = (_part(where, entry, tag) for tag in ("fov_video", "transform", "intrinsic"))
    left, right, top, bottom = (_number(where, window, key) for key in ("left", "right", "top", "bottom"))
    matrix = [
        [_pixels(where, intrinsic, "focalLengthU"), 0.0, _pixels(where, intrinsic, "centerPointU") - left],
        [0.0, _pixels(where, intrinsic, "focalLengthV"), _pixels(where, intrinsic, "centerPointV") - top],
        [0.0, 0.0, 1.0],
    ]
    stored = np.array([[_number(where, transform, f"r{i}{j}") for j in (1, 2, 3)] for i in (1, 2, 3)])
    rotation = TO_OPENCV @ stored
    place = np.array([_number(where, transform, key) for key in "xyz"])
    distortion = [_number(where, intrinsic, key, 0.0) for key in DISTORTION]
    size = (right - left + 1, bottom - top + 1)
    return calibrated_camera(where, name, matrix, rotation, -rotation @ place, size, distortion)


def _part(where: str, entry: ElementTree.Element, tag: str) -> ElementTree.Element:
    part = entry.find(tag)
    if part is None:
        raise UserError(f"{where} has no <{tag}>; export the calibration again")
    return part


def _pixels(where: str, entry: ElementTree.Element, key: str) -> float:
    return _number(where, entry, key) / SUBPIXELS


def _number(where: str | Path, entry: ElementTree.Element, key: str, default: float | None = None) -> float:
    """An attribute as a number; raises UserError."""
    value = entry.get(key)
    if value is None and default is not None:
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"{where}: '{key}' should be a number, not {str(value)[:40]!r}") from None


QUALISYS = Importer(is_qualisys, read_qualisys)
