"""A scene of coloured blobs in closed form: its videos, its poses and its true offsets, small enough for any test."""

import json
import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from evaluation_fixtures import look_from

SIDE, FRAMES, FPS = 32, 12, 10
ANGLE = 0.9
"""Horizontal field of view of every camera, radians."""
TRUE_OFFSETS = (0.07, 0.0, -0.13, 0.18)
"""Seconds; camera 0 is the test view, camera 1 the reference."""
BLOBS = (
    # colour, radius, orbit's radius, angular speed (1/s), phase, height
    ((0.9, 0.15, 0.1), 0.45, 0.55, 2.2, 0.0, 0.15),
    ((0.1, 0.35, 0.9), 0.35, 0.75, 3.1, 2.1, -0.25),
    ((0.1, 0.7, 0.2), 0.30, 0.0, 0.0, 0.0, 0.65),
)


def camera_poses(count: int = len(TRUE_OFFSETS)) -> list[torch.Tensor]:
    """Poses on a ring around the origin at a distance of 4, float64, shape [4, 4]."""
    angles = [2 * math.pi * i / count for i in range(count)]
    return [look_from([3.46 * math.cos(a), 3.46 * math.sin(a), 2.0]) for a in angles]


def picture(pose: np.ndarray, seconds: float, side: int = SIDE) -> np.ndarray:
    """What a camera sees of the blobs at a scene time: soft discs, near ones over far ones, uint8 [side, side, 3]."""
    focal = 0.5 * side / math.tan(0.5 * ANGLE)
    row, column = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5, indexing="ij")
    directions = np.stack([(column - side / 2) / focal, -(row - side / 2) / focal, -np.ones_like(row)], axis=-1)
    directions = directions @ pose[:3, :3].T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    seen = []
    for colour, radius, orbit, speed, phase, height in BLOBS:
        angle = speed * seconds + phase
        centre = np.array([orbit * math.cos(angle), orbit * math.sin(angle), height]) - pose[:3, 3]
        along = directions @ centre
        distance = np.sqrt(np.maximum(centre @ centre - along**2, 0.0))
        opacity = np.clip((radius - distance) / 0.12 + 0.5, 0.0, 1.0)
        seen.append((float(np.linalg.norm(centre)), opacity, np.array(colour)))
    image = np.ones((side, side, 3))
    for _, opacity, colour in sorted(seen, key=lambda item: -item[0]):
        image = opacity[..., None] * colour + (1 - opacity[..., None]) * image
    return (image * 255).round().astype(np.uint8)


def write_video(path: Path, images: list[np.ndarray], fps: int = FPS) -> None:
    """Encode uint8 RGB images, nearly without loss."""
    with av.open(str(path), "w") as container:
        # In pictures this small x264's macroblock tree reads memory that nothing wrote: no two videos would be alike.
        options = {"crf": "8", "preset": "medium", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        stream.codec_context.thread_count = 1
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def write_scene(folder: Path, frames: int = FRAMES, side: int = SIDE, cameras: int = len(TRUE_OFFSETS)) -> Path:
    """A folder in Sync-NeRF's Blender layout, with ground truth; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for index, pose in enumerate(camera_poses(cameras)):
        name = f"cam{index:02d}.mp4"
        times = [frame / FPS + TRUE_OFFSETS[index] for frame in range(frames)]
        write_video(folder / name, [picture(pose.numpy(), time, side) for time in times])
        entries.append({"file_path": name, "transform_matrix": pose.tolist()})
    record = {"camera_angle_x": ANGLE, "width": side, "height": side, "fps": FPS, "frames": entries}
    (folder / "transforms.json").write_text(json.dumps(record))
    (folder / "offsets.json").write_text(json.dumps({"seconds": list(TRUE_OFFSETS[:cameras])}))
    return folder


def edit_json(path: Path, change) -> None:
    """Apply ``change(record)`` to a json file."""
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
