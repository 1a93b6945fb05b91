"""Fitting a test camera's offset of which something was known: both count, and the surer one more."""

import re
from dataclasses import replace

import pytest
import torch
from held_out_fits import fit, known_waves
from wave_backend import synced_waves, wave_scene

from syncnerf.evaluation.protocols import HOLDOUT
from syncnerf.offset_fit import OffsetFit, combined
from syncnerf.photometry import ClockFit

PLANTED = [0.63, 0.0, -0.2, 0.35]
"""Seconds; camera 0 is the test view, 6.3 frames late."""


@pytest.fixture
def scene(tmp_path):
    return wave_scene(tmp_path, PLANTED)


def test_an_offset_that_was_known_is_sought_around_that_alone_and_both_count(scene):
    found = fit(scene, known_waves(scene, [PLANTED[0] + 0.05, *PLANTED[1:]], 0.04))
    assert found.grid.tolist() == pytest.approx([PLANTED[0] + 0.05 + frames / 10 for frames in (-2, -1, 0, 1, 2)])
    assert found.seconds == pytest.approx(PLANTED[0], abs=3e-4)
    alone = fit(scene, synced_waves(scene, initial=[0.0, *PLANTED[1:]]))
    # As well known as the colours say: halfway between the two, with the error of a mean of two. (Against the
    # reference, whose own error counts.)
    known = PLANTED[0] + 2 * alone.stderr
    both = fit(scene, known_waves(scene, [known, *PLANTED[1:]], alone.stderr / 2**0.5))
    assert both.seconds == pytest.approx((alone.seconds + known) / 2, abs=0.3 * alone.stderr)
    assert both.stderr == pytest.approx(alone.stderr / 2**0.5, rel=0.2)


def test_a_contradiction_with_what_was_known_is_told(scene, caplog):
    found = fit(scene, known_waves(scene, [PLANTED[0] + 0.15, *PLANTED[1:]], 0.01))
    assert found.seconds == pytest.approx(PLANTED[0], abs=3e-4)
    shift = re.search(r"cam00: its colours put its offset (\S+) s from where its motion did", caplog.text)
    assert float(shift[1]) == pytest.approx(-0.15, abs=3e-4)


def test_a_fit_on_half_of_the_images_does_not_know_what_was_found_on_all(scene):
    synced = known_waves(scene, [PLANTED[0] + 0.05, *PLANTED[1:]], 0.04)
    found = fit(scene, synced, mask=HOLDOUT.fit_mask(12, 12))
    assert len(found.grid) == 19


def test_what_motion_told_is_kept_where_colours_tell_nothing(scene):
    synced = known_waves(scene, [PLANTED[0] + 0.05, *PLANTED[1:]], 0.04)
    with torch.no_grad():
        synced.backend.gain.fill_(0.0)
    found = fit(scene, synced)
    assert found.reason == ""
    assert found.seconds == pytest.approx(PLANTED[0] + 0.05)
    assert found.stderr == pytest.approx(0.04 * 2**0.5, rel=1e-3)


def test_a_video_that_no_training_camera_saw_is_told(tmp_path):
    scene = wave_scene(tmp_path, [5.0, 0.0, 0.3], frame_count=10)
    synced = known_waves(scene, [5.0, 0.0, 0.3], 0.01)
    found = fit(scene, synced)
    assert found.reason == ""
    assert found.seconds == pytest.approx(5.0)
    assert found.errors.isnan().all()


def test_what_was_known_of_the_shift_counts_as_one_more_measurement():
    """Against normal equations; and where the colours tell nothing it is all there is, and the rate stays unknown."""
    covariance = torch.tensor([[4e-4, 1e-4], [1e-4, 9e-4]], dtype=torch.float64)
    fit = ClockFit(torch.tensor([0.31, 0.02], dtype=torch.float64), covariance, 3)
    known, precision = torch.tensor([[1.0, 0.0]], dtype=torch.float64), 1 / 0.03**2
    normal = torch.linalg.inv(covariance) + precision * known.T @ known
    right = torch.linalg.solve(covariance, fit.unknowns) + precision * 0.28 * known[0]
    found = combined(fit, 0.28, 0.03, "cam00")
    torch.testing.assert_close(found.covariance, torch.linalg.inv(normal))
    torch.testing.assert_close(found.unknowns, torch.linalg.solve(normal, right))

    blind = combined(replace(fit, covariance=torch.full_like(covariance, torch.inf)), 0.28, 0.03, "cam00")
    assert blind.unknowns.tolist() == pytest.approx([0.28, 0.02])
    times, nothing = torch.linspace(0, 4, 41, dtype=torch.float64), torch.empty(0, dtype=torch.float64)
    offset = OffsetFit.of(0, blind, times, nothing, nothing)
    assert (offset.seconds, offset.rate) == pytest.approx((0.28 - 0.02, 0.01))
    assert (offset.stderr, offset.rate_stderr) == (torch.inf, torch.inf)
    nothing_known = replace(blind, covariance=torch.full_like(covariance, torch.inf))
    assert OffsetFit.of(0, nothing_known, times, nothing, nothing).stderr == torch.inf
