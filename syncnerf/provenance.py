"""What a checkpoint's numbers depend on besides its parameters: the scene it was trained on, told from any other."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from syncnerf.errors import UserError
from syncnerf.scene.camera import Camera
from syncnerf.scene.scene import Scene

BLOCKS, LOOKED_AT = 8, 256
"""Blocks per side whose mean colours stand for a frame, and pixels per side that are looked at for them."""
SAME_COLOUR = 10.0
"""Mean colours of a block, of 255, differ by less between decoders and between sizes of the same frames."""
TOLERANCE = 1e-3
"""Of lengths and angles, as a share of the scene's size, or of a number's own."""


def scene_facts(scene: Scene) -> dict[str, Any]:
    """What a training depends on, as plain values and tensors that a checkpoint can hold.

    Images' sizes are not among them: a field can be trained and judged at different ones.
    """
    return {
        "space": scene.space,
        "bounds": scene.field_bounds.double(),
        "near": float(scene.near),
        "far": float(scene.far),
        "background": None if scene.background is None else [float(value) for value in scene.background],
        "trained": [scene.names[i] for i in scene.train],
        "cameras": {camera.name: _camera_facts(scene, i) for i, camera in enumerate(scene.cameras)},
    }


def _camera_facts(scene: Scene, index: int) -> dict[str, Any]:
    camera = scene.cameras[index]
    size = camera.intrinsics
    lens = scene.frame_cache.lens(camera.name)
    # What undoing enlarges shows in the focal lengths.
    distortion = [float(value) for name, value in asdict(lens).items() if name != "zoom"]
    focal = [size.focal_x / size.width, size.focal_y / size.height]
    centre = [size.centre_x / size.width, size.centre_y / size.height]
    return {
        "number of frames": camera.frame_count,
        "last frame's time": float(camera.frame_times[-1]),
        "readout time": float(camera.row_time),
        "focal length": torch.tensor(focal, dtype=torch.float64),
        "image centre": torch.tensor(centre, dtype=torch.float64),
        "lens distortion": torch.tensor(distortion, dtype=torch.float64),
        "pose": torch.stack([camera.pose(0), camera.pose(camera.frame_count - 1)]).double(),
        "footage": _footage(scene, index, camera),
    }


def _footage(scene: Scene, index: int, camera: Camera) -> Tensor:
    """Mean colours of the first, the middle and the last frame in blocks, float32, shape [3, 3, BLOCKS, BLOCKS]."""
    frames = scene.frames(index)
    stride = max(1, min(frames.shape[1:3]) // LOOKED_AT)
    pictures = []
    for frame in (0, camera.frame_count // 2, camera.frame_count - 1):
        seen = torch.from_numpy(np.array(frames[frame, ::stride, ::stride])).float().permute(2, 0, 1)
        pictures.append(adaptive_avg_pool2d(seen, BLOCKS))
    return torch.stack(pictures)


def check_scene(stored: dict[str, Any], scene: Scene, path: Path) -> None:
    """Raise UserError where a checkpoint was trained on anything but this scene; the line names the first difference.

    Args:
        stored: what :func:`scene_facts` said when it was written.
        scene: what it is to be used on, its frames decoded.
        path: the checkpoint, for the message.
    """
    facts = scene_facts(scene)
    for name in facts["trained"]:
        if name not in stored["trained"]:
            raise UserError(
                f"{path}: camera '{name}' was not trained; name it in --test-cameras, as {_listed(stored, facts)} were"
            )
    for name in stored["trained"]:
        if name not in facts["trained"]:
            raise UserError(
                f"{path}: camera '{name}' was trained: its score as a test camera would mean nothing; choose among "
                f"{_listed(stored, facts)} with --test-cameras"
            )
    lowest, highest = stored["bounds"]
    size = float((highest - lowest).max())
    for name in ("space", "bounds", "near", "far", "background"):
        _compare(path, name.replace("space", "space (--space)"), stored[name], facts[name], size)
    for camera, mine in facts["cameras"].items():
        for name, value in mine.items():
            if name not in stored["cameras"][camera]:  # an earlier version did not note it
                continue
            theirs = stored["cameras"][camera][name]
            if name == "footage":
                if float((theirs - value).abs().max()) > SAME_COLOUR:
                    raise UserError(f"{path}: was trained on other footage of camera '{camera}'; give its own scene")
            else:
                _compare(path, f"{name} of camera '{camera}'", theirs, value, size if name == "pose" else 0.0)


def _compare(path: Path, name: str, theirs: Any, mine: Any, size: float) -> None:
    """Raise UserError where two facts differ by more than rounding; ``size`` is a length that counts as whole."""
    if isinstance(theirs, Tensor | float) and isinstance(mine, Tensor | float):
        first, second = torch.as_tensor(theirs), torch.as_tensor(mine)
        if first.shape == second.shape:
            room = TOLERANCE * torch.maximum(second.abs(), torch.full_like(second, size))
            if bool(((first - second).abs() <= room).all()):
                return
    elif theirs == mine:
        return
    raise UserError(
        f"{path}: was trained with {name} {_text(theirs)}, and here it is {_text(mine)}; give what it was "
        "trained with (config.txt of its run)"
    )


def _listed(stored: dict[str, Any], facts: dict[str, Any]) -> str:
    """Names of the cameras that were not trained."""
    return ", ".join(name for name in facts["cameras"] if name not in stored["trained"]) or "none"


def _text(value: Any) -> str:
    if isinstance(value, Tensor):
        return "[" + " ".join(f"{number:.4g}" for number in value.reshape(-1)[:6].tolist()) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
