"""caliscope's ``camera_array.toml`` and its older ``config.toml``."""

from pathlib import Path
from typing import Any

from syncnerf.importers.calibration import METRE, Calibration, Importer, checked
from syncnerf.importers.named_sections import section_camera
from syncnerf.importers.text import read_toml


def is_caliscope(path: Path) -> bool:
    """Whether the toml lists cameras with caliscope's keys."""
    return path.suffix.lower() == ".toml" and path.is_file() and bool(_sections(path))


def read_caliscope(path: Path) -> Calibration:
    """Cameras named ``cam_<id>`` like caliscope's videos; metres; poses are world to camera.

    ``rotation_count`` only affects caliscope's display: images and calibration are not rotated. Cameras without a pose,
    or marked as ignored, are left out.

    Raises:
        UserError: naming the file and the entry.
    """
    cameras, notes = [], []
    for header, values in _sections(path).items():
        name = f"cam_{_identity(values)}"
        placed = all(_given(values.get(key)) for key in ("rotation", "translation", "matrix"))
        if values.get("ignore") is True or not placed:
            notes.append(f"camera {name} is left out: " + ("ignored in the file" if placed else "it has no pose there"))
            continue
        values = {key: value for key, value in values.items() if _given(value)}
        cameras.append(section_camera(f"{path}: [{header}]", {**values, "name": name}, name))
    return checked(path, "caliscope", cameras, METRE, notes)


def _sections(path: Path) -> dict[str, dict[str, Any]]:
    """``[cameras.N]`` now, ``[cam_N]`` with a ``cam_id`` or ``port`` before."""
    record = read_toml(path)
    nested = record.get("cameras")
    tables = {f"cameras.{key}": value for key, value in nested.items()} if isinstance(nested, dict) else record
    return {
        header: values
        for header, values in tables.items()
        if isinstance(values, dict) and {"cam_id", "port"} & set(values) and "size" in values
    }


def _identity(values: dict[str, Any]) -> Any:
    return values["cam_id"] if "cam_id" in values else values["port"]


def _given(value: Any) -> bool:
    """Old files write ``"null"`` where there is nothing."""
    return value is not None and value != "null"


CALISCOPE = Importer(is_caliscope, read_caliscope)
