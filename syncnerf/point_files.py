"""Clouds of points as ``.ply`` files, as structure from motion writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped

from syncnerf.errors import UserError

GREY = 0.5
"""Colour of points that have none."""
TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
"""numpy's names of what a ``.ply`` calls its numbers."""


def read_ply(path: Path) -> Float32[np.ndarray, "P 6"]:
    """Places, and colours in [0, 1], of the vertices of a ``.ply`` file, ascii or binary, float32 [P, 6].

    Colours are ``red``, ``green``, ``blue`` to 255 (or fractions where they are stored so); grey where there are none.

    Raises:
        UserError: with the file, what is wrong and what to do.
    """
    try:
        with path.open("rb") as file:
            kind, count, fields = _header(file)
            if kind == "ascii":
                vertices = np.loadtxt(file, dtype=np.dtype(fields), max_rows=count, ndmin=1)
            else:
                order = "<" if kind == "binary_little_endian" else ">"
                vertices = np.fromfile(file, np.dtype([(name, order + number) for name, number in fields]), count)
        if len(vertices) != count:
            raise ValueError(f"{len(vertices)} of {count} vertices")
        places = np.stack([vertices[axis] for axis in "xyz"], axis=1).astype(np.float32)
        names = ("red", "green", "blue")
        if not set(names) <= set(vertices.dtype.names):
            return np.concatenate([places, np.full_like(places, GREY)], axis=1)
        whole = vertices["red"].dtype.kind in "iu"
        colours = np.stack([vertices[name] for name in names], axis=1).astype(np.float32) / (255.0 if whole else 1.0)
        return np.concatenate([places, colours], axis=1)
    except (OSError, ValueError, KeyError, IndexError, UnicodeDecodeError, MemoryError) as error:
        raise UserError(f"{path}: cannot be read as a .ply of points ({error}); write it again") from None


def _header(file) -> tuple[str, int, list[tuple[str, str]]]:
    """Kind of a ``.ply`` file, number of its vertices and their numbers' names and types; raises ValueError."""
    if file.readline().strip() != b"ply":
        raise ValueError("its first line is not 'ply'")
    kind, count, fields, element = "", -1, [], ""
    while (line := file.readline()) and line.strip() != b"end_header":
        words = line.decode("ascii").split()
        if words[:1] == ["format"]:
            kind = words[1]
        elif words[:1] == ["element"]:
            if count < 0 and words[1] != "vertex":
                raise ValueError("its first element is not 'vertex'")
            element = words[1]
            count = int(words[2]) if element == "vertex" else count
        elif words[:1] == ["property"] and element == "vertex":
            fields.append((words[2], TYPES[words[1]]))
    if kind not in ("ascii", "binary_little_endian", "binary_big_endian") or count < 0 or not line:
        raise ValueError("its header is incomplete")
    return kind, count, fields


def write_points(path: Path, points: Float32[np.ndarray, "P 6"]) -> None:
    """Write places (float32), and colours in [0, 1] as bytes, into a binary ``.ply``: x y z, red green blue."""
    kinds = [*((axis, "<f4") for axis in "xyz"), *((colour, "u1") for colour in ("red", "green", "blue"))]
    vertices = np.empty(len(points), dtype=np.dtype(kinds))
    for column, (name, kind) in enumerate(kinds):
        values = points[:, column]
        vertices[name] = values if kind == "<f4" else np.rint(255 * values.clip(0, 1))
    write_vertices(path, vertices)


def write_vertices(path: Path, vertices: Shaped[np.ndarray, " P"]) -> None:
    """Write a table whose named columns, float32 or uint8, are the vertices' attributes, as a binary ``.ply``."""
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    kinds = {"f": "float", "u": "uchar"}
    header += [f"property {kinds[vertices.dtype[name].kind]} {name}" for name in vertices.dtype.names]
    path.write_bytes("\n".join([*header, "end_header", ""]).encode("ascii") + vertices.tobytes())
