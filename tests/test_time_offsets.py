"""The shared offset embedding: planted offsets are found, the gauge holds, the schedule is the step's alone."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import torch
from wave_backend import WaveBackend, synced_waves, wave_colours, wave_scene

from syncnerf.config import OffsetsConfig, SamplingConfig, TrainingConfig
from syncnerf.sampling.rays import RaySampler
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend
from syncnerf.time_offsets import TimeOffsets, align_gauge
from syncnerf.training.trainer import Trainer

PLANTED = [0.31, 0.0, -0.17, 0.42, 0.08]
"""Seconds; camera 1 is the reference."""
LEARN = OffsetsConfig(offset_lr=0.01)


def make_trainer(scene: Scene, synced: SyncedBackend, folder, steps: int, **options) -> Trainer:
    folder.mkdir(parents=True, exist_ok=True)
    config = TrainingConfig(
        **{"steps": steps, "lr": 1e-3, "warmup_steps": 1, "log_every": 1000, "save_every": 0, "image_every": 0}
        | options
    )
    sampler = RaySampler(scene, SamplingConfig(batch_size=256))
    device = torch.device("cpu")
    return Trainer(synced, sampler, config, folder, "waves", scene.names, scene.frame_interval, device)


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
    make_trainer(scene, synced, tmp_path / "run", 400).fit()
    found = synced.offsets.values().detach()
    assert found.dtype == torch.float64
    assert found[1].item() == 0.0
    reference = scipy_offset(scene, 1, 0.0)
    for camera in (2, 3, 4):
        expected = scipy_offset(scene, camera, PLANTED[camera]) - reference
        assert found[camera].item() == pytest.approx(expected, abs=1e-3)
        assert found[camera].item() == pytest.approx(PLANTED[camera], abs=3e-3)


def test_a_common_shift_cannot_be_observed(tmp_path):
    """A world that starts later is the same world: offsets from the reference and the loss come out alike."""
    results = []
    for shift in (0.0, 0.25):
        scene = wave_scene(tmp_path / str(shift), [value + shift for value in PLANTED])
        synced = synced_waves(scene, LEARN, steps=400, learn_clock=True)
        trainer = make_trainer(scene, synced, tmp_path / f"run{shift}", 400, lr=1e-2)
        trainer.fit()
        losses, _ = trainer.train_step()
        results.append((synced.offsets.values().detach(), losses["photometric"].item()))
    for values, loss in results:
        assert values[1].item() == 0.0
        torch.testing.assert_close(values[2:], torch.tensor(PLANTED[2:], dtype=torch.float64), atol=2e-3, rtol=0)
        assert loss < 1e-4


def test_starting_offsets_are_taken_relative_to_the_reference():
    starts = torch.tensor([0.2, 0.7, -0.1], dtype=torch.float64)
    offsets = TimeOffsets(OffsetsConfig(), 3, 1, 1.0, 10, starts)
    assert offsets.values().tolist() == pytest.approx([-0.5, 0.0, -0.8])
    assert offsets.values()[1].item() == 0.0
    assert starts.tolist() == [0.2, 0.7, -0.1]
    shifted = TimeOffsets(OffsetsConfig(), 3, 1, 1.0, 10, starts + 3.0)
    torch.testing.assert_close(shifted.values(), offsets.values())


def test_corrected_times_are_the_cameras_own_plus_their_offset():
    offsets = TimeOffsets(OffsetsConfig(), 3, 0, 1.0, 10, torch.tensor([0.0, 0.25, -0.5]).double())
    cameras, times = torch.tensor([2, 0, 1, 2]), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    assert offsets(cameras, times).tolist() == pytest.approx([-0.4, 0.2, 0.55, -0.1])
    series = times[:, None] + torch.tensor([0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(offsets(cameras, series)[:, 1], offsets(cameras, times) + 1.0)
    assert offsets(cameras, times).dtype == torch.float64


@pytest.mark.parametrize(("start", "freeze"), [(0.0, 1.0), (0.2, 0.5556), (0.5, 0.5), (0.0, 0.1)])
def test_start_and_freeze_are_functions_of_the_step(start, freeze):
    offsets = TimeOffsets(OffsetsConfig(offset_start=start, offset_freeze=freeze), 3, 0, 1.0, 90)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(0)).tolist()
    for step in order:
        offsets.before_step(step)
        assert offsets.shifts.requires_grad == (round(start * 90) <= step < round(freeze * 90))


def test_offsets_that_only_need_refining_have_a_start_of_their_own_and_keep_it():
    config, initial = OffsetsConfig(offset_start=0.1, offset_refine_start=0.5), torch.zeros(3)
    offsets, resumed = TimeOffsets(config, 3, 0, 1.0, 90, initial), TimeOffsets(config, 3, 0, 1.0, 90)
    later = TimeOffsets(OffsetsConfig(offset_start=0.6, offset_refine_start=0.5), 3, 0, 1.0, 90, initial)
    for step in (9, 44, 45, 53, 54):
        resumed.before_step(step)
        assert resumed.shifts.requires_grad, "without initial offsets the other start holds"
        later.before_step(step)
        assert later.shifts.requires_grad == (step >= 54)
    resumed.load_state_dict(offsets.state_dict())
    for item in (offsets, resumed):
        for step in (46, 9, 44, 45):
            item.before_step(step)
            assert item.shifts.requires_grad == (step >= 45)


def test_offsets_rest_before_their_start_and_after_the_freeze(tmp_path):
    """Bit for bit: not even Adam's momentum may carry them on."""
    scene = wave_scene(tmp_path, PLANTED)
    synced = synced_waves(scene, OffsetsConfig(offset_lr=0.01, offset_start=0.25, offset_freeze=0.75), steps=40)
    trainer = make_trainer(scene, synced, tmp_path / "run", 40)
    seen = []
    for _ in range(40):
        trainer.train_step()
        seen.append(synced.offsets.values().detach().clone())
    assert all((values == 0).all() for values in seen[:10])
    for earlier, later in itertools.pairwise(seen[9:30]):
        assert not torch.equal(earlier, later)
    assert all(torch.equal(values, seen[29]) for values in seen[30:])


