"""Point tracks of any tracker from ``.npz`` files: one file for each camera, or one for all of them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.scene import Camera
from syncnerf.sync.tracks import Tracks

LEAST_INSIDE = 0.5
"""Share of the visible points that should lie in their camera's picture."""
BORDER = 0.05
"""What lies outside a picture by less than this share of its side still counts as in it."""


def read_tracks(path: Path, camera: Camera, dimensions: tuple[int, ...] = (2,), zoom: float = 1.0) -> Tracks:
    """Tracks of a camera from ``path``: the folder of ``<camera>.npz`` files, or one ``.npz`` of all cameras.

    The file of one camera holds ``points`` (or ``tracks``), float [T, N, 2] in pixels or [T, N, 3] in the scene's
    world, and ``visibility`` [T, N] (bool, or a confidence that counts from 0.5 on). Optional are ``size`` = (width,
    height) of the images that were tracked, if that is not the size at which the scene is read; ``ids`` [N], whole
    numbers that are the same for one point in several cameras; and ``features`` [N, D]. The file of all cameras holds
    these arrays by ``<camera>/<name>``. Points should be those of undistorted images of the calibration's own focal
    length.

    Args:
        path: the folder or the file.
        camera: whose tracks are wanted.
        dimensions: of the points that can be used.
        zoom: focal length at which the scene's pictures are undistorted, over the calibration's own.

    Raises:
        UserError: the file is missing, is no npz, or its arrays do not fit the video or the camera.
    """
    if path.is_dir():
        file = path / f"{camera.name}.npz"
        return _tracks(_arrays(file), str(file), camera, dimensions, zoom)
    prefix = f"{camera.name}/"
    own = {name.removeprefix(prefix): array for name, array in _arrays(path, prefix).items()}
    return _tracks(own, f"{path} ({camera.name})", camera, dimensions, zoom)


def tracked_cameras(path: Path, names: tuple[str, ...]) -> list[str]:
    """Cameras that a file or a folder has tracks of, among ``names``, in their order.

    Raises:
        UserError: the file cannot be read, names a camera that is none of these, or has none.
    """
    if path.is_dir():
        found = {file.stem for file in path.glob("*.npz")} & set(names)
    else:
        members = [name.partition("/") for name in _members(path)]
        found = {camera for camera, slash, _ in members if slash}
        if unknown := sorted(found - set(names)):
            raise UserError(f"{path}: '{unknown[0]}' is no camera of the scene, whose cameras are {', '.join(names)}")
    if not found:
        raise UserError(
            f"{path}: holds no tracks of the scene's cameras; give arrays '{names[0]}/points' and "
            f"'{names[0]}/visibility', or a folder with {names[0]}.npz"
        )
    return [name for name in names if name in found]


def _members(path: Path) -> list[str]:
    """Names of a file's arrays."""
    return list(_arrays(path, None))


