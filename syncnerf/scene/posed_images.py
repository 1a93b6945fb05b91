"""Reader of ``transforms.json`` with one entry per image, as nerfstudio and instant-ngp write it."""

import itertools
import logging
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from syncnerf.errors import UserError
from syncnerf.records import number, positive, rigid_matrix
from syncnerf.scene.camera import Camera
from syncnerf.scene.images import SUFFIXES, ImageSource, probe_images
from syncnerf.scene.lens_models import OPTICS, require_one_lens
from syncnerf.scene.listed_scene import listed_scene
from syncnerf.scene.natural_order import natural_key
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.scene import Scene
from syncnerf.scene.transforms_cameras import CameraEntry, entry_camera, read_entries

logger = logging.getLogger(__name__)

FPS = 30.0
"""Frames per second if neither the json nor times tell."""
SAME_POSE = 1e-6
"""Matrices that differ by less are one pose."""
HELD_OUT = 8
"""One camera that moves: every eighth image is for evaluation, as is usual for such scenes (NeRF, LLFF)."""
WHOLE = 0.9
"""Times that are not negative and end between this and 1 are suspected to be shares of a recording, not seconds."""


def is_posed_images(root: Path) -> bool:
    """Whether the folder holds a ``transforms.json`` whose first entry names an image."""
    try:
        _, entries = read_entries(root / "transforms.json")
        return _image_path(root, entries[0]).suffix.lower() in SUFFIXES
    except (UserError, OSError, ValueError):
        return False


def read_posed_images(root: Path, options: ReadOptions) -> Scene:
    """Read ``transforms.json`` with one entry per image: its pose and, for a moving scene, its ``time``.

    Which images belong to one camera is found out in this order: those in one folder; if all are in one folder, those
    whose names differ only in their last number; if that gives a camera per image, one camera for all, or one per
    moment, those with the same pose and lens. A camera's frames are sorted by their times. Times are seconds unless the
    json has an ``fps``: then the usual step between them is one frame. Without times, frames are numbered.

    Images of a single moving camera all go by one clock; every eighth image is for evaluation.

    Raises:
        UserError: with the file, what is wrong and what to do.
    """
    path = root / "transforms.json"
    record, entries = read_entries(path)
    for entry in entries:
        _image_path(root, entry)
    timed = ["time" in entry.values for entry in entries]
    if any(timed) and not all(timed):
        raise UserError(f"{entries[timed.index(False)].where}: has no 'time' while others have; add it")
    groups = _cameras(entries)
    alone = len(groups) == 1
    if alone and not all(timed):
        raise UserError(
            f"{path}: images of a single camera that moves, without times: nothing here was filmed together"
        )
    if alone:
        ordered = sorted(next(iter(groups.values())), key=lambda entry: number(entry.values, "time", entry.where))
        kept = [entry for k, entry in enumerate(ordered) if k % HELD_OUT]
        groups = {"test": ordered[::HELD_OUT], "train": kept or ordered}
    scale = _seconds_per_unit(record, path, groups) if all(timed) else None
    if all(timed) and not alone and "fps" not in record:
        _warn_of_other_units(path, entries)
    if not all(timed) and not all("fps" in entry.values or "frame_times" in entry.values for entry in entries):
        logger.warning("%s: neither it nor the images give an 'fps' or 'time'; %g is taken for granted", path, FPS)
    names = list(groups)

    def read(index: int) -> tuple[Camera, ImageSource]:
        return _read_camera(root, names[index], groups[names[index]], scale, options)

    scene = listed_scene(path, root, "posed-images", names, read, options, record)
    return replace(scene, synchronised=True) if alone else scene


def _cameras(entries: list[CameraEntry]) -> dict[str, list[CameraEntry]]:
    """Each camera's entries by its name."""
    views = [_view_of(entry) for entry in entries]
    for name_of in (_folder_of, _series_of):
        names = [name_of(entry) for entry in entries]
        counts = Counter(names)
        if len(counts) > 1 and min(counts.values()) > 1 and not _are_moments(names, views):
            return dict(sorted(_grouped(entries, names).items(), key=lambda item: natural_key(item[0])))
    groups = list(_grouped(entries, views).values())
    if len(groups) == len(entries):
        return {"train": entries}
    names = [_lasting_name(group) for group in groups]
    if "" in names or len(set(names)) < len(names):
        return {f"cam{k:02d}": group for k, group in enumerate(groups)}
    return dict(sorted(zip(names, groups, strict=True), key=lambda item: natural_key(item[0])))


