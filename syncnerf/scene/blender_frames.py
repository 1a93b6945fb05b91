"""Reader of ``transforms.json`` with a folder of images per camera: Sync-MixVoxels' layout of the Blender scenes."""

import logging
from pathlib import Path

from syncnerf.errors import UserError
from syncnerf.scene.camera import Camera
from syncnerf.scene.images import ImageSource, images_in, probe_images
from syncnerf.scene.listed_scene import listed_scene
from syncnerf.scene.natural_order import natural_order, require_one_order
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.scene import Scene
from syncnerf.scene.transforms_cameras import CameraEntry, entry_camera, read_entries

logger = logging.getLogger(__name__)

FRAMES = "frames_1"
FPS = 30.0
"""Frames per second where the json gives none: the images carry only their index."""


def is_blender_frames(root: Path) -> bool:
    """Whether the folder holds ``transforms.json`` and ``frames_1``."""
    return (root / "transforms.json").is_file() and (root / FRAMES).is_dir()


def read_blender_frames(root: Path, options: ReadOptions) -> Scene:
    """Read ``transforms.json`` (one entry per camera) and ``frames_1/<camera>/*.png``.

    Entries name their folder by the stem of ``file_path``, or are in the order of the sorted folders. Otherwise as
    :func:`syncnerf.scene.blender_video.read_blender_video`.

    Raises:
        UserError: with the file, what is wrong and what to do.
    """
    path = root / "transforms.json"
    record, entries = read_entries(path)
    folders = _folders(root, path, entries)
    if not all("fps" in entry.values or "frame_times" in entry.values for entry in entries):
        logger.warning("%s: neither it nor the images give an 'fps'; %g is taken for granted", path, FPS)

    def read(index: int) -> tuple[Camera, ImageSource]:
        folder = folders[index]
        images = images_in(folder)
        camera, lens = entry_camera(entries[index], folder.name, folder, probe_images(images, FPS), options)
        return camera, ImageSource(images, lens=lens)

    return listed_scene(path, root, "blender-frames", [folder.name for folder in folders], read, options, record)


def _folders(root: Path, path: Path, entries: list[CameraEntry]) -> list[Path]:
    """Each entry's folder of images."""
    named = [root / FRAMES / Path(str(entry.values.get("file_path"))).stem for entry in entries]
    if all(folder.is_dir() for folder in named) and len(set(named)) == len(named):
        return named
    folders = natural_order(folder for folder in (root / FRAMES).iterdir() if folder.is_dir() and folder.name[0] != ".")
    if len(folders) != len(entries):
        raise UserError(
            f"{path}: {len(entries)} poses but {len(folders)} folders in {FRAMES}; add or remove folders or poses"
        )
    require_one_order([folder.name for folder in folders], path, "name each entry's folder with file_path")
    return folders
