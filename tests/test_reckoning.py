"""Reckoning the clock: training finds the best of what was known and of what the field says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from wave_backend import FREQUENCIES, WaveBackend, WaveViews, clock_of, trainer_of, wave_scene

from syncnerf.clock_evidence import FRAMES, trained_clock
from syncnerf.clock_weighing import Evidence, joint_covariance
from syncnerf.config import OffsetsConfig
from syncnerf.modes import frozen
from syncnerf.reckoning import ADAPTED, IMPROVEMENT, PIXELS, PIXELS_OF_VIEWS, SHARES, Reckoner
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.ray_batches import RayBatches
from syncnerf.sampling.view_batches import ViewBatches
from syncnerf.synced import SyncedBackend
from syncnerf.training.plan import Callbacks

PLANTED = [0.31, 0.0, -0.17, 0.42, 0.08]
"""Seconds; camera 0 is the test view, camera 1 the reference."""
STEPS = 300


def test_batches_of_few_pictures_weigh_the_same_as_rays_of_all_cameras(tmp_path):
    """A picture is of one camera alone; over many of them the loss bends as over rays."""
    scene = wave_scene(tmp_path, PLANTED, frame_count=30, side=16, noise=0.1)
    pulls = []
    for field, supply in ((WaveBackend, RayBatches), (WaveViews, ViewBatches)):
        clock = clock_of(scene, OffsetsConfig(), STEPS, PLANTED, 0.05)
        synced = SyncedBackend(clock, field(clock.range))
        reckoner = Reckoner(synced, scene, supply(scene, SamplingConfig(batch_size=256)), STEPS)
        evidence = Evidence(torch.tensor(PLANTED).double()[:, None], torch.full((5, 1, 1), 1e-6).double())
        pulls.append(reckoner._pull(evidence, 10))
    assert pulls[0] > 0.0
    assert pulls[1] == pytest.approx(pulls[0], rel=0.4)


def test_the_field_is_weighed_as_it_will_be_at_the_end_and_by_all_its_frames(tmp_path, monkeypatch):
    """It is worth more the more is left to learn, and what some of its frames say less than what all do."""
    monkeypatch.setattr("syncnerf.reckoning.loss_curvatures", lambda *_: torch.ones(5, dtype=torch.float64))
    scene = wave_scene(tmp_path, PLANTED, frame_count=30, side=16)
    clock = clock_of(scene, OffsetsConfig(), STEPS, PLANTED, 0.05)
    synced = SyncedBackend(clock, WaveBackend(clock.range))
    reckoner = Reckoner(synced, scene, RayBatches(scene, SamplingConfig(batch_size=256)), STEPS)
    values, covariances = torch.tensor(PLANTED).double()[:, None], torch.full((5, 1, 1), 1e-6).double()
    whole = Evidence(values, covariances)
    half = Evidence(values, covariances, shares=torch.full((5,), 0.5).double())
    at_end = reckoner._pull(whole, STEPS)
    assert reckoner._pull(whole, STEPS // 2) == pytest.approx(at_end * np.exp(-0.5 * IMPROVEMENT))
    assert reckoner._pull(half, STEPS) == pytest.approx(0.5 * at_end)
    expected = joint_covariance(clock, Evidence(values, 0.5 * covariances))
    torch.testing.assert_close(joint_covariance(clock, half), expected)
    rolled = replace(half, readout_variances=torch.full((5,), 2e-6).double())
    torch.testing.assert_close(rolled.readout_stderr, torch.full((5,), 1e-3).double())
    assert half.readout_stderr is None


def test_the_fewer_cameras_the_less_a_field_knows_of_its_own(tmp_path):
    """Four cameras' clocks are as unsure at the end as a third of a dozen's are, doubts left out."""
    scene = wave_scene(tmp_path, PLANTED, frame_count=30, side=16, noise=0.05)
    clock = clock_of(scene, OffsetsConfig(), STEPS, PLANTED, 1.0)
    synced = SyncedBackend(clock, WaveBackend(clock.range))
    reckoner = Reckoner(synced, scene, RayBatches(scene, SamplingConfig(batch_size=256)), STEPS)
    evidence = reckoner._evidence(STEPS)
    reckoner(STEPS)
    covariances = 9.0 * evidence.covariances[1:, 0, 0] * evidence.shares[1:]
    expected = (covariances[1:] + covariances[0]).sqrt()
    torch.testing.assert_close(clock.stderr()[2:].cpu(), expected, rtol=0.01, atol=0)


def test_learned_readout_times_have_errors_where_offsets_are_believed(tmp_path):
    """As of wired cameras: their clocks are known, what they read out one row after another is not."""
    planted = [0.0, 0.05, -0.04, 0.02, 0.06]
    scene = wave_scene(tmp_path, [0.0] * 5, frame_count=30, side=16, row_times=planted, noise=0.05)
    clock = clock_of(scene, OffsetsConfig(offset_mode="off", rolling_shutter="learn"), STEPS)
    synced = SyncedBackend(clock, WaveBackend(clock.range))
    with torch.no_grad():
        clock.row_times.copy_(torch.tensor(planted))
    reckoner = Reckoner(synced, scene, RayBatches(scene, SamplingConfig(batch_size=256)), STEPS)
    assert not reckoner(STEPS // 2)
    assert reckoner(STEPS)
    assert clock.readout_stderr[1:].max() < 0.01
    assert clock.readout_stderr[0].isinf()
    assert clock.stderr()[2:].isnan().all()
    still = clock_of(scene, OffsetsConfig(offset_mode="off"), STEPS)
    assert not Reckoner(SyncedBackend(still, WaveBackend(still.range)), scene, reckoner.batches, STEPS)(STEPS)


@pytest.mark.parametrize(("field", "share"), [(WaveBackend, 1.0), (WaveViews, FRAMES / 30)])
def test_a_trained_clock_is_told_from_some_frames_where_these_are_drawn_whole(tmp_path, field, share):
    """A camera that is off by 0.01 s is put where it belongs, whatever the backend answers."""
    scene = wave_scene(tmp_path, PLANTED, frame_count=30, side=16)
    clock = clock_of(scene, OffsetsConfig(), STEPS, PLANTED, 0.05)
    synced = SyncedBackend(clock, field(clock.range))
    with torch.no_grad():
        clock.shifts[3] += 0.01
    with frozen(synced):
        start, fit, looked_at = trained_clock(synced, scene, 3, 4096, 0, ("shift",))
    assert looked_at == share
    assert float(start[0] - fit.unknowns[0]) == pytest.approx(0.01, abs=1e-3)


@pytest.mark.parametrize("field", [WaveBackend, WaveViews])
def test_errors_in_long_videos_are_those_of_all_that_was_trained_on(tmp_path, field):
    """Noise in every pixel of 600 frames: offset and rate are as sure as least squares over all of them is."""
    noise, side = 0.1, 16
    scene = wave_scene(tmp_path, PLANTED, frame_count=600, side=side, noise=noise)
    clock = clock_of(scene, OffsetsConfig(offset_rates="learn"), STEPS, PLANTED, 1.0)
    synced = SyncedBackend(clock, field(clock.range))
    evidence = Reckoner(synced, scene, RayBatches(scene, SamplingConfig(batch_size=256)), STEPS)._evidence(STEPS)
    stated = evidence.of_all_frames[1:].diagonal(dim1=1, dim2=2).sqrt() / ADAPTED
    # Of each pixel's three channels the slopes' squares are half the squares of 0.35 times the frequencies.
    told = 600 * side**2 * 0.35**2 * sum(frequency**2 for frequency in FREQUENCIES) / 2
    expected = noise / told**0.5 * torch.tensor([1.0, 3**0.5], dtype=torch.float64)
    # Pixels are drawn, some of them twice: so much is known of the rest by them.
    drawn = (PIXELS_OF_VIEWS if field is WaveViews else PIXELS) / FRAMES
    ratio = stated / expected / (1 + side**2 / drawn) ** 0.5
    assert ((ratio > 0.65) & (ratio < 1.5)).all()
    assert 0.85 < float(ratio.mean()) < 1.2


def test_clocks_that_an_unfinished_field_learned_from_nothing_are_doubted(tmp_path):
    """Not those that were known beforehand; by what the field leaves of the changes, reckoned from all pixels."""
    gain, side = 0.5, 16
    scene = wave_scene(tmp_path, PLANTED, frame_count=30, side=side)
    found, stated = [], []
    for errors in (0.05, 0.0):
        clock = clock_of(scene, OffsetsConfig(), STEPS, PLANTED, errors)
        synced = SyncedBackend(clock, WaveBackend(clock.range))
        with torch.no_grad():
            synced.backend.gain.fill_(gain)
        reckoner = Reckoner(synced, scene, RayBatches(scene, SamplingConfig(batch_size=256)), STEPS)
        found.append(reckoner._evidence(STEPS).doubts[1:].numpy())
        reckoner(STEPS)
        stated.append(clock.stderr()[2:].numpy())
    doubts = []
    for camera in (1, 2, 3, 4):
        frames = scene.frames(camera).astype(np.float64) / 255
        left = (gain - 1) * (frames - 0.5)
        slopes = np.sqrt(np.clip(0.35**2 - (frames - 0.5) ** 2, 0, None)) * gain * FREQUENCIES
        share = np.square(left).sum() / np.square(frames - frames.mean(0)).sum()
        doubts.append(share**2 * np.sqrt(np.square(left).sum() / np.square(slopes).sum()))
    assert (found[0] == 0).all()
    np.testing.assert_allclose(found[1], doubts, rtol=0.15)
    assert min(doubts) > 0.02
    assert (stated[1] > np.hypot(found[1][0], found[1][1:])).all()


def trained(tmp_path, wrong: list[float], errors: float, gain: float = 1.0, noise: float = 0.0, **settings):
    """The waves trained from a start with errors, their own weights held."""
    scene = wave_scene(tmp_path, PLANTED, frame_count=30, side=16, noise=noise)
    start = [planted + error for planted, error in zip(PLANTED, wrong, strict=True)]
    clock = clock_of(scene, OffsetsConfig(offset_refine_lr=0.06, **settings), STEPS, start, errors)
    synced = SyncedBackend(clock, WaveBackend(clock.range))
    with torch.no_grad():
        synced.backend.gain.fill_(gain)
    trainer = trainer_of(scene, synced, tmp_path / "run", STEPS, lr=1e-12)
    reckoner = Reckoner(synced, scene, RayBatches(scene, SamplingConfig(batch_size=256)), STEPS)
    trainer.callbacks = Callbacks(reckoner)
    return synced, trainer


def test_the_clock_rests_until_the_field_is_asked_and_then_finds_the_truth(tmp_path):
    synced, trainer = trained(tmp_path, [0.0, 0.0, 0.06, -0.04, 0.025], 0.05)
    start = synced.clock.offsets().detach().clone()
    for _ in range(round(SHARES[0] * STEPS)):
        trainer.train_step()
    assert torch.equal(synced.clock.offsets().detach(), start)
    trainer.fit()
    found = synced.clock.offsets().detach()
    assert found[1].item() == 0.0
    torch.testing.assert_close(found[2:], torch.tensor(PLANTED[2:]).double(), atol=1e-3, rtol=0)
    assert synced.clock.stderr()[2:].max() < 5e-3


def test_every_camera_that_the_field_contradicts_is_named(tmp_path, caplog):
    """A file that is sure of wrong offsets is believed, but not without a word on each of them, and on no other."""
    _, trainer = trained(tmp_path, [0.0, 0.0, 0.06, 0.0, -0.03], 1e-4, noise=0.05)
    trainer.fit()
    words = [record.message for record in caplog.records if "the field puts its offset" in record.message]
    assert [message[:5] for message in words] == ["cam02", "cam04"]
    assert all("run syncnerf sync again" in message for message in words)


def test_a_field_that_explains_nothing_moves_nothing(tmp_path):
    synced, trainer = trained(tmp_path, [0.0, 0.0, 0.06, -0.04, 0.025], 0.05, gain=-1.0)
    before = synced.clock.offsets().detach().clone()
    trainer.fit()
    assert torch.equal(synced.clock.offsets().detach(), before)
    # Relative to the reference, which is no better known itself.
    assert synced.clock.stderr()[2].item() == pytest.approx(0.05 * 2**0.5, rel=1e-4)


def test_what_was_known_well_is_not_given_up_for_a_field_that_errs(tmp_path):
    """The field's time is right for all but one camera's frames, which are noise's: sync knew it better."""
    exact, trainer = trained(tmp_path, [0.0] * 5, 0.0005, noise=0.3)
    trainer.fit()
    held = (exact.clock.offsets().detach()[2:] - torch.tensor(PLANTED[2:]).double()).abs().max()
    free, trainer = trained(tmp_path / "free", [0.0] * 5, 10.0, noise=0.3)
    trainer.fit()
    loose = (free.clock.offsets().detach()[2:] - torch.tensor(PLANTED[2:]).double()).abs().max()
    assert held < 0.0015 < loose


