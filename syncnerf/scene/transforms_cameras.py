"""Cameras, bounds and the scene of a ``transforms.json``, whatever holds the frames."""

import logging
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from syncnerf.errors import UserError
from syncnerf.records import matrix_of, number, positive, read_json_object, rigid_matrix
from syncnerf.scene.camera import Camera, Intrinsics
from syncnerf.scene.ideal_camera import ideal_camera
from syncnerf.scene.lens import Lens
from syncnerf.scene.lens_models import read_lens
from syncnerf.scene.placement import Placement, rig_placement, stated_placement
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.video import VideoProperties, check_same_shape

logger = logging.getLogger(__name__)

BOUNDS = 1.3
NEAR, FAR = 2.0, 6.0
WHITE = (1.0, 1.0, 1.0)
PLACES = 16
"""A lone moving camera is treated as a rig of about so many cameras, at places along its path."""
NOMINAL, JITTER = 1e-4, 0.02
"""Relative difference up to which two statements of a frame rate agree: for a constant rate (29.97 for 30000 / 1001),
and for the median of a varying one."""

ANOTHER_UNIT = 100.0
"""Frame times so many times farther apart than the video's own are probably milliseconds."""
WHOLE_INTERVAL = 1.05
"""Longest exposure or readout in frame intervals: it must end before the next frame, but for rounding."""
SPELLED = ("bounds", "near", "far", "row_time", "exposure", "frame_times", "fps", "transform_matrices")
"""Keys that only syncnerf knows. A key that is spelled almost like one of them is probably meant to be it."""


@dataclass(frozen=True)
class CameraEntry:
    """One entry of ``frames``, completed by the values that all entries share, and its name for errors."""

    values: dict[str, Any]
    where: str


def read_entries(path: Path) -> tuple[dict[str, Any], list[CameraEntry]]:
    """The record of a ``transforms.json`` and its entries, one per camera; raises UserError."""
    record = read_json_object(path)
    frames = record.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise UserError(f"{path}: 'frames' should list one entry per camera")
    return record, [CameraEntry({**record, **frame}, f"{path}: frames[{i}]") for i, frame in enumerate(frames)]


def warn_of_misspelled(record: dict[str, Any], path: Path) -> None:
    """Warn of each key that differs from one of :data:`SPELLED` only in capitals, punctuation or a plural."""
    plain = {_plain(known): known for known in SPELLED}
    keys = {key for part in (record, *record.get("frames", ())) for key in part}
    for key in sorted(keys - set(SPELLED)):
        if _plain(key) in plain:
            logger.warning("%s: '%s' means nothing here; is it '%s'?", path, key, plain[_plain(key)])


def _plain(key: str) -> str:
    """A key without capitals, punctuation and plural."""
    return re.sub(r"[^a-z]", "", key.lower()).removesuffix("s")


def entry_camera(
    entry: CameraEntry, name: str, source: Path, properties: VideoProperties, options: ReadOptions
) -> tuple[Camera, Lens]:
    """The camera of an entry, at the size that is asked for, and its lens.

    Args:
        entry: from :func:`read_entries`.
        name: the camera's name.
        source: its video or folder of images.
        properties: what ``source`` holds.
        options: the asked size.

    Raises:
        UserError: naming the entry or the source.
    """
    values, where = entry.values, entry.where
    intrinsics, lens = ideal_camera(read_lens(values, where), entry_intrinsics(values, where, properties, source))
    fps, times = _clock(values, where, properties, source)
    if "transform_matrices" in values:
        poses = values["transform_matrices"]
        if not isinstance(poses, list) or len(poses) != properties.frame_count:
            raise UserError(f"{where}: 'transform_matrices' should hold {properties.frame_count} poses, one per frame")
        pose = torch.stack([rigid_matrix(p, f"{where}.transform_matrices[{k}]") for k, p in enumerate(poses)])
    else:
        pose = rigid_matrix(values.get("transform_matrix"), f"{where}.transform_matrix")
    exposure = number(values, "exposure", where, 0.0)
    if exposure < 0:
        raise UserError(f"{where}: 'exposure' should be 0 or more seconds, not {exposure:g}")
    row_time = number(values, "row_time", where, 0.0)
    for key, seconds in (("exposure", exposure), ("row_time", row_time)):
        if abs(seconds) * fps > WHOLE_INTERVAL:
            raise UserError(
                f"{where}: '{key}' = {seconds:g} s is longer than from frame to frame ({1 / fps:.4g} s); it counts in "
                "seconds"
            )
    camera = Camera(name, intrinsics, pose, fps, properties.frame_count, times, row_time, exposure)
    return camera.resized(*options.size(intrinsics.width, intrinsics.height)), lens


