"""Rigs of cameras for generated views, and poses as the module sees them."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.evaluation.camera_paths import look_at
from syncnerf.records import read_json_object, rigid_matrix
from syncnerf.scene import Camera, load_scene
from syncnerf.scene.panoptic import OPENCV_TO_OPENGL
from syncnerf.scene.syn_cam_video import FOCAL_PER_WIDTH, read_extrinsics

logger = logging.getLogger(__name__)

METRES_PER_UNIT = 2.0
"""The model's unit of length: the released training divides the data set's centimetres by 200."""
TRAINED_ANGLE = 30.0
"""Degrees between two views up to which the released model was trained."""
LENS_TOLERANCE = 0.05
"""Share by which a camera's focal length may differ from the model's one lens before a warning."""


@dataclass(frozen=True)
class Rig:
    """Cameras to generate.

    Attributes:
        names: theirs, in order; the first is the one that the others are relative to.
        camera_to_world: OpenGL axes, metres, float64, shape [V, 4, 4].
    """

    names: list[str]
    camera_to_world: Float64[Tensor, "V 4 4"]


def embed_poses(camera_to_world: Float64[Tensor, "V 4 4"], frames: int) -> Float32[Tensor, "V F 12"]:
    """Poses of static cameras as the module sees them: relative to the first, OpenCV axes, in units of 2 m.

    Args:
        camera_to_world: OpenGL axes, metres, float64, shape [V, 4, 4].
        frames: latent frames F.

    Returns:
        Rows of ``[R | t]``, float32, shape [V, F, 12]; the identity for the first view.
    """
    relative = torch.linalg.inv(camera_to_world[0]) @ camera_to_world
    relative = OPENCV_TO_OPENGL @ relative @ OPENCV_TO_OPENGL
    relative[:, :3, 3] /= METRES_PER_UNIT
    return relative[:, None, :3].flatten(2).expand(-1, frames, -1).float()


def read_rig(text: str, metres: float = 1.0) -> Rig:
    """A rig by name, from a json file, or from a scene's folder.

    Args:
        text: ``arc:4,15,3`` (views, degrees between them, radius in metres), ``raise:3,10,3`` (views raised straight
            up and pitched, likewise), ``dolly:3,1,3`` (views, metres by which each stands further back, distance of the
            first); a json of SynCamVideo's extrinsics or with ``frames[i].transform_matrix`` (OpenGL axes); or any
            scene.
        metres: of one unit of a json's or scene's coordinates (SynCamVideo's are known and stay as they are).

    Raises:
        UserError: it is none of these, or holds fewer than two cameras that stand still.
    """
    kind = text.split(":")[0]
    if ":" in text and kind in NAMED:
        rig = NAMED[kind](*_numbers(text))
    elif Path(text).is_dir():
        rig = _rig_of_scene(text, metres)
    elif Path(text).is_file():
        rig = _rig_of_json(Path(text), metres)
    else:
        raise UserError(f"cameras = {text}: no such file or folder, and no rig (arc:4,15,3, raise:3,10,3, dolly:3,1,3)")
    if len(rig.names) < 2:
        raise UserError(f"cameras = {text}: has {len(rig.names)} cameras; views need at least two")
    widest = _widest_angle(rig.camera_to_world)
    if widest > TRAINED_ANGLE + 0.5:
        logger.warning(
            "views turn by up to %.0f degrees; the released model was trained up to %.0f", widest, TRAINED_ANGLE
        )
    return rig


def _arc(views: int, step: float, radius: float) -> Rig:
    """Cameras on a circle around what they look at, from left to right."""
    azimuths = [math.radians(step * (view - (views - 1) / 2)) for view in range(views)]
    places = [(radius * math.sin(a), 0.0, radius * math.cos(a)) for a in azimuths]
    return _looking_at_origin(places)


def _raise(views: int, step: float, distance: float) -> Rig:
    """Cameras straight above the first, pitched down to what it looks at."""
    return _looking_at_origin(
        [(0.0, distance * math.tan(math.radians(step * view)), distance) for view in range(views)]
    )


def _dolly(views: int, step: float, distance: float) -> Rig:
    """Cameras straight behind the first."""
    return _looking_at_origin([(0.0, 0.0, distance + step * view) for view in range(views)])


NAMED = {"arc": _arc, "raise": _raise, "dolly": _dolly}


def _looking_at_origin(places: list[tuple[float, float, float]]) -> Rig:
    """Upright cameras (+Y is up) that look at the origin."""
    centres = torch.tensor(places, dtype=torch.float64)
    upwards = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    return Rig(_numbered(len(places)), look_at(centres, torch.zeros_like(upwards), upwards))


def _numbers(text: str) -> tuple[int, float, float]:
    """``arc:4,15,3`` as a whole number of views and two positive numbers."""
    parts = text.split(":", 1)[1].split(",")
    try:
        views, step, distance = int(parts[0]), float(parts[1]), float(parts[2])
    except (ValueError, IndexError):
        views, step, distance = 0, 0.0, 0.0
    if len(parts) != 3 or views < 2 or not (0 < step < math.inf and 0 < distance < math.inf):
        raise UserError(
            f"cameras = {text}: should be a number of views from 2, a step and a distance, as in arc:4,15,3"
        )
    turned = step * (views - 1)
    if (text.startswith("arc") and turned >= 360) or (text.startswith("raise") and turned >= 80):
        raise UserError(f"cameras = {text}: the cameras turn too far; take a smaller step")
    return views, step, distance


def _rig_of_scene(folder: str, metres: float) -> Rig:
    scene = load_scene(folder)
    for camera in scene.cameras:
        if camera.is_moving:
            raise UserError(f"{folder}: camera '{camera.name}' moves; generated cameras stand still")
        _check_lens(camera)
    poses = torch.stack([camera.pose(0) for camera in scene.cameras])
    return Rig(scene.names, _scaled(poses, 1.0 if scene.format == "syncam" else metres))


def _rig_of_json(path: Path, metres: float) -> Rig:
    record = read_json_object(path)
    frames = record.get("frames")
    if frames is None:
        names, poses = read_extrinsics(path)
        return Rig(names, poses)
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise UserError(f"{path}: 'frames' should be a list of cameras with 'transform_matrix'")
    poses = [rigid_matrix(frame.get("transform_matrix"), f"{path}: frames[{i}]") for i, frame in enumerate(frames)]
    if not poses:
        raise UserError(f"{path}: holds no cameras; list them in 'frames'")
    return Rig(_numbered(len(poses)), _scaled(torch.stack(poses), metres))


def _scaled(poses: Tensor, metres: float) -> Tensor:
    poses = poses.clone()
    poses[:, :3, 3] *= metres
    return poses


def _numbered(count: int) -> list[str]:
    return [f"cam{number + 1:02d}" for number in range(count)]


def _check_lens(camera: Camera) -> None:
    """Warn of a lens that the model cannot make: it is told of none, and knows but one."""
    share = camera.intrinsics.focal_x / camera.intrinsics.width / FOCAL_PER_WIDTH
    if abs(share - 1) > LENS_TOLERANCE:
        logger.warning(
            "camera %s has %.2f times the focal length of the model's one lens; its view will be made with the latter",
            camera.name,
            share,
        )


def _widest_angle(poses: Tensor) -> float:
    """Largest angle between the viewing directions of two cameras, degrees."""
    axes = poses[:, :3, 2]
    return float(torch.rad2deg((axes @ axes.T).clamp(-1, 1).arccos()).max())