def test_a_run_goes_on_from_a_checkpoint_with_what_was_reckoned(tmp_path):
    synced, trainer = trained(tmp_path, [0.0, 0.0, 0.06, -0.04, 0.025], 0.05)
    for _ in range(round(SHARES[0] * STEPS) + 5):
        trainer.train_step()
    resumed = clock_of(wave_scene(tmp_path / "again", PLANTED, frame_count=30, side=16), OffsetsConfig(), STEPS)
    resumed.load_state_dict(synced.clock.state_dict())
    resumed.before_step(200)
    assert resumed.moving
    assert resumed.penalties()["offset_prior"].item() == synced.clock.penalties()["offset_prior"].item() > 0


def test_what_was_learned_from_zero_gets_its_errors_and_stays(tmp_path):
    scene = wave_scene(tmp_path, PLANTED, frame_count=30, side=16, noise=0.1)
    clock = clock_of(scene, OffsetsConfig(), 100)
    with torch.no_grad():
        clock.shifts.copy_(torch.tensor(PLANTED))
    synced = SyncedBackend(clock, WaveBackend(clock.range))
    reckoner = Reckoner(synced, scene, RayBatches(scene, SamplingConfig(batch_size=256)), 100)
    before = clock.offsets().detach().clone()
    assert clock.stderr()[2:].isnan().all()
    assert not reckoner(70)
    assert reckoner(100)
    assert torch.equal(clock.offsets().detach(), before)
    assert ((clock.stderr()[2:] > 0) & (clock.stderr()[2:] < 0.02)).all()
