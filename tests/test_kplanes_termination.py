"""Rays end where hardly any light comes from: fewer samples, the same picture."""

import pytest
import torch

from syncnerf.assembly import assemble
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.questions import RayQuestion


@pytest.mark.parametrize("sampler", ["occupancy", "proposal"])
def test_rays_that_end_early_give_the_same_picture_from_fewer_samples(tiny_arguments, monkeypatch, sampler):
    """Against the same field with gradients on, where no ray ends; solid, fog and empty space are all there."""
    config = parse([*tiny_arguments, f"--sampler={sampler}", "--occupancy-steps=64", "--field-samples=64"])
    job = Job.of(config)
    scene, synced = job.scene, assemble(job).eval()
    field, asked = synced.backend.field, []
    original = field.density

    def density(points, times, static, thinned):
        asked.append(len(points))
        values, geometry = original(points, times, static, thinned)
        return values * 0.0 + 60.0 * (points[:, 0] > 0.1) + 1.5 * (points[:, 2] > 0.0), geometry * 20.0

    monkeypatch.setattr(field, "density", density)
    rays = scene.cameras[1].all_rays(scene.near, scene.far)
    times = torch.full((len(rays),), 0.3, dtype=torch.float64)
    with torch.enable_grad():
        whole = synced.backend(RayQuestion(rays, synced.clock.moments(times)))
    everything, asked[:] = sum(asked), []
    with torch.no_grad():
        ended = synced.backend(RayQuestion(rays, synced.clock.moments(times)))
    assert 0 < sum(asked) < 0.8 * everything
    assert whole.accumulation.max() > 0.99
    assert (whole.rgb - ended.rgb).abs().max() < 1 / 255
    torch.testing.assert_close(ended.accumulation, whole.accumulation, rtol=0, atol=1e-3)
    torch.testing.assert_close(ended.depth, whole.depth, rtol=0, atol=1e-3 * scene.far)
    # Thin rays end nowhere: they are bit-near the same.
    thin = whole.accumulation < 0.9
    assert thin.any()
    torch.testing.assert_close(ended.rgb[thin], whole.rgb[thin], rtol=0, atol=1e-6)
