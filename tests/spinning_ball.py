"""A ball that spins and flies too fast for its frames, as six cameras on white would film it."""

import numpy as np
import torch
from filmed_balls import SIDE

from syncnerf.scene import Camera

RADIUS, SPIN = 0.3, 2.5
"""Scene units; radians per second about z."""
VELOCITY = torch.tensor([2.6, 1.8, 0.7])
"""Scene units per second, towards none of the cameras."""
HULL = torch.ones(48, 48, 48, dtype=torch.bool)
CELL = 2.6 / 48
"""Side of its cells, scene units."""
MIDDLE = 0.5
"""Seconds, when it is in the middle."""


def picture(view: Camera, time: float) -> np.ndarray:
    """The ball on white, in coloured quarters that turn with it."""
    rays = view.all_rays(0.1, 10.0)
    towards = (VELOCITY * (time - MIDDLE)).double() - rays.origins
    along = (towards * rays.directions).sum(dim=-1)
    beside = towards.square().sum(dim=-1) - along.square()
    distance = along - (RADIUS**2 - beside).clamp_min(0).sqrt()
    normal = (distance[:, None] * rays.directions - towards) / RADIUS
    turned = torch.remainder(torch.atan2(normal[:, 1], normal[:, 0]) - SPIN * time, 2 * torch.pi) / (2 * torch.pi)
    palette = torch.tensor([[200, 30, 30], [30, 160, 40], [40, 60, 200], [120, 40, 120]], dtype=torch.uint8)
    image = torch.where((beside < RADIUS**2)[:, None], palette[(4 * turned).long()], 255)
    return image.to(torch.uint8).reshape(SIDE, SIDE, 3).numpy()
