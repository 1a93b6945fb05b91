"""Generated views as a scene in SynCamVideo's layout, which every other command opens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.evaluation.videos import video_writer
from syncnerf.generate.poses import Rig
from syncnerf.scene.panoptic import OPENCV_TO_OPENGL
from syncnerf.scene.syn_cam_video import EXTRINSICS, FPS, METRES

RECORD = "prompt.json"
"""What a generated scene was made from; footage has no such file."""
QUALITY = 12
"""Constant rate factor of the videos: finer than what is only looked at, since they are measured."""

FIRST_CAMERA = torch.tensor(
    [[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64
)
"""The first camera in the engine's world, OpenCV axes: it looks along X, its right is Y, its down is -Z; improper."""


def write_scene(
    folder: Path, rig: Rig, videos: Iterable[Iterable[Float[Tensor, "height width 3"]]], record: dict[str, Any]
) -> None:
    """Write ``videos/<camera>.mp4``, ``cameras/camera_extrinsics.json`` and ``prompt.json`` into a folder.

    Args:
        folder: an empty one, see :func:`syncnerf.atomic.atomic_folder`.
        rig: the cameras.
        videos: each camera's frames, colours in [0, 1], shape [height, width, 3] each; asked for one after the other.
        record: what the views were made from.
    """
    count = 0
    for name, frames in zip(camera_names(rig), videos, strict=True):
        with video_writer(folder / "videos" / f"{name}.mp4", FPS, QUALITY) as writer:
            for count, frame in enumerate(frames, 1):  # noqa: B007, the last one's number is the number of frames
                writer.write(frame)
    path = folder / EXTRINSICS
    path.parent.mkdir()
    path.write_text(json.dumps(extrinsics(rig, count), indent=1) + "\n", encoding="utf-8")
    text = json.dumps({"origin": "generated"} | record, indent=1, ensure_ascii=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def camera_names(rig: Rig) -> list[str]:
    """``cam01`` and so on: the layout takes cameras in the order of their names."""
    return [f"cam{number + 1:02d}" for number in range(len(rig.names))]


def extrinsics(rig: Rig, frames: int) -> dict[str, dict[str, str]]:
    """The content of ``camera_extrinsics.json``: the reverse of what the layout's reader does, poses of all frames.

    Rows of the engine's matrix in its left-handed world (X forward, Y right, Z up), centimetres.
    """
    first_to_world = torch.linalg.inv(rig.camera_to_world[0])
    cameras = {}
    for name, pose in zip(camera_names(rig), rig.camera_to_world, strict=True):
        opencv = OPENCV_TO_OPENGL @ first_to_world @ pose @ OPENCV_TO_OPENGL
        opencv[:3, 3] /= METRES
        engine = FIRST_CAMERA @ opencv
        engine[:, 1] *= -1
        rows = engine[:, [2, 0, 1, 3]].T.tolist()
        cameras[name] = "".join("[" + " ".join(map(repr, row)) + "] " for row in rows)
    return {f"frame{number}": cameras for number in range(frames)}
