"""Reader of CMU Panoptic sequences in the layout of Dynamic 3D Gaussians (Luiten et al., 3DV 2024)."""

import logging
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.records import matrix_of, positive, read_json_object, rigid_matrix
from syncnerf.scene.camera import Camera, Intrinsics
from syncnerf.scene.images import ImageSource, probe_images
from syncnerf.scene.listed_scene import listed_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.scene import Scene
from syncnerf.scene.video import check_same_shape

logger = logging.getLogger(__name__)

FPS = 30.0
"""Frames per second where the json gives none."""
OPENCV_TO_OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


def is_panoptic(root: Path) -> bool:
    """Whether the folder holds ``train_meta.json``."""
    return (root / "train_meta.json").is_file()


def read_panoptic(root: Path, options: ReadOptions) -> Scene:
    """Read ``train_meta.json``, ``test_meta.json`` and ``ims/<camera>/*.jpg``.

    Each json holds ``w``, ``h`` and lists over frames, then cameras: ``k`` (calibration matrices), ``w2c`` (OpenCV
    world-to-camera), ``fn`` (files under ``ims``), ``cam_id``. The cameras of ``test_meta.json`` are for evaluation.
    ``bounds``, ``near`` and ``far`` of ``train_meta.json`` take precedence over what follows from the cameras.
    Cameras are taken as static where all frames have one pose, else as moving.

    Raises:
        UserError: with the file, what is wrong and what to do.
    """
    path, test_path = root / "train_meta.json", root / "test_meta.json"
    record = read_json_object(path)
    found = _read_meta(record, path, root, options)
    own_test = _read_meta(read_json_object(test_path), test_path, root, options) if test_path.exists() else []
    everything = [*found, *own_test]
    if "fps" not in read_json_object(path):
        logger.warning("%s: neither it nor the images give an 'fps'; %g is taken for granted", path, FPS)
    names = [camera.name for camera, _ in everything]
    test = tuple(camera.name for camera, _ in own_test)
    return listed_scene(path, root, "panoptic", names, everything.__getitem__, options, record, test)


def _read_meta(
    record: dict[str, Any], path: Path, root: Path, options: ReadOptions
) -> list[tuple[Camera, ImageSource]]:
    """The cameras of one json, and their images."""
    width, height = positive(record, "w", str(path)), positive(record, "h", str(path))
    fps = positive(record, "fps", str(path), FPS)
    tables = {key: _table(record, key, path) for key in ("k", "w2c", "fn", "cam_id")}
    count, frames = len(tables["fn"][0]), len(tables["fn"])
    for key, table in tables.items():
        if len(table) != frames or any(len(row) != count for row in table):
            raise UserError(f"{path}: '{key}' should hold {frames} frames of {count} cameras, as 'fn' does")
    found = []
    for column in range(count):
        name = str(tables["cam_id"][0][column])
        where = f"{path}: camera {name}"
        if any(str(row[column]) != name for row in tables["cam_id"]):
            raise UserError(f"{where}: 'cam_id' changes over the frames; keep each camera in one column")
        files = [row[column] for row in tables["fn"]]
        if not all(isinstance(file, str) and file and "\0" not in file for file in files):
            raise UserError(f"{where}: 'fn' should name an image per frame")
        _check_one_place(files, where)
        images = tuple(root / "ims" / file for file in files)
        properties = probe_images(images, fps)
        check_same_shape(images[0], properties, width, height, path.name)
        intrinsics = _intrinsics([row[column] for row in tables["k"]], int(width), int(height), where)
        pose = _poses([row[column] for row in tables["w2c"]], where)
        camera = Camera(name, intrinsics, pose, fps, frames)
        found.append((camera.resized(*options.size(properties.width, properties.height)), ImageSource(images)))
    return found


def _check_one_place(files: list[str], where: str) -> None:
    """Raise UserError where a camera's images lie neither in one folder nor under one name: some are another's."""
    folders, stems = ([getattr(PurePosixPath(file), part) for file in files] for part in ("parent", "stem"))
    if len(set(folders)) > 1 and len(set(stems)) > 1:
        other = next(file for file, folder in zip(files, folders, strict=True) if folder != folders[0])
        raise UserError(f"{where}: 'fn' goes from {files[0]} to {other}; keep each camera's images in one column")


def _table(record: dict[str, Any], key: str, path: Path) -> list[list[Any]]:
    table = record.get(key)
    if not isinstance(table, list) or not table or not all(isinstance(row, list) and row for row in table):
        raise UserError(f"{path}: '{key}' should be a list over frames of lists over cameras")
    return table


def _intrinsics(values: list[Any], width: int, height: int, where: str) -> Intrinsics:
    matrices = matrix_of(values, f"{where}: 'k'")
    if matrices.shape[1:] != (3, 3) or (matrices[:, 0, 0] <= 0).any() or (matrices[:, 1, 1] <= 0).any():
        raise UserError(f"{where}: 'k' should hold 3x3 calibration matrices with positive focal lengths")
    if (matrices - matrices[0]).abs().max() > 1e-3 * float(matrices[0, 0, 0]):
        raise UserError(f"{where}: 'k' changes over the frames; a camera that zooms cannot be read")
    focal_x, focal_y, centre_x, centre_y = (float(matrices[0][at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Intrinsics(width, height, focal_x, focal_y, centre_x, centre_y)


def _poses(values: list[Any], where: str) -> Tensor:
    """Camera-to-world in OpenGL axes from OpenCV world-to-camera, [4, 4] where constant, else [T, 4, 4]."""
    matrices = torch.stack([rigid_matrix(value, f"{where}: 'w2c' of frame {k}") for k, value in enumerate(values)])
    poses = torch.linalg.inv(matrices) @ OPENCV_TO_OPENGL
    return poses[0] if (matrices - matrices[0]).abs().max() < 1e-6 else poses
