"""Which reader opens a folder: by its content, or by name."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from syncnerf.errors import UserError, did_you_mean
from syncnerf.scene.blender_frames import is_blender_frames, read_blender_frames
from syncnerf.scene.blender_video import is_blender_video, read_blender_video
from syncnerf.scene.d_nerf import is_d_nerf, read_d_nerf
from syncnerf.scene.frame_numbers import with_numbered_times
from syncnerf.scene.llff_video import is_llff_video, read_llff_video
from syncnerf.scene.panoptic import is_panoptic, read_panoptic
from syncnerf.scene.placement import placed
from syncnerf.scene.posed_images import is_posed_images, read_posed_images
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.remarks import warn_of_copies, warn_of_untimed
from syncnerf.scene.scene import Scene
from syncnerf.scene.syn_cam_video import is_syn_cam_video, read_syn_cam_video
from syncnerf.scene.technicolor import is_technicolor, read_technicolor
from syncnerf.scene.time_origin import with_times_from_zero

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reader:
    """A format: how to recognise it and how to read it."""

    recognises: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], Scene]


# In the order in which a folder is tried: the more particular layout first.
READERS: dict[str, Reader] = {
    "n3v": Reader(is_llff_video, read_llff_video),
    "panoptic": Reader(is_panoptic, read_panoptic),
    "syncam": Reader(is_syn_cam_video, read_syn_cam_video),
    "technicolor": Reader(is_technicolor, read_technicolor),
    "dnerf": Reader(is_d_nerf, read_d_nerf),
    "blender-frames": Reader(is_blender_frames, read_blender_frames),
    "posed-images": Reader(is_posed_images, read_posed_images),
    "blender-video": Reader(is_blender_video, read_blender_video),
}


def load_scene(root: Path | str, options: ReadOptions | None = None, dataset: str = "auto") -> Scene:
    """Read a scene folder.

    Args:
        root: the folder.
        options: size, split, cache, bounds.
        dataset: a reader's name, or ``auto`` to recognise the format.

    Raises:
        UserError: the folder is missing, its format is unknown, or something in it is unfit.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the scene's folder with --datadir")
    if dataset == "auto":
        dataset = next((name for name, reader in READERS.items() if reader.recognises(root)), "")
        if not dataset:
            known = ", ".join(READERS)
            raise UserError(
                f"{root}: no known format in this folder (--dataset has {known}); "
                "syncnerf import and syncnerf calibrate make a scene of videos"
            )
    if dataset not in READERS:
        raise UserError(f"no dataset format '{dataset}'{did_you_mean(dataset, READERS)} (known: {', '.join(READERS)})")
    scene = READERS[dataset].read(root, options or ReadOptions())
    scene = with_times_from_zero(with_numbered_times(scene))
    warn_of_untimed(scene)
    warn_of_copies(scene)
    return placed(scene, options or ReadOptions())


@contextmanager
def told_already() -> Iterator[None]:
    """While a folder is read again, at another size: its files are as they were, and what they give to say was said."""
    readers = logging.getLogger(__package__)
    level = readers.level
    readers.setLevel(logging.ERROR)
    try:
        yield
    finally:
        readers.setLevel(level)
