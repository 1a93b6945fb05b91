"""How the loss bends by the cameras' clocks, against second differences of it."""

import pytest
import torch
from wave_backend import WaveBackend, WaveViews, clock_of, wave_scene

from syncnerf.config import OffsetsConfig
from syncnerf.loss_curvature import loss_curvatures
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.ray_batches import RayBatches
from syncnerf.sampling.view_batches import ViewBatches
from syncnerf.synced import SyncedBackend

PLANTED = [0.31, 0.0, -0.17, 0.42, 0.08]
"""Seconds; camera 0 is the test view, camera 1 the reference."""


@pytest.mark.parametrize(("field", "supply"), [(WaveBackend, RayBatches), (WaveViews, ViewBatches)])
@pytest.mark.parametrize("power", [2, 4])
def test_curvatures_of_the_loss_are_second_differences(tmp_path, field, supply, power):
    """Of whatever loss there is, beside the truth, where it is not one that Gauss-Newton's curvature tells."""
    scene = wave_scene(tmp_path, PLANTED, frame_count=30, side=16)
    clock = clock_of(scene, OffsetsConfig(), 100, PLANTED, 0.01)
    synced = SyncedBackend(clock, field(clock.range))
    with torch.no_grad():
        clock.shifts.add_(0.1)
    synced.backend.losses = lambda shown, batch, step: {"photometric": (shown.rgb - batch.rgb).abs().pow(power).mean()}
    batch = supply(scene, SamplingConfig(batch_size=4000)).draw(torch.Generator().manual_seed(0), 0)
    curvatures = loss_curvatures(synced, [batch], 0, 0.02)

    def loss(camera: int, shift: float) -> float:
        with torch.no_grad():
            clock.shifts[camera] += shift
            value = synced.losses(synced.render_batch(batch), batch, 0)["photometric"].double().item()
            clock.shifts[camera] -= shift
        return value

    step, shown = 0.02, set(batch.cameras.tolist())
    for camera in scene.train:
        second = (loss(camera, step) - 2 * loss(camera, 0.0) + loss(camera, -step)) / step**2
        assert curvatures[camera].isnan() if camera not in shown else curvatures[camera].item() == pytest.approx(
            second, rel=0.05
        )
