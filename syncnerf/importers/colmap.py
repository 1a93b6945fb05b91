"""COLMAP's sparse models, binary and text, without COLMAP.

Layouts: COLMAP's documentation, "Output format"; its ``models.h`` for the numbers and parameters of camera models.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from syncnerf.errors import UserError, one_line
from syncnerf.importers.calibration import (
    FISHEYE,
    PINHOLE,
    CalibratedCamera,
    Calibration,
    Importer,
    checked,
    coefficients,
    image_size,
    vector,
)
from syncnerf.importers.posed_images import PosedImage, cameras_of
from syncnerf.importers.text import read_text
from syncnerf.records import quaternion_matrix

FOLDERS = ("", "sparse/0", "sparse", "colmap/sparse/0", "0")
"""Where a model lies below the folder that people name."""
BYTES_OF_POINT = 24


@dataclass(frozen=True)
class Model:
    """A camera model: COLMAP's number, OpenCV's model, and where each parameter goes.

    ``f`` is both focal lengths; d0, d1, ... are the distortion's coefficients in OpenCV's order.
    """

    number: int
    opencv: str
    parameters: tuple[str, ...]


MODELS = {
    "SIMPLE_PINHOLE": Model(0, PINHOLE, ("f", "cx", "cy")),
    "PINHOLE": Model(1, PINHOLE, ("fx", "fy", "cx", "cy")),
    "SIMPLE_RADIAL": Model(2, PINHOLE, ("f", "cx", "cy", "d0")),
    "RADIAL": Model(3, PINHOLE, ("f", "cx", "cy", "d0", "d1")),
    "OPENCV": Model(4, PINHOLE, ("fx", "fy", "cx", "cy", "d0", "d1", "d2", "d3")),
    "OPENCV_FISHEYE": Model(5, FISHEYE, ("fx", "fy", "cx", "cy", "d0", "d1", "d2", "d3")),
    "FULL_OPENCV": Model(6, PINHOLE, ("fx", "fy", "cx", "cy", *(f"d{k}" for k in range(8)))),
    "SIMPLE_RADIAL_FISHEYE": Model(8, FISHEYE, ("f", "cx", "cy", "d0")),
    "RADIAL_FISHEYE": Model(9, FISHEYE, ("f", "cx", "cy", "d0", "d1")),
}


def is_colmap(path: Path) -> bool:
    """Whether the folder holds a model, or one of the folders where models usually lie below it does."""
    return path.is_dir() and _model_folder(path) is not None


def read_colmap(path: Path) -> Calibration:
    """World to camera, pixel centres at +0.5, in a unit of its own.

    Raises:
        UserError: the files are damaged, or a camera's model is not supported.
    """
    file, images = read_images(path)
    cameras, notes = cameras_of(file, images)
    return checked(file, "COLMAP", cameras, None, notes=notes)


def read_images(path: Path) -> tuple[Path, list[PosedImage]]:
    """The file that lists the images of a model, and the images with their poses; raises UserError."""
    folder, suffix = _model_folder(path)
    read_cameras, read_poses = (_binary_cameras, _binary_images) if suffix == ".bin" else (_text_cameras, _text_images)
    lenses = read_cameras(folder / f"cameras{suffix}")
    images = []
    file = folder / f"images{suffix}"
    for name, quaternion, translation, lens in read_poses(file):
        where = f"{file}: image '{name}'"
        if lens not in lenses:
            raise UserError(f"{where} was taken by a camera {lens} that cameras{suffix} lacks; export the model again")
        matrix, size, model, distortion = lenses[lens]
        rotation = quaternion_matrix(vector(quaternion, where, 4).tolist(), f"{where}: its rotation").numpy()
        place = vector(translation, f"{where}: its translation", 3)
        images.append(PosedImage(name, CalibratedCamera("", matrix, rotation, place, size, model, distortion)))
    return file, images


def _model_folder(path: Path) -> tuple[Path, str] | None:
    for below in FOLDERS:
        for suffix in (".bin", ".txt"):
            if all((path / below / f"{part}{suffix}").is_file() for part in ("cameras", "images")):
                return path / below, suffix
    return None


def _lens(where: str, model_name: str, size: tuple, parameters: list[float]):
    """A camera's matrix [3, 3], size, OpenCV model and distortion."""
    if model_name not in MODELS:
        raise UserError(f"{where} has the model {model_name}, which is not supported (known: {', '.join(MODELS)})")
    model = MODELS[model_name]
    numbers = vector(parameters, f"{where}: its parameters", len(model.parameters))
    values = dict(zip(model.parameters, numbers.tolist(), strict=True))
    focal_x, focal_y = values.get("fx", values.get("f")), values.get("fy", values.get("f"))
    if not (focal_x > 0 and focal_y > 0):
        raise UserError(f"{where} has no positive focal length; calibrate again")
    matrix = np.array([[focal_x, 0.0, values["cx"]], [0.0, focal_y, values["cy"]], [0.0, 0.0, 1.0]])
    distortion = [value for key, value in values.items() if key[0] == "d"]
    return matrix, image_size(size, f"{where}: its size"), model.opencv, coefficients(distortion, where, model.opencv)


