"""The Gaussians backend, small and with motion, and what it is asked in tests."""

from dataclasses import replace

import torch

from syncnerf.questions import ViewQuestion
from syncnerf.scene.lens import Lens
from syncnerf.testing.samples import scene_geometry, some_views
from syncnerf_gaussians.options import CloudConfig, ScaffoldConfig
from syncnerf_gaussians.spec import SPEC, GaussiansConfig


def flying_gaussians(background, motion: str = "scaffold"):
    """Large Gaussians whose nodes fly, or that fly themselves."""
    torch.manual_seed(0)
    config = GaussiansConfig(motion, CloudConfig(60, start_size=0.6), ScaffoldConfig(nodes=8, moments=3, knot_levels=2))
    built = SPEC.build(config, scene_geometry(background=background))
    with torch.no_grad():
        built.cloud.colours.normal_()
        if motion == "free":
            built.cloud.lives.velocities.normal_()
        else:
            built.scaffold.places[0].add_(0.2 * torch.randn_like(built.scaffold.places[0]))
        if background is None:
            built.backdrop.coefficients.normal_()
    return built


def through_lens(lens: Lens) -> ViewQuestion:
    """Three cameras, two of them at one time; one has a rolling shutter."""
    times = torch.tensor([-0.3, 0.2, 0.2], dtype=torch.float64).requires_grad_()
    readouts = torch.tensor([0.0, 0.0, 0.2], dtype=torch.float64)
    return ViewQuestion(replace(some_views(), lens=lens), times, readouts)
