"""Six cameras on white that film balls, each at times of its own."""

from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import torch
from torch.nn.functional import normalize

from syncnerf.clock import Clock
from syncnerf.scene import Camera, Scene
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.frame_cache import FrameCache
from syncnerf.starting.own_times import OwnTimes

FRAMES, SIDE, FPS = 12, 64, 10.0
OFFSETS = torch.tensor([0.0, 0.2, -0.1, 0.3, 0.1, -0.2], dtype=torch.float64)
RADIUS, STILL_RADIUS = 0.3, 0.35
STILL = torch.tensor([0.0, 0.0, -0.8])


def standing(offsets: torch.Tensor) -> OwnTimes:
    """Clocks that run alike."""
    return OwnTimes(offsets, torch.zeros_like(offsets))


def camera(index: int) -> Camera:
    """One of six around the origin, at a distance of 4."""
    angle = torch.tensor(index * torch.pi / 3 + 0.1)
    place = 4 * torch.stack([angle.cos() * 0.9, angle.sin() * 0.9, torch.tensor(0.2 + 0.23 * (index % 2))])
    back = normalize(place, dim=0)
    right = normalize(torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]), back), dim=0)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3] = torch.stack([right, torch.linalg.cross(back, right), back, place], dim=1).double()
    size = Intrinsics(SIDE, SIDE, 1.4 * SIDE, 1.4 * SIDE, SIDE / 2, SIDE / 2)
    return Camera(f"cam{index}", size, pose, FPS, FRAMES)


def ball_place(time: torch.Tensor) -> torch.Tensor:
    """Where the moving ball is, shape [..., 3]; it crosses the scene at 1.6 a second."""
    return torch.stack([1.6 * (time - 0.5), 0.0 * time, 0.2 + 0.0 * time], dim=-1)


def picture(view: Camera, time: float) -> np.ndarray:
    """Two balls on white: a red one that flies, and a still one with four coloured quarters."""
    rays = view.all_rays(0.1, 10.0)
    image = torch.full((SIDE * SIDE, 3), 255, dtype=torch.uint8)
    depth = torch.full((SIDE * SIDE,), torch.inf, dtype=torch.float64)
    for place, radius, moving in ((ball_place(torch.tensor(time)), RADIUS, True), (STILL, STILL_RADIUS, False)):
        towards = place.double() - rays.origins
        along = (towards * rays.directions).sum(dim=-1)
        beside = towards.square().sum(dim=-1) - along.square()
        distance = along - (radius**2 - beside).clamp_min(0).sqrt()
        hit = (beside < radius**2) & (distance < depth)
        normal = (rays.origins + distance[:, None] * rays.directions - place) / radius
        quarters = torch.stack([40 + 160 * (normal[:, 0] > 0), 40 + 160 * (normal[:, 1] > 0), 0 * normal[:, 0]], dim=-1)
        colour = torch.tensor([200.0, 30.0, 30.0]).expand(SIDE * SIDE, 3) if moving else quarters
        image[hit] = colour[hit].byte()
        depth = torch.where(hit, distance, depth)
    return image.reshape(SIDE, SIDE, 3).numpy()


def filmed(folder: Path, picture: Callable[[Camera, float], np.ndarray]) -> Scene:
    """What six cameras see on white at times of their own."""
    cameras = tuple(camera(index) for index in range(6))
    bounds = torch.tensor([[-1.3] * 3, [1.3] * 3])
    scene = Scene(folder, "balls", cameras, FrameCache(folder, {}), (), bounds, 2.0, 6.0, background=(1.0, 1.0, 1.0))
    for index, view in enumerate(cameras):
        scene._frames[index] = np.stack([picture(view, float(time)) for time in view.frame_times + OFFSETS[index]])
        (folder / view.name).mkdir()
    return scene


def clock_between(first: float, last: float, frames: int, moments: Callable[[torch.Tensor], torch.Tensor]) -> Mock:
    """What :func:`starting_points` asks of a clock that has :data:`OFFSETS`."""
    return Mock(
        spec=Clock,
        first=first,
        last=last,
        offsets=lambda: OFFSETS,
        rates=lambda: torch.zeros_like(OFFSETS),
        frame_count=lambda interval: frames,
        moments=moments,
    )
