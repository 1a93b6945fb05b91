"""What an unfinished field says of clocks: how far it is off where they are known, and when it says nothing."""

import numpy as np
import pytest
import torch
from wave_backend import synced_waves, wave_scene

from syncnerf.config import HeldOutConfig
from syncnerf.held_out import HeldOutOptimizer
from syncnerf.known_clocks import known_clock_error


def fit_error(scene, synced, **options) -> float:
    """Standard error of the test camera's fit, seconds."""
    size = scene.cameras[0].intrinsics
    everywhere = torch.ones(size.height, size.width, dtype=torch.bool)
    return HeldOutOptimizer(synced, scene, HeldOutConfig(**options)).fit(0, everywhere).stderr


def test_what_the_field_has_wrong_of_clocks_that_it_knows_counts_in_the_error(tmp_path):
    """Trained cameras of which two are off by 0.03 s: the waves' pull at them is exactly that."""
    scene = wave_scene(tmp_path, [0.63, 0.0, -0.2, 0.35])
    right, wrong = (synced_waves(scene, initial=[0.0, 0.0, -0.2 + off, 0.35 - off]) for off in (0.0, 0.03))
    assert known_clock_error(right, scene, scene.train, 1024, 0) < 3e-4
    found = known_clock_error(wrong, scene, scene.train, 1024, 0)
    assert found == pytest.approx(0.03 * (2 / 3) ** 0.5, rel=0.05)
    assert fit_error(scene, wrong) == pytest.approx(np.hypot(found, fit_error(scene, right)), rel=0.05)
    assert fit_error(scene, wrong, test_method="adam", test_adam_steps=5) > found
    with torch.no_grad():
        right.backend.gain.fill_(0.0)
    blind = known_clock_error(right, scene, scene.train, 1024, 0)
    assert blind == pytest.approx(0.1), "where nothing is explained, a frame"


@pytest.mark.parametrize(("gain", "told"), [(0.02, False), (0.4, True)])
def test_a_field_must_explain_a_tenth_of_what_changes(tmp_path, gain, told):
    """Waves so faint explain 4% of it, or over half."""
    scene = wave_scene(tmp_path, [0.63, 0.0, -0.2, 0.35])
    faint = synced_waves(scene, initial=[0.0, 0.0, -0.2, 0.35])
    with torch.no_grad():
        faint.backend.gain.fill_(gain)
    assert np.isfinite(fit_error(scene, faint)) == told
