"""Reads OpenCap's pickles, one per camera, without executing any code that they may contain."""

import io
import pickle
from pathlib import Path
from typing import Any

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

PATTERN = "*.pickle"
LARGEST_PICKLE = 1 << 20
"""Largest file in bytes that is read; a camera takes a thousand."""
ADMITTED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
}
"""The only functions and classes that a pickle may refer to: those that numbers and arrays are built of."""


class NumbersUnpickler(pickle.Unpickler):
    """Reads numbers, texts, lists, dictionaries and numpy's arrays of numbers; everything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """The part called ``module.name`` if it belongs to an array; raises UnpicklingError."""
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is neither number nor array")
        if name in ("ndarray", "dtype"):
            return getattr(np, name)
        return getattr(np._core.multiarray, name)


def is_opencap(path: Path) -> bool:
    """Whether the path is a pickle, or a folder with pickles in it or one level below."""
    return path.suffix == ".pickle" if path.is_file() else path.is_dir() and bool(_files(path))


def read_opencap(path: Path) -> Calibration:
    """Cameras named after the folders of their pickles (or after these); millimetres; poses are world to camera.

    Raises:
        UserError: a pickle is damaged, or holds anything but numbers and arrays.
    """
    files = [path] if path.is_file() else _files(path)
    apart = len({file.parent for file in files}) == len(files) > 1
    return checked(
        path, "OpenCap", [_camera(file, file.parent.name if apart else file.stem) for file in files], MILLIMETRE
    )


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(PATTERN)) or sorted(folder.glob(f"*/{PATTERN}"))


def _camera(file: Path, name: str) -> CalibratedCamera:
    record = read_numbers(file)
    size = record.get("imageSize")
    if size is not None:
        numbers = np.asarray(size, dtype=object).reshape(-1)[:2]
        size = numbers[::-1].tolist()  # height comes first there
    return calibrated_camera(
        str(file), name, record.get("intrinsicMat"), record.get("rotation"), record.get("translation"), size,
        record.get("distortion", ()),
    )  # fmt: skip


def read_numbers(file: Path) -> dict[str, Any]:
    """The dictionary of a pickle that holds numbers and arrays alone; raises UserError."""
    try:
        data = file.read_bytes() if file.stat().st_size <= LARGEST_PICKLE else b""
        record = NumbersUnpickler(io.BytesIO(data)).load()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({one_line(error)})") from error
    except Exception as error:  # damaged pickles raise almost anything
        raise UserError(f"{file}: is no pickle of numbers ({one_line(error)}); export the camera again") from error
    if not isinstance(record, dict):
        raise UserError(f"{file}: holds no camera; export the camera again")
    return record


OPENCAP = Importer(is_opencap, read_opencap)
