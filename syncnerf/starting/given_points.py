"""Points that came with a scene: those of structure from motion, or of a depth sensor, in its own files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from syncnerf.errors import UserError
from syncnerf.records import read_json_object
from syncnerf.scene.scene import Scene
from syncnerf.starting.surfaces import ColouredPoints

PANOPTIC = "init_pt_cld.npz"
"""Points of the first frame in the layout of Dynamic 3D Gaussians: ``data`` [P, 6 or more], x y z, red green blue."""
MOST_GIVEN = 20_000
"""Points at most that are taken, drawn evenly."""
GREY = 0.5
"""Colour of points that have none."""
TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
"""numpy's names of what a ``.ply`` calls its numbers."""


def given_points(scene: Scene) -> ColouredPoints:
    """Points of the scene's own files, all still: Panoptic's ``init_pt_cld.npz``, or the ``ply_file_path`` of json.

    Those are left out that no camera has within its range; none where there is no such file.

    Raises:
        UserError: a file that is named is missing or cannot be read.
    """
    table = torch.from_numpy(_table(scene))
    places = (table[:, :3].double() - scene.origin).float()
    centres = torch.stack([scene.cameras[index].pose(0)[:3, 3] for index in scene.train]).float()
    near = torch.cat([torch.cdist(part, centres).amin(dim=1) <= scene.far for part in places.split(MOST_GIVEN)])
    kept = (near & table.isfinite().all(dim=1)).nonzero()[:, 0]
    kept = kept[torch.randperm(len(kept))[:MOST_GIVEN]]
    times = torch.full((len(kept),), torch.nan, dtype=torch.float64)
    return ColouredPoints(places[kept], times, table[kept, 3:].clamp(0.0, 1.0))


def _table(scene: Scene) -> Float32[np.ndarray, "P 6"]:
    """Places in the files' world and colours in [0, 1] of all points."""
    if scene.format == "panoptic" and (scene.root / PANOPTIC).is_file():
        return _read_npz(scene.root / PANOPTIC)
    json = scene.root / "transforms.json"
    name = read_json_object(json).get("ply_file_path") if json.is_file() else None
    if name is None:
        return np.empty((0, 6), dtype=np.float32)
    if not isinstance(name, str) or not (scene.root / name).is_file():
        raise UserError(f"{json}: 'ply_file_path' should name a file beside it; leave it out if there is none")
    return read_ply(scene.root / name)


def _read_npz(path: Path) -> Float32[np.ndarray, "P 6"]:
    try:
        with np.load(path, allow_pickle=False) as record:
            table = record["data"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read as points ({error}); copy it again, or remove it") from None
    if table.ndim != 2 or table.shape[1] < 6 or table.dtype.kind not in "fiu":
        raise UserError(f"{path}: 'data' has the shape {table.shape}, should be [P, 6] or more: x y z, red green blue")
    return table[:, :6].astype(np.float32)


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
