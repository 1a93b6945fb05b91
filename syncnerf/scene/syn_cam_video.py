"""Reader of SynCamVideo scenes: rendered videos of static cameras, poses in the engine's left-handed world."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.records import matrix_of, read_json_object, rigid_matrix
from syncnerf.scene.camera import Camera, Intrinsics
from syncnerf.scene.listed_scene import listed_scene
from syncnerf.scene.natural_order import natural_key
from syncnerf.scene.panoptic import OPENCV_TO_OPENGL
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.scene import Scene
from syncnerf.scene.video import VideoSource, probe_video
from syncnerf.scene.video_files import find_videos

EXTRINSICS = Path("cameras") / "camera_extrinsics.json"
FOCAL_PER_WIDTH = 24.0 / 23.76
"""A 24 mm lens before a sensor 23.76 mm wide."""
METRES = 0.01
"""The engine's unit is the centimetre."""
FPS = 15.0
OLDER_NAME = re.compile(r"C_\d+_\d+mm")
"""What the first release of the data set called its cameras."""


def is_syn_cam_video(root: Path) -> bool:
    """Whether the folder holds ``cameras/camera_extrinsics.json``."""
    return (root / EXTRINSICS).is_file()


def read_syn_cam_video(root: Path, options: ReadOptions) -> Scene:
    """Read ``cameras/camera_extrinsics.json`` and ``videos/<camera>.mp4``; the first camera is for evaluation.

    Poses come out in metres relative to the file's first camera, whose axes are the world's.

    Raises:
        UserError: with the file, what is wrong and what to do.
    """
    path = root / EXTRINSICS
    listed, poses = read_extrinsics(path)
    videos = {video.name: video.paths for video in find_videos(root / "videos")}
    names = [name for name in listed if name in videos]
    wanted = [name for name in (*videos, *listed) if name not in options.exclude_cameras]
    missing = [name for name in wanted if name not in videos or name not in listed]
    if missing:
        raise UserError(f"{path}: camera '{missing[0]}' has a pose but no video in videos/, or the reverse; add it")
    absent = {*videos, *listed} - set(names)
    options = replace(options, exclude_cameras=tuple(n for n in options.exclude_cameras if n not in absent))

    def read(index: int) -> tuple[Camera, VideoSource]:
        name = names[index]
        video, *chapters = videos[name]
        properties = probe_video(video, tuple(chapters))
        width, height = properties.width, properties.height
        focal = FOCAL_PER_WIDTH * width
        intrinsics = Intrinsics(width, height, focal, focal, width / 2, height / 2)
        pose = poses[listed.index(name)]
        camera = Camera(name, intrinsics, pose, properties.fps or FPS, properties.frame_count, properties.times)
        return camera.resized(*options.size(width, height)), VideoSource(video, chapters=tuple(chapters))

    return listed_scene(path, root, "syncam", names, read, options)


def read_extrinsics(path: Path) -> tuple[list[str], Float64[Tensor, "C 4 4"]]:
    """Names and poses of the cameras in ``camera_extrinsics.json``.

    Returns:
        The names in order, and camera-to-world relative to the first, OpenGL axes, metres, float64, shape [C, 4, 4].

    Raises:
        UserError: a matrix is unfit, a camera moves, or the file is of the data set's older layout.
    """
    record = read_json_object(path)
    if any(
        OLDER_NAME.fullmatch(key) for frame in [record, *record.values()] if isinstance(frame, dict) for key in frame
    ):
        raise UserError(f"{path}: is in SynCamVideo's older layout (2024, 36 cameras, C_01_35mm); use the 2025 release")
    if not record or not all(isinstance(frame, dict) and frame for frame in record.values()):
        raise UserError(f"{path}: should hold frames ('frame0', ...) of cameras ('cam01', ...)")
    names = sorted(next(iter(record.values())), key=natural_key)
    engine = [_static_pose(record, name, path) for name in names]
    poses = []
    for name, pose in zip(names, engine, strict=True):
        relative = OPENCV_TO_OPENGL @ torch.linalg.inv(engine[0]) @ pose @ OPENCV_TO_OPENGL
        relative[:3, 3] *= METRES
        poses.append(rigid_matrix(relative.tolist(), f"{path}: {name}"))
    return names, torch.stack(poses)


def _static_pose(record: dict[str, Any], name: str, path: Path) -> Tensor:
    """Camera-to-world of a camera in OpenCV axes and the engine's left-handed world (determinant -1), [4, 4]."""
    matrices = [_parse(frame.get(name), f"{path}: {key}, {name}") for key, frame in record.items()]
    if any((matrix - matrices[0]).abs().max() > 1e-3 for matrix in matrices):
        raise UserError(f"{path}: {name} moves; only scenes of static cameras can be read")
    pose = matrices[0].T[:, [1, 2, 0, 3]]
    pose[:, 1] *= -1
    return pose


def _parse(text: Any, where: str) -> Tensor:
    """``"[r r r 0] [r r r 0] [r r r 0] [tx ty tz 1] "`` as a float64 tensor, shape [4, 4]."""
    rows = text.replace("[", " ").split("]")[:-1] if isinstance(text, str) else []
    try:
        values = [[float(value) for value in row.split()] for row in rows]
    except ValueError:
        values = []
    if len(values) != 4 or any(len(row) != 4 for row in values):
        raise UserError(f"{where}: should be four rows of four numbers, '[r r r 0] [r r r 0] [r r r 0] [x y z 1]'")
    matrix = matrix_of(values, where)
    if abs(float(torch.linalg.det(matrix))) < 1e-6:
        raise UserError(f"{where}: is not a rigid motion; export the cameras again")
    return matrix
