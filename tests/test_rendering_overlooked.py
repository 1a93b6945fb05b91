"""Fields hold nothing where too few cameras look, and are elsewhere as they were."""

from dataclasses import replace

import pytest
import torch
from kplanes_fields import SIZES
from mixvoxels_fields import SMALL

from syncnerf.backend import Backend, Execution
from syncnerf.option import configured
from syncnerf.questions import RayQuestion
from syncnerf.scene.rays import Rays
from syncnerf.testing.samples import scene_geometry
from syncnerf_kplanes.spec import SPEC as KPLANES
from syncnerf_kplanes.spec import KPlanesConfig
from syncnerf_mixvoxels.spec import SPEC as MIXVOXELS
from syncnerf_mixvoxels.spec import MixVoxelsConfig

HASH = {"hash_levels": 2, "hash_table": 8, "hash_coarsest": 4, "hash_finest": 8, "proposal_levels": 2}
FIELDS = {
    "planes": (KPLANES, KPlanesConfig, SIZES | {"sampler": "proposal"}),
    "occupancy": (KPLANES, KPlanesConfig, SIZES | {"sampler": "occupancy"}),
    "hash": (KPLANES, KPlanesConfig, SIZES | HASH | {"field": "hash", "sampler": "proposal"}),
    "mixvoxels": (MIXVOXELS, MixVoxelsConfig, SMALL),
}
CELLS = torch.zeros(4, 4, 4, dtype=torch.bool)
CELLS[2:] = True
"""The half of the box where x is positive."""


def fields(name: str, contraction: bool) -> tuple[Backend, Backend]:
    """The same field twice: of a scene whose cells are all looked at, and of one with :data:`CELLS` overlooked."""
    spec, kind, options = FIELDS[name]
    built = []
    for cells in (None, CELLS):
        torch.manual_seed(0)
        geometry = replace(scene_geometry(background=None, contraction=contraction), overlooked=cells)
        built.append(spec.build(configured(kind, options | {"initial_depth": 3.0}), geometry, Execution()).eval())
    return built[0], built[1]


def along_y(backend: Backend, x: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Colours and opacities of five rays along y through the box, at a share ``x`` of its width from its middle."""
    low, high = backend.geometry.bounds
    centre, half = 0.5 * (low + high), 0.5 * (high - low)
    starts = torch.tensor([[x, -1.5, height] for height in (-0.4, -0.2, 0.0, 0.2, 0.4)])
    origins = centre + half * starts
    ones = torch.ones(5)
    rays = Rays(origins, torch.eye(3)[1].expand(5, 3), 0.6 * half[1] * ones, 2.4 * half[1] * ones)
    with torch.no_grad():
        found = backend(RayQuestion(rays, torch.zeros(5, dtype=torch.float64)))
    return found.rgb, found.accumulation


# Occupied cells cover a box: they know no contracted space beyond it.
@pytest.mark.parametrize(
    ("name", "contraction"),
    [(name, contraction) for name in FIELDS for contraction in (False, True) if name != "occupancy" or not contraction],
)
def test_nothing_is_where_too_few_cameras_look(name, contraction):
    every, some = fields(name, contraction)
    for seen, hidden in zip(along_y(every, -0.5), along_y(some, -0.5), strict=True):
        torch.testing.assert_close(seen, hidden)
    assert (along_y(every, 0.5)[1] > 0.1).all()
    assert (along_y(some, 0.5)[1] == 0.0).all()


@pytest.mark.parametrize("name", FIELDS)
def test_checkpoints_know_nothing_of_it(name):
    every, some = fields(name, contraction=False)
    assert every.state_dict().keys() == some.state_dict().keys()
    some.load_state_dict(every.state_dict())
