"""Small MixVoxels, of which about half of the points change, and moments to ask them for."""

import torch

from syncnerf.backend import Execution
from syncnerf.option import configured
from syncnerf.testing.samples import scene_geometry
from syncnerf_mixvoxels.adapter import MixVoxelsBackend
from syncnerf_mixvoxels.spec import MixVoxelsConfig

SMALL = {
    "grid_resolution": 10, "final_resolution": 20, "upsample_steps": "4,8", "hidden_width": 16, "query_width": 12,
    "time_waves": 8, "ray_steps": 20, "mask_resolution": 8, "mask_start": 2,
    "mask_every": 2, "shrink_step": 6, "ray_threshold": 0.5, "point_threshold": 0.5, "colour_threshold": 0.0,
}  # fmt: skip
"""Options of a small field."""


def make(changes: dict | None = None, seed: int = 0, **geometry) -> MixVoxelsBackend:
    """A small backend whose weights are stirred, so that about half of its points change."""
    torch.manual_seed(seed)
    config = configured(MixVoxelsConfig, SMALL | (changes or {}))
    backend = MixVoxelsBackend(config, scene_geometry(**geometry), Execution())
    with torch.no_grad():
        for parameter in backend.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        backend.variation.bias.fill_(0.0)
    return backend


def moments(count: int = 40, length: int = 3) -> torch.Tensor:
    """The same moments for each ray, float64 [count, length]."""
    return torch.linspace(0.1, 0.9, length, dtype=torch.float64).expand(count, -1).clone()
