"""The clock as training learns it: planted offsets and readout times are found, and what is held does not move."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import torch
from wave_backend import WaveBackend, synced_waves, trainer_of, wave_colours, wave_scene

from syncnerf.config import OffsetsConfig
from syncnerf.questions import RayQuestion
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.ray_batches import RayBatches
from syncnerf.scene.scene import Scene

PLANTED = [0.31, 0.0, -0.17, 0.42, 0.08]
"""Seconds; camera 1 is the reference."""
LEARN = OffsetsConfig(offset_lr=0.01)


def scipy_offset(scene: Scene, camera: int, start: float) -> float:
    """The least-squares offset of one camera over all of its pixels, found without any of the package's code."""
    directions = scene.cameras[camera].all_rays(2.0, 6.0).directions.double().numpy()
    frames = np.asarray(scene.frames(camera)).reshape(scene.cameras[camera].frame_count, -1, 3) / 255.0
    times = np.repeat(np.arange(len(frames)) / scene.cameras[camera].fps, len(directions))
    everywhere = np.tile(directions, (len(frames), 1))

    def residuals(offset):
        return (wave_colours(everywhere, times + offset[0]) - frames.reshape(-1, 3)).ravel()

    return float(scipy.optimize.least_squares(residuals, [start]).x[0])


def test_planted_offsets_are_learned_and_are_scipys(tmp_path):
    """With noisy frames the learned offsets must be the least-squares ones, which differ a little from the truth.

    The reference is exact in the waves' own time here, so its frames must carry no noise's shift: both are compared
    relative to the reference camera.
    """
    scene = wave_scene(tmp_path, PLANTED, noise=0.05)
    synced = synced_waves(scene, LEARN, steps=400)
    trainer_of(scene, synced, tmp_path / "run", 400).fit()
    found = synced.clock.offsets().detach()
    assert found.dtype == torch.float64
    assert found[1].item() == 0.0
    reference = scipy_offset(scene, 1, 0.0)
    for camera in (2, 3, 4):
        expected = scipy_offset(scene, camera, PLANTED[camera]) - reference
        assert found[camera].item() == pytest.approx(expected, abs=1e-3)
        assert found[camera].item() == pytest.approx(PLANTED[camera], abs=3e-3)


def test_planted_readout_times_are_learned_beside_offsets(tmp_path):
    """From nothing, through the gradient alone, upside down as well."""
    planted = [0.0, 0.05, -0.04, 0.02, 0.06]
    scene = wave_scene(tmp_path, PLANTED, row_times=planted)
    synced = synced_waves(scene, replace(LEARN, rolling_shutter="learn"), steps=400)
    trainer_of(scene, synced, tmp_path / "run", 400).fit()
    found = synced.clock.row_times.detach()
    assert (found - torch.tensor(planted))[1:].abs().max() < 2e-3
    assert (synced.clock.offsets().detach() - torch.tensor(PLANTED))[1:].abs().max() < 3e-3


def test_a_common_shift_cannot_be_observed(tmp_path):
    """A world that starts later is the same world: offsets from the reference and the loss come out alike."""
    results = []
    for shift in (0.0, 0.25):
        scene = wave_scene(tmp_path / str(shift), [value + shift for value in PLANTED])
        synced = synced_waves(scene, LEARN, steps=400, learn_clock=True)
        trainer = trainer_of(scene, synced, tmp_path / f"run{shift}", 400, lr=1e-2)
        trainer.fit()
        losses, _ = trainer.train_step()
        results.append((synced.clock.offsets().detach(), losses["photometric"].item()))
    for values, loss in results:
        assert values[1].item() == 0.0
        torch.testing.assert_close(values[2:], torch.tensor(PLANTED[2:], dtype=torch.float64), atol=2e-3, rtol=0)
        assert loss < 1e-4


def test_offsets_rest_before_their_start_and_after_the_freeze(tmp_path):
    """Bit for bit: not even Adam's momentum may carry them on."""
    scene = wave_scene(tmp_path, PLANTED)
    synced = synced_waves(scene, OffsetsConfig(offset_lr=0.01, offset_start=0.25, offset_freeze=0.75), steps=40)
    trainer = trainer_of(scene, synced, tmp_path / "run", 40)
    seen = []
    for _ in range(40):
        trainer.train_step()
        seen.append(synced.clock.offsets().detach().clone())
    assert all((values == 0).all() for values in seen[:10])
    for earlier, later in itertools.pairwise(seen[9:30]):
        assert not torch.equal(earlier, later)
    assert all(torch.equal(values, seen[29]) for values in seen[30:])


def test_mode_off_is_bit_identical_to_training_without_offsets(tmp_path):
    """Against a training loop that has never heard of offsets."""
    scene = wave_scene(tmp_path, PLANTED)
    synced = synced_waves(scene, OffsetsConfig(offset_mode="off"))
    trainer_of(scene, synced, tmp_path / "run", 30, lr_schedule="constant").fit()
    assert list(synced.clock.parameters()) == []
    plain, batches = WaveBackend(synced.clock.range), RayBatches(scene, SamplingConfig(batch_size=256))
    optimizer = torch.optim.Adam([plain.gain, plain.clock], lr=1e-3, eps=1e-15)
    generator = torch.Generator().manual_seed(0)
    for step in range(30):
        batch = batches.draw(generator, step)
        optimizer.zero_grad()
        asked = RayQuestion(batch.rays, synced.clock.moments(batch.frame_times))
        (plain(asked).rgb - batch.rgb).square().mean().backward()
        optimizer.step()
    assert (plain.gain != 1.0).all()
    assert torch.equal(synced.backend.gain, plain.gain)
    batch = batches.draw(generator)
    through = synced.render_batch(batch).rgb
    assert torch.equal(through, plain(RayQuestion(batch.rays, synced.clock.moments(batch.frame_times))).rgb)
    assert synced.clock.offsets().tolist() == [0.0] * 5


def test_cameras_that_are_not_trained_stay_where_they_were_put(tmp_path):
    """Against the reference, whose own shift against the field's time is trained."""
    scene = wave_scene(tmp_path, PLANTED)
    synced = synced_waves(scene, LEARN, steps=30, learn_clock=True)
    synced.clock.set_camera(0, 0.125)
    trainer_of(scene, synced, tmp_path / "run", 30, lr=1e-2).fit()
    assert synced.clock.shifts[synced.clock.reference].item() != 0.0
    assert (synced.clock.offsets()[2:] != 0.0).all()
    assert synced.clock.offsets()[0].item() == pytest.approx(0.125, abs=1e-15)
    time = torch.tensor([0.5], dtype=torch.float64)
    shown = synced.clock(torch.tensor([0]), time)
    torch.testing.assert_close(shown, synced.clock.moments(time + 0.125))
