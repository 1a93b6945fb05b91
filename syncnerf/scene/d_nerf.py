"""Reader of D-NeRF scenes: one moving camera whose frame times are given, synchronised by construction."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from syncnerf.errors import UserError
from syncnerf.records import number, read_json_object, rigid_matrix
from syncnerf.scene.camera import Camera
from syncnerf.scene.ideal_camera import ideal_camera
from syncnerf.scene.images import ImageSource, probe_images
from syncnerf.scene.lens_models import OPTICS, read_lens, require_one_lens
from syncnerf.scene.listed_scene import listed_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.scene import Scene
from syncnerf.scene.transforms_cameras import entry_intrinsics


def is_d_nerf(root: Path) -> bool:
    """Whether the folder holds ``transforms_train.json``."""
    return (root / "transforms_train.json").is_file()


def read_d_nerf(root: Path, options: ReadOptions) -> Scene:
    """Read ``transforms_train.json`` and ``transforms_test.json`` (where that is missing ``transforms_val.json``).

    Each split becomes a moving camera called by its name; its frames are in the order of their times, which are
    ``time`` in [0, 1], taken as seconds. Transparent images are laid over white. Beside ``camera_angle_x`` a json may
    hold the other keys of intrinsics and lens (:func:`~syncnerf.scene.transforms_cameras.entry_intrinsics`).

    Raises:
        UserError: with the file, what is wrong and what to do.
    """
    held_out = "test" if (root / "transforms_test.json").exists() else "val"
    pairs = [_read_split(root, split, options) for split in ("train", held_out)]
    path, names = root / "transforms_train.json", [camera.name for camera, _ in pairs]
    record = read_json_object(path)
    scene = listed_scene(path, root, "dnerf", names, pairs.__getitem__, options, record, own_test=(held_out,))
    return replace(scene, synchronised=True)


def _read_split(root: Path, split: str, options: ReadOptions) -> tuple[Camera, ImageSource]:
    path = root / f"transforms_{split}.json"
    record = read_json_object(path)
    frames = record.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise UserError(f"{path}: 'frames' should list one entry per image")
    times = [_time(frame, f"{path}: frames[{k}]", k, len(frames)) for k, frame in enumerate(frames)]
    order = sorted(range(len(frames)), key=times.__getitem__)
    images = tuple(_image_path(root, frames[k], f"{path}: frames[{k}]") for k in order)
    poses = torch.stack([rigid_matrix(frames[k].get("transform_matrix"), f"{path}: frames[{k}]") for k in order])
    properties = probe_images(images)
    require_one_lens(frames, str(path))
    shared = record | {key: frames[0][key] for key in OPTICS if key in frames[0]}
    stored = entry_intrinsics(shared, str(path), properties, images[0])
    intrinsics, lens = ideal_camera(read_lens(shared, str(path)), stored)
    given = torch.tensor([times[k] for k in order], dtype=torch.float64)
    # The frames have times, but no rate. Displays and the time resolution of fields need one: this is nominal.
    fps = float(max(len(frames) - 1, 1))
    camera = Camera(split, intrinsics, poses, fps, len(frames), given)
    return camera.resized(*options.size(intrinsics.width, intrinsics.height)), ImageSource(images, lens=lens)


def _time(frame: dict[str, Any], where: str, index: int, count: int) -> float:
    time = number(frame, "time", where, index / max(count - 1, 1))
    if not 0.0 <= time <= 1.0:
        raise UserError(f"{where}: 'time' = {time:g} should be between 0 and 1")
    return time


def _image_path(root: Path, frame: dict[str, Any], where: str) -> Path:
    name = frame.get("file_path")
    if not isinstance(name, str) or not name or "\0" in name:
        raise UserError(f"{where}: 'file_path' should name an image, not {str(name)[:40]!r}")
    path = root / name
    return path if path.suffix.lower() in (".png", ".jpg", ".jpeg") else path.with_name(path.name + ".png")
