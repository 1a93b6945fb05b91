"""K-Planes small enough for any test, in a box that is known beforehand."""

import torch
from torch import Tensor

from syncnerf.backend import Backend, Execution
from syncnerf.option import configured
from syncnerf.questions import RayQuestion
from syncnerf.scene.geometry import SceneGeometry
from syncnerf.scene.rays import Rays
from syncnerf_kplanes.spec import SPEC, KPlanesConfig

SIZES = {
    "plane_resolution": 8, "plane_scales": "1,2", "plane_channels": 8, "time_resolution": 6, "hidden_width": 64,
    "basis_width": 16, "proposal_samples": "16", "proposal_resolutions": "8", "field_samples": 8,
    "occupancy_resolution": 12, "occupancy_steps": 24, "colour_threshold": 0.0,
}  # fmt: skip


def build(engine: str = "torch", **options) -> Backend:
    """A small K-Planes field in a box of white; some of its options changed."""
    torch.manual_seed(0)
    bounds, white = torch.tensor([[-1.3] * 3, [1.3] * 3]), (1.0, 1.0, 1.0)
    geometry = SceneGeometry(bounds, 2.0, 6.0, 12, 100, background=white)
    return SPEC.build(configured(KPlanesConfig, SIZES | options), geometry, Execution(engine))


def assert_time_slopes(backend: Backend, rays: Rays, times: Tensor, upstream: Tensor, step: float) -> None:
    """The gradient by each ray's time is that of finite differences, to three parts in a hundred.

    Args:
        backend: whose samples stay where they are.
        rays: N rays.
        times: of each, a leaf, float64, shape [N].
        upstream: weights of their colours, shape [N, 3].
        step: by which times are moved, either way.
    """
    (backend(RayQuestion(rays, times)).rgb * upstream).sum().backward()
    with torch.no_grad():
        ahead, behind = (backend(RayQuestion(rays, times + sign * step)).rgb.double() for sign in (1, -1))
    slopes = ((ahead - behind) * upstream).sum(dim=-1) / (2 * step)
    assert slopes.abs().max() > 1e-2
    error = (times.grad - slopes).norm() / slopes.norm()
    assert error < 0.03, error
