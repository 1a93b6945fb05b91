"""Reckoning the clock: the best of what was known and of what the field says, and never worse for a poor field."""

import numpy as np
import pytest
import torch
from wave_backend import WaveBackend, clock_of, wave_scene

from syncnerf.clock import Clock, ClockSpan
from syncnerf.clock_prior import ClockStart
from syncnerf.config import OffsetsConfig
from syncnerf.reckoning import SHARES, Evidence, Reckoner, combine, excess_variance
from syncnerf.synced import SyncedBackend

PLANTED = [0.31, 0.0, -0.17, 0.42, 0.08]
"""Seconds; camera 0 is the test view, camera 1 the reference."""
CPU = torch.device("cpu")


def clock_with(offsets: list[float], covariance: torch.Tensor, rates: bool = False, reference: int = 0) -> Clock:
    last = torch.full((len(offsets),), 2.0, dtype=torch.float64)
    start = ClockStart(torch.tensor(offsets, dtype=torch.float64), covariance=covariance.double())
    config = OffsetsConfig(offset_rates="learn" if rates else "off")
    return Clock(config, ClockSpan(torch.zeros_like(last), last, 0.1), reference, 100, start)


def random_covariance(count: int, generator: np.random.Generator, scale: float) -> np.ndarray:
    root = generator.normal(size=(count, count))
    return scale**2 * (root @ root.T / count + 0.2 * np.eye(count))


@pytest.mark.parametrize("seed", range(4))
def test_it_is_generalised_least_squares(seed):
    """Against numpy: the prior's common shift is an unknown of its own with no information."""
    generator = np.random.default_rng(seed)
    count = 6
    prior, own = random_covariance(count, generator, 0.02), 0.01 * generator.uniform(0.5, 2.0, count)
    known, told = generator.normal(0, 0.3, count), generator.normal(0, 0.3, count)
    known -= known[0]
    clock = clock_with(known.tolist(), torch.from_numpy(prior))
    # So consistent with the prior that nothing is widened.
    told = known + 0.37 + 0.1 * own * generator.normal(size=count)
    evidence = Evidence(torch.from_numpy(told)[:, None], torch.from_numpy(own**2)[:, None, None])
    assert excess_variance(clock, evidence) == 0.0
    values, covariance = combine(clock, evidence)
    # Unknowns: the shifts and the prior's zero. Rows: the field's shifts, and the prior's, each whitened.
    design = np.block([[np.eye(count), np.zeros((count, 1))], [np.eye(count), np.ones((count, 1))]])
    inverse = np.linalg.inv(np.block([[np.diag(own**2), np.zeros((count, count))], [np.zeros((count, count)), prior]]))
    normal = design.T @ inverse @ design
    expected = np.linalg.solve(normal, design.T @ inverse @ np.concatenate([told, known]))
    np.testing.assert_allclose(values[:, 0].numpy(), expected[:count], atol=1e-7)
    inverse = np.linalg.inv(normal)[:count, :count]
    np.testing.assert_allclose(covariance[:, 0, :, 0].numpy(), inverse, rtol=1e-4, atol=1e-9)


def test_evidence_that_contradicts_its_own_errors_is_widened_to_what_it_is_worth():
    """Monte Carlo: the field claims 0.001 s and is 0.05 s off; what was known to 0.01 s must not suffer."""
    generator, count = np.random.default_rng(0), 20
    better, before, after, claimed = [], [], [], []
    for _ in range(60):
        truth = generator.normal(0, 0.5, count)
        truth -= truth[0]
        known, told = truth + generator.normal(0, 0.01, count), truth + generator.normal(0, 0.05, count)
        clock = clock_with(known.tolist(), 1e-4 * torch.eye(count))
        evidence = Evidence(torch.from_numpy(told)[:, None], torch.full((count, 1, 1), 1e-6, dtype=torch.float64))
        values, covariance = combine(clock, evidence)
        before.append(np.std(known - truth))
        after.append(np.std(values[:, 0].numpy() - truth))
        better.append(after[-1] <= 1.05 * before[-1])
        centred = torch.eye(count, dtype=torch.float64) - 1 / count
        claimed.append((centred @ covariance[:, 0, :, 0] @ centred).diagonal().mean().item() ** 0.5)
    assert np.mean(after) < np.mean(before)
    assert np.mean(better) > 0.9
    assert np.mean(claimed) == pytest.approx(np.mean(after), rel=0.25)


def test_cameras_that_neither_tells_stay_where_they_are():
    covariance = 1e-4 * torch.eye(4).double()
    covariance[3, 3] = torch.nan
    clock = clock_with([0.0, 0.2, 0.4, torch.nan], covariance)
    clock.settle(clock.middle_values() + torch.tensor([0.0, 0.0, 0.0, 0.7]).double()[:, None], clock.covariance.clone())
    nothing = Evidence(clock.middle_values(), torch.full((4, 1, 1), torch.inf, dtype=torch.float64))
    values, _ = combine(clock, nothing)
    torch.testing.assert_close(values[:, 0], torch.tensor([0.0, 0.2, 0.4, 0.7]).double(), atol=1e-5, rtol=0)


