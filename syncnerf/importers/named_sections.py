"""Calibrations in toml files with a section per camera: Pose2Sim, anipose and FreeMoCap."""

from pathlib import Path
from typing import Any

from syncnerf.errors import UserError
from syncnerf.importers.calibration import (
    METRE,
    MILLIMETRE,
    CalibratedCamera,
    Calibration,
    Importer,
    calibrated_camera,
    checked,
)
from syncnerf.importers.calibration_parts import FISHEYE, PINHOLE
from syncnerf.importers.text import read_toml

UNADJUSTED = "the file calls itself unadjusted: an initial guess, before bundle adjustment"


def sections(path: Path) -> dict[str, dict[str, Any]]:
    """The sections that describe a camera, by header: those with a matrix or a rotation."""
    if path.suffix.lower() != ".toml" or not path.is_file():
        return {}
    return {
        header: values
        for header, values in read_toml(path).items()
        if isinstance(values, dict) and header != "metadata" and {"matrix", "rotation", "distortions"} & set(values)
    }


def is_pose2sim(path: Path) -> bool:
    """Whether each section of a toml is headed by its camera's name, and says whether the lens is a fisheye."""
    found = sections(path)
    return bool(found) and all(values.get("name") == header and "fisheye" in values for header, values in found.items())


def is_freemocap(path: Path) -> bool:
    """Whether a toml has anipose's layout with FreeMoCap's additions."""
    found = sections(path)
    return any("world_position" in values or "world_orientation" in values for values in found.values())


def is_anipose(path: Path) -> bool:
    """Whether a toml has sections of cameras, and is none of Pose2Sim's, FreeMoCap's or caliscope's."""
    found = sections(path)
    own = bool(found) and not any("cam_id" in values or "port" in values for values in found.values())
    return own and not is_pose2sim(path) and not is_freemocap(path)


def read_pose2sim(path: Path) -> Calibration:
    """``Calib_*.toml`` of Pose2Sim, in metres; raises UserError."""
    return checked(path, "Pose2Sim", _cameras(path), METRE)


def read_freemocap(path: Path) -> Calibration:
    """``*_camera_calibration.toml`` of FreeMoCap, in millimetres; raises UserError."""
    return checked(path, "FreeMoCap", _cameras(path), MILLIMETRE)


def read_anipose(path: Path) -> Calibration:
    """``calibration.toml`` of anipose, in the unit of its board, which it does not note; raises UserError."""
    metadata = read_toml(path).get("metadata")
    unadjusted = isinstance(metadata, dict) and metadata.get("adjusted") is False
    return checked(path, "anipose", _cameras(path), None, notes=(UNADJUSTED,) if unadjusted else ())


def _cameras(path: Path) -> list[CalibratedCamera]:
    """All sections as cameras; poses are world to camera, rotations Rodrigues vectors (or matrices)."""
    return [section_camera(f"{path}: [{header}]", values, header) for header, values in sections(path).items()]


def section_camera(where: str, values: dict[str, Any], name: str) -> CalibratedCamera:
    """The camera of a section; a ``name`` in the section takes precedence over the argument; raises UserError."""
    name = values.get("name", name)
    if not isinstance(name, str | int) or not str(name).strip():
        raise UserError(f"{where}: 'name' should be the camera's name, not {str(name)[:40]!r}")
    fisheye = values.get("fisheye", False)
    return calibrated_camera(
        where,
        str(name).strip(),
        values.get("matrix"),
        values.get("rotation"),
        values.get("translation"),
        values.get("size", values.get("image_size")),
        values.get("distortions", ()),
        FISHEYE if fisheye is True else PINHOLE,
    )


POSE2SIM = Importer(is_pose2sim, read_pose2sim)
FREEMOCAP = Importer(is_freemocap, read_freemocap)
ANIPOSE = Importer(is_anipose, read_anipose)