def _grouped(entries: list[CameraEntry], keys: list[str]) -> dict[str, list[CameraEntry]]:
    """Entries grouped by their keys, in the order in which the keys first occur."""
    groups: dict[str, list[CameraEntry]] = {}
    for entry, key in zip(entries, keys, strict=True):
        groups.setdefault(key, []).append(entry)
    return groups


def _are_moments(names: list[str], views: list[str]) -> bool:
    """Whether each name stands for a moment, not a camera: views recur, but never twice under the same name."""
    return len(set(views)) < len(views) == len(set(zip(names, views, strict=True)))


def _lasting_name(group: list[CameraEntry]) -> str:
    """The common part of the names of a camera's images, without the number that changes; may be empty."""
    parts = [re.split(r"(\d+)", Path(entry.values["file_path"]).stem) for entry in group]
    return "".join(part[0] for part in zip(*parts, strict=False) if len(set(part)) == 1).strip("-_. ")


def _folder_of(entry: CameraEntry) -> str:
    return Path(entry.values["file_path"]).parent.name


def _series_of(entry: CameraEntry) -> str:
    """An image's name without its last number."""
    return re.sub(r"[-_. ]*\d+$", "", Path(entry.values["file_path"]).stem)


def _view_of(entry: CameraEntry) -> str:
    """A text that is the same for images of one pose and lens."""
    pose = rigid_matrix(entry.values.get("transform_matrix"), f"{entry.where}.transform_matrix")
    lens = [entry.values.get(key) for key in OPTICS]
    return f"{np.rint(pose.numpy() / SAME_POSE).astype(np.int64).tolist()} {lens}"


def _seconds_per_unit(record: dict[str, Any], path: Path, groups: dict[str, list[CameraEntry]]) -> float:
    """Length of the json's unit of time in seconds."""
    if "fps" not in record:
        return 1.0
    steps = [np.diff(sorted(number(entry.values, "time", entry.where) for entry in group)) for group in groups.values()]
    step = float(np.median(np.concatenate(steps)))
    if step <= 0:
        raise UserError(f"{path}: most images of a camera have the same 'time'; correct them")
    return 1.0 / (positive(record, "fps", str(path)) * step)


def _warn_of_other_units(path: Path, entries: list[CameraEntry]) -> None:
    """Warn if times fill 0 to 1 or are whole numbers: they may be shares of a recording, or frames, not seconds."""
    times = [number(entry.values, "time", entry.where) for entry in entries]
    if max(times) > 1 and all(time == round(time) for time in times):
        logger.warning(
            "%s: its times are whole numbers and are taken for seconds; if they count frames, give its 'fps'", path
        )
    if min(times) >= 0 and WHOLE <= max(times) <= 1:
        logger.warning(
            "%s: its times run from %g to %g and are taken for seconds; if they are shares of the recording, give "
            "its 'fps'", path, min(times), max(times),
        )  # fmt: skip


def _read_camera(
    root: Path, name: str, group: list[CameraEntry], scale: float | None, options: ReadOptions
) -> tuple[Camera, ImageSource]:
    """A camera of one or more entries, and its images; ``scale``: seconds per unit of time, None without times."""
    if scale is None:
        group = sorted(group, key=lambda entry: natural_key(entry.values["file_path"]))
    else:
        group = sorted(group, key=lambda entry: number(entry.values, "time", entry.where))
    first, images = group[0], tuple(_image_path(root, entry) for entry in group)
    require_one_lens([entry.values for entry in group], f"{first.where}: camera {name}")
    values = dict(first.values)
    if scale is not None:
        times = [scale * number(entry.values, "time", entry.where) for entry in group]
        if any(later <= earlier for earlier, later in itertools.pairwise(times)):
            raise UserError(f"{first.where}: two images of camera {name} have the same 'time'; correct them")
        values["frame_times"] = times
    poses = [rigid_matrix(e.values.get("transform_matrix"), f"{e.where}.transform_matrix") for e in group]
    if max(float((pose - poses[0]).abs().max()) for pose in poses) > SAME_POSE:
        values["transform_matrices"] = [pose.tolist() for pose in poses]
    camera, lens = entry_camera(CameraEntry(values, first.where), name, images[0], probe_images(images, FPS), options)
    return camera, ImageSource(images, lens=lens)


def _image_path(root: Path, entry: CameraEntry) -> Path:
    """An entry's image, with the suffix that may be left out; raises UserError where it names none."""
    name = entry.values.get("file_path")
    if not isinstance(name, str) or not name or "\0" in name:
        raise UserError(f"{entry.where}: 'file_path' should name an image, not {str(name)[:40]!r}")
    path = root / name
    if path.suffix.lower() in SUFFIXES:
        return path
    return next((p for p in (path.with_name(path.name + suffix) for suffix in SUFFIXES) if p.is_file()), path)
