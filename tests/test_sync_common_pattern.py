"""Motion that follows the place in the files is told from motion that repeats, or that all cameras see."""

import math
from dataclasses import replace

import pytest
import torch

from syncnerf.sync.common_pattern import common_pattern
from syncnerf.sync.energy import MotionEnergy
from syncnerf.sync.faults import faults
from syncnerf.sync.phase_levels import phase_levels


def energy(totals: torch.Tensor) -> MotionEnergy:
    """A camera whose one pixel moves so much in each interval."""
    pixels, all_told = torch.zeros(1, dtype=torch.int64), torch.ones(len(totals), dtype=torch.bool)
    return MotionEnergy(totals[None], pixels, 1, 1, 1, all_told)


def motion(seed: int, count: int = 72) -> torch.Tensor:
    """Smooth motion with some noise, never still."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(count, generator=generator)
    smooth = torch.nn.functional.avg_pool1d(steps[None], 9, 1, 4)[0]
    return (smooth + 0.05 * torch.randn(count, generator=generator)).exp()


@pytest.mark.parametrize("levels", [[0.1, -0.12, -0.1, 0.12], [0.14, -0.05, -0.16, -0.07, 0.14]])
def test_a_planted_pattern_is_found_at_its_strength(levels):
    pattern = torch.tensor(levels)[torch.arange(72) % len(levels)].exp()
    found = common_pattern([energy(motion(seed) * pattern) for seed in range(12)])
    assert found == pytest.approx(torch.tensor(levels).square().mean().sqrt().item(), rel=0.15)


@pytest.mark.parametrize("seed", range(8))
def test_no_pattern_is_found_where_there_is_none(seed):
    assert common_pattern([energy(motion(20 * seed + camera)) for camera in range(10)]) == 0


def test_what_wired_cameras_see_together_is_seldom_one():
    """One motion at equal places of all files, each camera with a little noise of its own."""
    found = 0
    for seed in range(40):
        own = [(0.02 * motion(100 + camera).log()).exp() for camera in range(6)]
        found += common_pattern([energy(motion(seed) * noise) for noise in own]) > 0
    assert found <= 2


def test_motion_that_repeats_is_none_where_cameras_started_apart():
    waves = 1 + 0.3 * torch.sin(2 * math.pi * torch.arange(90) / 5)
    assert common_pattern([energy(waves[start : start + 72]) for start in range(10)]) == 0


def test_levels_are_medians_over_a_trend():
    """Counted by hand: a steady rise of the logarithm leaves the pattern alone."""
    logs = 0.01 * torch.arange(40, dtype=torch.float64) + torch.tensor([0.0, 0.3, 0.0])[torch.arange(40) % 3].double()
    seen = phase_levels(logs, torch.ones(40, dtype=torch.bool), 3)
    torch.testing.assert_close(seen.levels - seen.levels[0], torch.tensor([0.0, 0.3, 0.0], dtype=torch.float64))
    assert seen.noise == pytest.approx(0.0, abs=1e-9)
    assert seen.counts == [12, 13, 13]
    assert phase_levels(logs[:13], torch.ones(13, dtype=torch.bool), 3) is None


def test_faults_of_files_add_to_their_errors():
    """By hand: a tenth divided, and key frames at each 12th place, are 0.018 and 0.05 frame, together 0.0531."""
    plain = energy(motion(3))
    spoilt = replace(plain, divided=0.1, refreshed=4 / 59)
    found = faults([plain, spoilt, replace(plain, refreshed=2 / 59), replace(plain, divided=0.5)])
    assert [fault.error for fault in found] == pytest.approx([0.0, 0.0531413, 0.0, 0.09])
    assert [fault.remark for fault in found] == ["", "", "", "frames are shown twice in its video"]


@pytest.mark.parametrize(("coded", "added"), [(1, 0.05), (2, 0.0), (3, 0.0)])
def test_videos_that_are_compressed_more_strongly_than_most_have_wider_errors(coded, added):
    """One of three is read at a noise floor of its own; two are most."""
    plain = energy(motion(3))
    found = faults([replace(plain, coded=index < coded) for index in range(3)])
    assert [fault.error for fault in found] == pytest.approx([added] * coded + [0.0] * (3 - coded))


def test_a_pattern_is_a_fault_of_all_files():
    levels = torch.tensor([0.1, -0.12, -0.1, 0.12])
    energies = [energy(motion(seed) * levels[torch.arange(72) % 4].exp()) for seed in range(12)]
    found = faults([replace(energies[0], pace=1.25, divided=0.4), *energies])
    strength = levels.square().mean().sqrt().item()
    assert found[1].error == pytest.approx(0.8 * strength, rel=0.15)
    assert found[0].error == pytest.approx(math.hypot(found[1].error, 0.072))
    assert "dropped" in found[0].remark
    assert all("blended" in fault.remark for fault in found[1:])