def _clock(
    values: dict[str, Any], where: str, properties: VideoProperties, source: Path
) -> tuple[float, torch.Tensor | None]:
    """Frames per second and the frames' times: the json's own ``frame_times``, else the file's, else the ``fps``."""
    stated = positive(values, "fps", where) if "fps" in values else 0.0
    if "frame_times" in values:
        times = matrix_of(values["frame_times"], f"{where}: 'frame_times'")
        if times.shape != (properties.frame_count,) or not (times.diff() > 0).all():
            raise UserError(f"{where}: 'frame_times' should hold {properties.frame_count} increasing seconds")
        fps = 1 / float(times.diff().median()) if len(times) > 1 else stated or properties.fps or 1.0
        if properties.traits is not None and properties.fps > ANOTHER_UNIT * fps:
            logger.warning(
                "%s: 'frame_times' say %.4g frames per second and the file %.4g; are they in seconds?", where, fps,
                properties.fps,
            )  # fmt: skip
        return fps, times
    timed = not properties.untimed
    rounding = NOMINAL if properties.times is None else JITTER
    if timed and stated and abs(stated / properties.fps - 1) > rounding:
        logger.warning(
            "%s: its timestamps say %.6g frames per second and not %g as transforms.json does; they are believed "
            "('frame_times' in its entry would overrule them)", source, properties.fps, stated,
        )  # fmt: skip
    filmed = properties.traits is not None  # images have no header
    if filmed and not timed and stated and properties.fps and abs(stated / properties.fps - 1) > NOMINAL:
        logger.warning(
            "%s: its header says %.6g frames per second and transforms.json %g, which is believed; are all its frames "
            "there?", source, properties.fps, stated,
        )  # fmt: skip
    fps = properties.fps if timed else stated or properties.fps
    if fps <= 0:
        raise UserError(f"{source}: has no frame rate; give 'fps' in transforms.json")
    return fps, properties.times


def entry_intrinsics(values: dict[str, Any], where: str, properties: VideoProperties, source: Path) -> Intrinsics:
    """Intrinsics of the stored pictures at the json's size, or at their own where they are a smaller copy.

    From ``fl_x``, ``fl_y`` or ``camera_angle_x``; ``cx``, ``cy``; ``w``, ``h``. Raises UserError.
    """
    width = positive(values, "w", where, values.get("width", properties.width))
    height = positive(values, "h", where, values.get("height", properties.height))
    check_same_shape(source, properties, width, height, "transforms.json")
    if "fl_x" in values:
        focal_x = positive(values, "fl_x", where)
        focal_y = positive(values, "fl_y", where, focal_x)
    elif "camera_angle_x" in values:
        focal_x = focal_y = focal_of_angle(values, where, width)
    else:
        raise UserError(f"{where}: has neither 'fl_x' nor 'camera_angle_x'; add the focal length")
    centre_x = number(values, "cx", where, width / 2)
    centre_y = number(values, "cy", where, height / 2)
    stated = Intrinsics(int(width), int(height), focal_x, focal_y, centre_x, centre_y)
    return stated.resized(properties.width, properties.height) if width > properties.width else stated


def focal_of_angle(values: dict[str, Any], where: str, width: float) -> float:
    """Focal length in pixels from ``camera_angle_x``, the horizontal field of view in radians; raises UserError."""
    angle = positive(values, "camera_angle_x", where)
    if angle >= math.pi:
        raise UserError(f"{where}: 'camera_angle_x' = {angle:g} should be below pi; is it in degrees?")
    return 0.5 * width / math.tan(0.5 * angle)


def is_rendered(record: dict[str, Any]) -> bool:
    """Whether a ``camera_angle_x`` shared by all cameras says that the scene is a rendered object on white.

    Where focal lengths stand beside it (instant-ngp writes both) it is footage.
    """
    return "camera_angle_x" in record and not any("fl_x" in part for part in (record, *record.get("frames", ())))


def entries_placement(record: dict[str, Any], path: Path, cameras: tuple[Camera, ...]) -> Placement:
    """Bounds, near and far: what the json says, else +-1.3 and 2 to 6 for a rendered scene, else by the cameras.

    A lone moving camera counts as a rig of the places along its path. Raises UserError if the json contradicts itself.
    """
    if is_rendered(record):
        box = torch.tensor([[-BOUNDS] * 3, [BOUNDS] * 3])
        return stated_placement(record, path, Placement(box, NEAR, FAR, "bounded"))
    if len(cameras) == 1 and cameras[0].is_moving:
        poses = cameras[0].camera_to_world[:: max(1, cameras[0].frame_count // PLACES)]
        cameras = tuple(replace(cameras[0], camera_to_world=pose) for pose in poses)
    return stated_placement(record, path, rig_placement(cameras))
