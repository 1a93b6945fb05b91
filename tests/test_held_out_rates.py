"""A test camera whose clock is known to run at another rate is sought by that, and keeps it."""

from dataclasses import replace

import pytest
import torch
from evaluation_fixtures import span_of
from held_out_fits import fit
from wave_backend import WaveBackend, wave_scene

from syncnerf.clock import Clock
from syncnerf.clock_prior import ClockStart
from syncnerf.config import OffsetsConfig
from syncnerf.scene import Scene
from syncnerf.synced import SyncedBackend

PLANTED = [0.63, 0.0, -0.2, 0.35]
"""Seconds; camera 0 is the test view."""


def clock_with_rate(scene: Scene, rate: float, learned: str, error: float) -> SyncedBackend:
    """The waves, and a test camera whose rate is known, and its offset too if that has an error."""
    rates = torch.tensor([rate, 0.0, 0.0, 0.0], dtype=torch.float64)
    covariance = error**2 * torch.eye(4, dtype=torch.float64) if error else None
    start = ClockStart(torch.tensor(PLANTED, dtype=torch.float64), rates, covariance, torch.full((4,), 0.02).double())
    clock = Clock(OffsetsConfig(offset_rates=learned), span_of(scene), scene.reference, 100, start, scene.test)
    return SyncedBackend(clock, WaveBackend(clock.range))


@pytest.fixture
def slow(tmp_path) -> Scene:
    """Filmed at 10 frames per second, the test camera said to be at 8: a fifth less time passes than it says."""
    scene = wave_scene(tmp_path, PLANTED)
    return replace(scene, cameras=(replace(scene.cameras[0], fps=8.0), *scene.cameras[1:]), _frames={})


@pytest.mark.parametrize(
    ("known", "learned", "error"), [(-0.2, "off", 0.01), (-0.2, "off", 0.0), (-0.2, "learn", 0.01), (-0.19, "learn", 0)]
)
def test_a_test_camera_is_sought_at_the_rate_that_is_known_of_it(slow, known, learned, error):
    synced = clock_with_rate(slow, known, learned, error)
    found = fit(slow, synced)
    assert not found.reason
    assert found.seconds == pytest.approx(PLANTED[0], abs=2e-3)
    assert found.rate == pytest.approx(-0.2, abs=2e-3)
    assert synced.clock.rates()[0].item() == pytest.approx(found.rate, abs=1e-12)


def test_a_known_rate_is_kept_where_colours_tell_nothing(slow):
    synced = clock_with_rate(slow, -0.2, "off", 0.01)
    synced.backend.gain.data.zero_()
    found = fit(slow, synced)
    assert (found.seconds, found.rate) == pytest.approx((PLANTED[0], -0.2), abs=1e-9)