class _Bytes:
    """A binary file's numbers in order, little-endian."""

    def __init__(self, path: Path):
        self.path, self.place = path, 0
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({one_line(error)})") from error

    def take(self, layout: str) -> tuple:
        try:
            values = struct.unpack_from("<" + layout, self.data, self.place)
        except (struct.error, OverflowError):
            raise UserError(f"{self.path}: breaks off; export the model again") from None
        self.place += struct.calcsize("<" + layout)
        return values

    def text(self) -> str:
        end = self.data.find(b"\0", self.place)
        if end < 0:
            raise UserError(f"{self.path}: breaks off; export the model again")
        text = self.data[self.place : end].decode("utf-8", errors="replace")
        self.place = end + 1
        return text


def _binary_cameras(path: Path) -> dict:
    stream, lenses = _Bytes(path), {}
    names = {model.number: name for name, model in MODELS.items()}
    for _ in range(stream.take("Q")[0]):
        identity, number, width, height = stream.take("iiQQ")
        where = f"{path}: camera {identity}"
        if number not in names:
            raise UserError(
                f"{where} has the model number {number}, which is not supported (known: {', '.join(MODELS)})"
            )
        parameters = list(stream.take(f"{len(MODELS[names[number]].parameters)}d"))
        lenses[identity] = _lens(where, names[number], (width, height), parameters)
    return lenses


def _binary_images(path: Path) -> list[tuple]:
    stream, images = _Bytes(path), []
    for _ in range(stream.take("Q")[0]):
        *pose, lens = stream.take("i7di")[1:]
        name = stream.text()
        images.append((name, pose[:4], pose[4:], lens))
        points = stream.take("Q")[0]
        stream.place += BYTES_OF_POINT * points
    if stream.place > len(stream.data):
        raise UserError(f"{path}: breaks off; export the model again")
    return images


def _text_cameras(path: Path) -> dict:
    lenses = {}
    for number, words in _lines(path):
        where = f"{path}: line {number}"
        if not words:
            continue
        if len(words) < 5:
            raise UserError(f"{where} should hold a camera's id, model, size and parameters; export the model again")
        identity, width, height, *parameters = _numbers(where, [words[0], *words[2:]])
        lenses[int(identity)] = _lens(where, words[1], (width, height), parameters)
    return lenses


def _text_images(path: Path) -> list[tuple]:
    """Two lines per image: pose and name, then its points (which may be empty)."""
    lines, images = _lines(path), []
    for number, words in lines[::2]:
        if not words:
            continue
        where = f"{path}: line {number}"
        if len(words) < 10:
            raise UserError(f"{where} should hold an image's id, pose, camera and name; export the model again")
        *pose, lens = _numbers(where, words[1:9])
        images.append((" ".join(words[9:]), pose[:4], pose[4:], int(lens)))
    return images


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Numbered lines as words, without the comments."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    return [(number, line.split()) for number, line in lines if not line.startswith("#")]


def _numbers(where: str, words: list[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        raise UserError(f"{where} holds a word where a number should be; export the model again") from None


COLMAP = Importer(is_colmap, read_colmap)
