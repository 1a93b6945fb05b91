"""K-Planes small enough for any test, in a box that is known beforehand."""

import torch

from syncnerf.backend import Backend, Execution
from syncnerf.option import configured
from syncnerf.scene.geometry import SceneGeometry
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