def _arrays(path: Path, prefix: str | None = "") -> dict[str, np.ndarray | None]:
    """Arrays of a file whose names begin with ``prefix``; with None, all names and no arrays."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if prefix is None:
                return dict.fromkeys(file.files)
            return {name: file[name] for name in file.files if name.startswith(prefix)}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; write one <camera>.npz of tracks per camera") from None
    except (OSError, ValueError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{path}: cannot be read as npz ({error}); save it with numpy.savez") from None


def _tracks(
    arrays: Mapping[str, np.ndarray], label: str, camera: Camera, dimensions: tuple[int, ...], zoom: float
) -> Tracks:
    """Tracks of a camera from its arrays; ``label`` names these."""
    points = arrays.get("points", arrays.get("tracks"))
    visibility = arrays.get("visibility")
    if points is None or visibility is None:
        raise UserError(f"{label}: holds {', '.join(arrays) or 'nothing'}; 'points' and 'visibility' are needed")
    shapes = " or ".join(f"[T, N, {dimension}]" for dimension in dimensions)
    if points.ndim != 3 or points.shape[2] not in dimensions or visibility.shape != points.shape[:2]:
        found = f"points {points.shape} and visibility {visibility.shape}"
        raise UserError(f"{label}: {found} should be {shapes} and [T, N]")
    if len(points) != camera.frame_count:
        raise UserError(f"{label}: tracks over {len(points)} frames, but the video has {camera.frame_count}")
    if points.dtype.kind not in "fiu" or visibility.dtype.kind not in "fiub":
        raise UserError(f"{label}: points and visibility should be numbers")
    visible = torch.from_numpy(visibility >= 0.5) & torch.from_numpy(np.isfinite(points).all(-1))
    points = torch.from_numpy(points.astype(np.float32)).nan_to_num(0.0)
    if points.shape[2] == 2:
        centre = points.new_tensor([camera.intrinsics.centre_x, camera.intrinsics.centre_y])
        points = centre + zoom * (points * _scale(arrays, label, camera) - centre)
    _check_fit(points, visible, label, camera)
    ids, features = _of_each(arrays, "ids", 1, label, points), _of_each(arrays, "features", 2, label, points)
    if ids is not None and len(ids.unique()) < len(ids):
        raise UserError(f"{label}: two of its tracks have one id; a point has one track in a video")
    return Tracks(points, visible, None, ids, None if features is None else features.float())


def _scale(arrays: Mapping[str, np.ndarray], label: str, camera: Camera) -> Tensor:
    """From the pixels of the images that were tracked to those of the scene, shape [2]."""
    own = (camera.intrinsics.width, camera.intrinsics.height)
    size = np.asarray(arrays.get("size", own))
    if size.shape != (2,) or size.dtype.kind not in "fiu" or not (size > 0).all():
        raise UserError(f"{label}: 'size' should be the width and height in pixels")
    return torch.from_numpy(np.array(own) / size).float()


def _of_each(arrays: Mapping[str, np.ndarray], name: str, dimensions: int, label: str, points: Tensor) -> Tensor | None:
    """What a file says of each track under a name: whole numbers [N], or numbers [N, D]; None if nothing."""
    found = arrays.get(name)
    if found is None:
        return None
    kinds, words = ("iu", "whole numbers [N]") if dimensions == 1 else ("fiu", "numbers [N, D]")
    if found.ndim != dimensions or len(found) != points.shape[1] or found.dtype.kind not in kinds or not found.size:
        raise UserError(f"{label}: {name} {found.shape} should be {words}, N = {points.shape[1]}")
    if not np.isfinite(found).all():
        raise UserError(f"{label}: {name} should be finite")
    return torch.from_numpy(found.astype(np.int64 if dimensions == 1 else np.float32))


def _check_fit(points: Tensor, visible: Tensor, label: str, camera: Camera) -> None:
    """Raise UserError where most of the visible points lie outside the camera's picture."""
    size = torch.tensor([camera.intrinsics.width, camera.intrinsics.height])
    places, before = points.double(), torch.ones_like(visible)
    hint = "'size' should be the width and height of the images that were tracked"
    if points.shape[2] == 3:
        poses = torch.stack([camera.projection(frame) for frame in range(camera.frame_count)])
        places = places @ poses[:, :, :3].transpose(1, 2) + poses[:, None, :, 3]
        before = places[..., 2] > 0
        places = places[..., :2] / torch.where(before, places[..., 2], 1.0)[..., None]
        hint = "points in space should be in the scene's world, in its units and axes (see syncnerf info)"
    inside = before & ((places > -BORDER * size) & (places < (1 + BORDER) * size)).all(dim=-1)
    share = float(inside[visible].float().mean()) if bool(visible.any()) else 1.0
    if share < LEAST_INSIDE:
        raise UserError(f"{label}: does not fit the camera: {share:.0%} of its points lie in the picture; {hint}")
