"""Points that came with a scene: those of structure from motion, or of a depth sensor, in its own files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from syncnerf.errors import UserError
from syncnerf.point_files import read_ply
from syncnerf.records import read_json_object
from syncnerf.scene.scene import Scene
from syncnerf.starting.surfaces import ColouredPoints

PANOPTIC = "init_pt_cld.npz"
"""Points of the first frame in the layout of Dynamic 3D Gaussians: ``data`` [P, 6 or more], x y z, red green blue."""
MOST_GIVEN = 20_000
"""Points at most that are taken, drawn evenly."""


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
