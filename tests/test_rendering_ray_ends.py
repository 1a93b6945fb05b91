"""Rays known to end at a distance: shares of windows, the likelihood in closed form, and fields that learn it."""

import math

import pytest
import torch

from syncnerf.backend import Execution
from syncnerf.batch import RayBatch
from syncnerf.installed import find_backend
from syncnerf.option import configured
from syncnerf.questions import RayQuestion, Wanted
from syncnerf.rendering.compositing import render_weights
from syncnerf.rendering.ray_ends import DOUBT, REACH, end_loss, end_shares, fading
from syncnerf.scene.rays import Rays
from syncnerf.testing.samples import scene_geometry, some_times


def test_shares_of_intervals_within_the_window():
    starts, stops = torch.tensor([0.0, 1.9, 2.0, 2.05, 3.0]), torch.tensor([1.0, 2.0, 2.02, 2.09, 4.0])
    first, last = 2 * (1 - REACH), 2 * (1 + REACH)
    expected = torch.tensor([0.0, (2.0 - first) / 0.1, 1.0, (last - 2.05) / 0.04, 0.0])
    torch.testing.assert_close(end_shares(starts, stops, torch.tensor(2.0)), expected)
    assert end_shares(starts, stops, torch.tensor(torch.nan)).tolist() == [0.0] * 5


def test_the_loss_is_the_likelihood_of_a_ray_in_closed_form():
    before, within = 0.3, 1.2
    starts = torch.tensor([[0.0, 1.94, 2.06]])
    stops = torch.tensor([[1.94, 2.06, 4.0]])
    densities = torch.tensor([[before / 1.94, within / 0.12, 5.0]]).requires_grad_()
    weights = render_weights(densities, stops - starts)
    loss = end_loss((weights * end_shares(starts, stops, torch.tensor([[2.0]]))).sum(dim=-1), torch.tensor([2.0]))
    ends = math.exp(-before) * (1 - math.exp(-within))
    assert loss.item() == pytest.approx(-math.log((1 - DOUBT) * ends + DOUBT), rel=1e-5)
    loss.backward()
    slopes = densities.grad[0].tolist()
    assert slopes[0] > 0 > slopes[1]
    assert slopes[2] == 0.0


def test_rays_of_which_nothing_is_known_count_as_none():
    some = torch.tensor([0.5, 0.2, 0.3, 0.0]).requires_grad_()
    loss = end_loss(some, torch.tensor([1.0, torch.nan, torch.nan, 2.0]))
    assert loss.item() == pytest.approx(-(math.log(0.99 * 0.5 + 0.01) + math.log(0.01)) / 4, rel=1e-5)
    loss.backward()
    assert some.grad.isfinite().all()
    assert some.grad[1:3].tolist() == [0.0, 0.0]


def test_what_is_known_beforehand_fades():
    assert [fading(step, 100) for step in (0, 50, 100, 100)] == pytest.approx([1.0, 0.5, 0.0, 0.0])


SMALL = {
    "kplanes": {"plane_resolution": 16, "plane_scales": "1", "plane_channels": 8, "proposal_samples": "32",
                "proposal_resolutions": "16", "field_samples": 24, "anneal_steps": 20, "proposal_warmup": 1000},
    "mixvoxels": {"grid_resolution": 16, "final_resolution": 16, "upsample_steps": "0", "ray_steps": 64,
                  "hidden_width": 16, "query_width": 16, "mask_start": 1000,
                  "mask_resolution": 16, "variation_steps": 1000, "density_ranks": "8,8,8", "appearance_ranks": "4,4,4",
                  "variation_ranks": "4,4,4"},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SMALL))
def test_fields_learn_where_rays_end_where_colours_do_not_tell(name):
    """All that is seen is grey: every distance explains it."""
    assert depth_error(name, 0.02) < 0.15
    assert depth_error(name, 0.0) > 0.5


def depth_error(name: str, weight: float) -> float:
    """Median distance of what is learned from a wall through the middle of the box, with a weight of the distances."""
    spec = find_backend(name)
    torch.manual_seed(0)
    geometry = scene_geometry(background=None, steps=100)
    backend = spec.build(configured(spec.config, {**SMALL[name], "distance_weight": weight}), geometry, Execution())
    places = torch.rand(2, 100, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    origins, wall = 2.0 * places[0] + torch.tensor([0.0, -4.0, 0.0]), 2.0 * places[1] * torch.tensor([1.0, 0.0, 1.0])
    truth, ones = (wall - origins).norm(dim=-1), torch.ones(100)
    rays, times = Rays(origins, (wall - origins) / truth[:, None], 2 * ones, 6 * ones), some_times(spec, 100)
    rgb = torch.full((*times.shape, 3), 0.6)
    told = torch.where(torch.arange(100) % 3 > 0, truth, torch.nan)
    statistics = {"mean": torch.full((100, 3), 0.6), "deviation": torch.zeros(100), "distance": told}
    batch = RayBatch(rays, torch.zeros(100, dtype=torch.int64), times, torch.zeros(100), rgb, statistics)
    optimizer = torch.optim.Adam(backend.param_groups(2e-2))
    generator = torch.Generator().manual_seed(0)
    backend.train()
    for step in range(40):
        backend.before_step(step)
        losses = backend.losses(backend(RayQuestion(rays, times), generator), batch, step)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    backend.eval()
    with torch.no_grad():
        depth = backend(RayQuestion(rays, times, Wanted(depth=True))).depth.reshape(100, -1)[:, 0]
    return float((depth - truth).abs().median())
