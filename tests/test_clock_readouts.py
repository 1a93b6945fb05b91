"""Readout times that are learned: what all cameras share of them is found in the noise of each."""

import pytest
import torch

from syncnerf.camera_times import ClockSpan
from syncnerf.clock import Clock
from syncnerf.config import OffsetsConfig

CAMERAS, TEST, SHARED = 17, 16, 0.05
"""Cameras, the one that is not trained, and seconds that all readout times are."""


def learned(hastened: bool, steps: int) -> torch.Tensor:
    """Readout times after so many steps of Adam from 0; a camera's slopes are nearly all noise."""
    last = torch.ones(CAMERAS, dtype=torch.float64)
    clock = Clock(OffsetsConfig(rolling_shutter="learn"), ClockSpan(0 * last, last, 0.1), 0, steps, untrained=(TEST,))
    clock.before_step(0)
    optimizer = torch.optim.Adam([clock.row_times], lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        noise = torch.randn(CAMERAS, generator=generator, dtype=torch.float64)
        slope = (clock.row_times.detach() - SHARED) / SHARED
        clock.row_times.grad = torch.where(clock.is_trained, 0.1 * slope + noise, 0.0)
        if hastened:
            clock.after_backward()
        optimizer.step()
    return clock.row_times.detach()


def test_what_all_share_is_found_several_times_as_fast():
    plain, hastened = (learned(hastened, 200)[:TEST].mean() for hastened in (False, True))
    assert float(plain) < 0.5 * SHARED
    assert float(hastened) > 2.0 * float(plain)


def test_it_settles_where_all_slopes_vanish():
    found = learned(True, 3000)
    assert float(found[:TEST].mean()) == pytest.approx(SHARED, rel=0.1)
    assert found[TEST] == 0.0


def test_each_gets_its_own_slope_and_the_sum_of_all_at_the_noise_of_one():
    last = torch.ones(5, dtype=torch.float64)
    clock = Clock(OffsetsConfig(rolling_shutter="learn"), ClockSpan(0 * last, last, 0.1), 0, 10, untrained=(2,))
    clock.before_step(0)
    slopes = torch.tensor([1.0, -3.0, 0.0, 2.0, 6.0], dtype=torch.float64)
    clock.row_times.grad = slopes.clone()
    clock.after_backward()
    assert clock.row_times.grad.tolist() == [1.0 + 3.0, -3.0 + 3.0, 0.0, 2.0 + 3.0, 6.0 + 3.0]


@pytest.mark.parametrize("shutter", ["given", "learn"])
def test_rates_have_no_picture_drawn_row_by_row_whose_shutter_does_not_roll(shutter):
    last = torch.ones(3, dtype=torch.float64)
    config = OffsetsConfig(offset_rates="learn", rolling_shutter=shutter)
    readouts = Clock(config, ClockSpan(0 * last, last, 0.1), 0, 10).readouts(torch.arange(3))
    assert readouts.tolist() == [0.0, 0.0, 0.0]
    assert readouts.requires_grad == (shutter == "learn")
