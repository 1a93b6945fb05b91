"""The points of COLMAP's models, binary and text."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from syncnerf.errors import UserError
from syncnerf.importers.colmap_files import BinaryFile, numbered_lines, numbers

BYTES_OF_SIGHT = 8
"""Each observation of a point takes so many bytes: the image's number and the feature's number in it."""


def read_points(model: Path) -> Float32[np.ndarray, "P 6"] | None:
    """A model's points: places in its unit and colours in [0, 1], float32, shape [P, 6].

    Args:
        model: any file of the model; the points lie beside it in a file with the same suffix.

    Returns:
        None where there is no such file.

    Raises:
        UserError: it breaks off, or holds something else.
    """
    file = model.with_name(f"points3D{model.suffix}")
    if not file.is_file():
        return None
    table = np.array((_binary if model.suffix == ".bin" else _text)(file), dtype=np.float32).reshape(-1, 6)
    table[:, 3:] /= 255.0
    return table


def _binary(file: Path) -> list[list[float]]:
    stream, points = BinaryFile(file), []
    for _ in range(stream.take("Q")[0]):
        *point, _, sights = stream.take("Q3d3BdQ")[1:]
        points.append(point)
        stream.place += BYTES_OF_SIGHT * sights
    if stream.place > len(stream.data):
        raise UserError(f"{file}: breaks off; export the model again")
    return points


def _text(file: Path) -> list[list[float]]:
    points = []
    for number, words in numbered_lines(file):
        where = f"{file}: line {number}"
        if not words:
            continue
        if len(words) < 7:
            raise UserError(f"{where} should hold a point's id, place, colour and error; export the model again")
        points.append(numbers(where, words[1:7]))
    return points
