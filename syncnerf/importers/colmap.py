"""Reads COLMAP's sparse models, binary and text; COLMAP itself is not needed.

The layouts are those of COLMAP's documentation, "Output format", and the camera models' numbers and parameters those of
its ``models.h``.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from syncnerf.errors import UserError
from syncnerf.importers.calibration import CalibratedCamera, Calibration, Importer, checked
from syncnerf.importers.calibration_parts import FISHEYE, PINHOLE, coefficients, image_size, vector
from syncnerf.importers.colmap_files import BinaryFile, model_folder, numbered_lines, numbers
from syncnerf.importers.colmap_points import read_points
from syncnerf.importers.posed_images import PosedImage, cameras_of
from syncnerf.records import quaternion_matrix

BYTES_OF_POINT = 24


@dataclass(frozen=True)
class Model:
    """A camera model of COLMAP: its number, OpenCV's equivalent, and the meaning of each parameter.

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
    return path.is_dir() and model_folder(path) is not None


def read_colmap(path: Path) -> Calibration:
    """Cameras and, if the model has them, points. Poses are world to camera, pixel centres at +0.5, the unit arbitrary.

    Raises:
        UserError: the files are damaged, or a camera's model is not supported.
    """
    file, images = read_images(path)
    cameras, notes = cameras_of(file, images)
    return replace(checked(file, "COLMAP", cameras, None, notes=notes), points=read_points(file))


def read_images(path: Path) -> tuple[Path, list[PosedImage]]:
    """The file that lists the images of a model, and the images with their poses; raises UserError."""
    folder, suffix = model_folder(path)
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


def _binary_cameras(path: Path) -> dict:
    stream, lenses = BinaryFile(path), {}
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
    stream, images = BinaryFile(path), []
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
    for number, words in numbered_lines(path):
        where = f"{path}: line {number}"
        if not words:
            continue
        if len(words) < 5:
            raise UserError(f"{where} should hold a camera's id, model, size and parameters; export the model again")
        identity, width, height, *parameters = numbers(where, [words[0], *words[2:]])
        lenses[int(identity)] = _lens(where, words[1], (width, height), parameters)
    return lenses


def _text_images(path: Path) -> list[tuple]:
    """Two lines per image: pose and name, then its points (which may be empty)."""
    lines, images = numbered_lines(path), []
    for number, words in lines[::2]:
        if not words:
            continue
        where = f"{path}: line {number}"
        if len(words) < 10:
            raise UserError(f"{where} should hold an image's id, pose, camera and name; export the model again")
        *pose, lens = numbers(where, words[1:9])
        images.append((" ".join(words[9:]), pose[:4], pose[4:], int(lens)))
    return images


COLMAP = Importer(is_colmap, read_colmap)