def reckoned(tmp_path, errors: float, gain: float = 1.0, **settings) -> tuple[SyncedBackend, Reckoner]:
    """The waves, started as far from the truth as the errors say."""
    scene = wave_scene(tmp_path, PLANTED, frame_count=30, side=16)
    wrong = np.array(PLANTED) + errors * np.array([0.0, 0.0, 1.2, -0.8, 0.5])
    clock = clock_of(scene, OffsetsConfig(**settings), 100, wrong.tolist(), errors)
    synced = SyncedBackend(clock, WaveBackend(clock.range))
    with torch.no_grad():
        synced.backend.gain.fill_(gain)
    return synced, Reckoner(synced, scene, 100, CPU)


def test_a_field_that_is_right_finds_the_truth(tmp_path):
    synced, reckoner = reckoned(tmp_path, 0.05)
    synced.backend.clock.data.fill_(0.03)  # the field's own time is not the scene's
    for done in range(1, 101):
        assert reckoner(done) == (done in {round(100 * share) for share in SHARES} | {100})
    found = synced.clock.offsets().detach()
    assert found[1].item() == 0.0
    torch.testing.assert_close(found[2:], torch.tensor(PLANTED[2:]).double(), atol=1e-3, rtol=0)
    assert synced.clock.stderr()[2:].max() < 2e-3
    synced.clock.before_step(50)
    assert not synced.clock.moving, "no gradient moves what is reckoned"


def test_a_field_that_explains_nothing_moves_nothing(tmp_path):
    synced, reckoner = reckoned(tmp_path, 0.05, gain=-1.0)
    before = synced.clock.offsets().detach().clone()
    reckoner(100)
    torch.testing.assert_close(synced.clock.offsets().detach(), before, atol=1e-6, rtol=0)
    # Relative to the reference, which is no better known itself.
    assert synced.clock.stderr()[2].item() == pytest.approx(0.05 * 2**0.5, rel=1e-4)


def test_rates_are_reckoned_too(tmp_path):
    synced, reckoner = reckoned(tmp_path, 0.01, offset_rates="learn")
    reckoner(100)
    assert synced.clock.rates().detach().abs()[1:].max() < 1e-3
    torch.testing.assert_close(
        synced.clock.offsets().detach()[2:], torch.tensor(PLANTED[2:]).double(), atol=2e-3, rtol=0
    )


def test_what_was_learned_from_zero_gets_its_errors_and_stays(tmp_path):
    scene = wave_scene(tmp_path, PLANTED, frame_count=30, side=16, noise=0.1)
    clock = clock_of(scene, OffsetsConfig(), 100)
    with torch.no_grad():
        clock.shifts.copy_(torch.tensor(PLANTED))
    synced = SyncedBackend(clock, WaveBackend(clock.range))
    reckoner = Reckoner(synced, scene, 100, CPU)
    before = clock.offsets().detach().clone()
    assert clock.stderr()[2:].isnan().all()
    assert not reckoner(70)
    assert not reckoner(100)
    assert torch.equal(clock.offsets().detach(), before)
    assert ((clock.stderr()[2:] > 0) & (clock.stderr()[2:] < 0.02)).all()


def test_moving_the_clock_leaves_the_fields_time_where_it_is():
    clock = clock_with([0.0, 0.2, 0.4], 1e-4 * torch.eye(3), rates=True, reference=1)
    with torch.no_grad():
        clock.shifts += 0.3
        clock.skews += 0.02
    values = clock.middle_values()
    moved = values + torch.tensor([[0.01, 1e-3], [0.02, -1e-3], [0.0, 0.0]]).double()
    times = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64)
    own = [(1 + moved[c, 1] / 1.0) * (times[c] - 1.0) + 1.0 + moved[c, 0] for c in range(3)]
    expected = clock.moments(torch.stack(own)).detach()
    clock.settle(moved, 1e-4 * torch.eye(6).double().reshape(3, 2, 3, 2))
    # At own time 0: the middle's error, and the rate's over one second.
    torch.testing.assert_close(clock.stderr()[[0, 2]], torch.full((2,), (2e-4 + 2e-4) ** 0.5).double())
    torch.testing.assert_close(clock.rates_stderr()[[0, 2]], torch.full((2,), 2e-4**0.5).double())
    torch.testing.assert_close(clock(torch.arange(3), times).detach(), expected)
    assert clock.offsets()[1].item() == 0.0
    assert clock.rates()[1].item() == 0.0