def test_mode_off_is_bit_identical_to_training_without_offsets(tmp_path):
    """Against a training loop that has never heard of offsets."""
    scene = wave_scene(tmp_path, PLANTED)
    synced = synced_waves(scene, OffsetsConfig(offset_mode="off"))
    make_trainer(scene, synced, tmp_path / "run", 30, lr_schedule="constant").fit()
    assert list(synced.offsets.parameters()) == []
    plain, sampler = WaveBackend(), RaySampler(scene, SamplingConfig(batch_size=256))
    optimizer = torch.optim.Adam([plain.gain, plain.clock], lr=1e-3, eps=1e-15)
    generator = torch.Generator().manual_seed(0)
    for step in range(30):
        batch = sampler.draw(generator, step)
        optimizer.zero_grad()
        (plain.render(batch.rays, batch.frame_times).rgb - batch.rgb).square().mean().backward()
        optimizer.step()
    assert (plain.gain != 1.0).all()
    assert torch.equal(synced.backend.gain, plain.gain)
    batch = sampler.draw(generator)
    through = synced.render_batch(batch).rgb
    assert torch.equal(through, plain.render(batch.rays, batch.frame_times).rgb)
    assert synced.offsets.values().tolist() == [0.0] * 5


def test_cameras_that_are_not_trained_keep_their_start(tmp_path):
    scene = wave_scene(tmp_path, PLANTED)
    synced = synced_waves(scene, LEARN, steps=30)
    make_trainer(scene, synced, tmp_path / "run", 30).fit()
    assert synced.offsets.shifts[0].item() == 0.0
    assert (synced.offsets.shifts[2:] != 0.0).all()


def test_penalty_is_the_mean_size_and_pulls_to_zero():
    offsets = TimeOffsets(OffsetsConfig(offset_l1=0.5), 3, 0, 1.0, 10, torch.tensor([0.0, 0.3, -0.6]).double())
    loss = offsets.penalties()["offset_l1"]
    assert loss.item() == pytest.approx(0.5 * 0.9 / 3)
    loss.backward()
    assert offsets.shifts.grad[1] > 0 > offsets.shifts.grad[2]
    assert TimeOffsets(OffsetsConfig(), 3, 0, 1.0, 10).penalties() == {}


def test_gradient_statistics_tell_agreement_from_noise():
    offsets = TimeOffsets(OffsetsConfig(), 3, 0, 1.0, 10)
    generator = torch.Generator().manual_seed(0)
    for _ in range(500):
        offsets.shifts.grad = torch.stack(
            [torch.zeros(()), torch.tensor(2.0), torch.randn((), generator=generator)]
        ).double()
        offsets.after_backward()
    (_, (mean, agreement), (_, noise)) = list(offsets.gradient_signal())
    assert mean == pytest.approx(2.0, rel=1e-3)
    assert agreement == pytest.approx(1.0, rel=1e-2)
    assert abs(noise) < 0.5


def test_reference_camera_cannot_be_set():
    offsets = TimeOffsets(OffsetsConfig(), 3, 1, 1.0, 10)
    offsets.set_camera(2, 0.125)
    assert offsets.values().tolist() == [0.0, 0.0, 0.125]
    with pytest.raises(ValueError, match="reference"):
        offsets.set_camera(1, 0.5)


def test_gauge_alignment_subtracts_the_median_difference():
    generator = np.random.default_rng(0)
    for count in (3, 4, 9):
        truth, errors = generator.normal(size=count), generator.normal(size=count)
        expected = errors - np.median(errors)
        found = align_gauge(torch.from_numpy(truth + errors + 5.0), torch.from_numpy(truth))
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    unknown = align_gauge(torch.tensor([1.0, torch.nan, 3.0, 2.0]), torch.zeros(4))
    assert unknown.isnan().tolist() == [False, True, False, False]
    assert unknown[[0, 2, 3]].tolist() == [-1.0, 1.0, 0.0]
