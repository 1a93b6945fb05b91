"""Offsets of one half of the time against those of the other: jumps, slight drifts, and many uneven clocks."""

import pytest
import torch
from solved_rigs import STEP, TRUTH, all_pairs, solved

from syncnerf.sync.drift import WindowLags
from syncnerf.sync.halves import half_differences, slight_drifts, usual_unevenness
from syncnerf.sync.self_check import only_sure, with_checks


def test_halves_of_the_time_are_compared():
    times = torch.arange(6, dtype=torch.float64)
    late = torch.where(times < 3, 0.0, 0.05)
    windows = []
    for i in range(4):
        for j in range(i + 1, 4):
            lags = TRUTH[i] - TRUTH[j] + (late if i == 2 else 0) - (late if j == 2 else 0)
            noise = 1e-4 * torch.randn(6, generator=torch.Generator().manual_seed(7 * i + j)).double()
            windows.append((i, j, WindowLags(times, lags + noise, torch.full((6,), 1e-3).double(), 0.0, 90)))
    halves, errors = half_differences(solved([]), windows)
    assert float(halves[2]) == pytest.approx(0.05, abs=1e-3)
    assert float(halves[[0, 1, 3]].abs().max()) < 1e-3
    checked = with_checks(solved([]), all_pairs(), windows, STEP)
    assert checked.verdicts == {"a": "sure", "b": "sure", "c": "check", "d": "sure"}
    assert "half" in checked.checks["c"].reason
    assert checked.checks["c"].advice
    start = only_sure(checked)
    assert start.offsets.isnan().tolist() == [False, False, True, False]
    assert list(start.reasons) == ["c"]
    assert float(errors.max()) < 0.01


def test_the_error_of_a_clock_whose_rate_is_slightly_wrong_covers_its_first_frame():
    """Its offset is that of the video's middle, which the lags tell; frame 0 was exposed 2.5 s of its drift earlier."""
    times, rate = torch.arange(6, dtype=torch.float64), 2.4e-3
    drift = rate * (times - 2.5)
    windows = []
    for i in range(4):
        for j in range(i + 1, 4):
            noise = 1e-3 * torch.randn(6, generator=torch.Generator().manual_seed(7 * i + j)).double()
            lags = TRUTH[i] - TRUTH[j] + drift * ((i == 2) - (j == 2)) + noise
            windows.append((i, j, WindowLags(times, lags, torch.full((6,), 1e-3).double(), 0.0, 90)))
    checked = with_checks(solved([]), all_pairs(), windows, STEP)
    assert set(checked.verdicts.values()) == {"sure"}
    assert 0.7 * 2.5 * rate < float(checked.stderr[2]) < 1.5 * 2.5 * rate
    assert checked.stderr[[0, 1, 3]].tolist() == [1e-3] * 3
    assert list(checked.remarks) == ["c"]
    assert "--drift" in checked.remarks["c"]
    # Half of a frame is doubted instead, and a drift within its error is none.
    halves = torch.tensor([0.005, -0.006, 0.02, torch.nan], dtype=torch.float64)
    errors = torch.tensor([2e-3, 1e-3, 1e-3, 1e-3], dtype=torch.float64)
    assert slight_drifts(halves, errors, STEP).tolist() == [0.0, 0.006, 0.0, 0.0]


def test_where_many_clocks_are_uneven_none_is_sure_and_all_errors_are_wide():
    times = torch.arange(6, dtype=torch.float64)
    late = torch.where(times < 3, 0.0, 1.0)
    shares = torch.tensor([0.0, 0.0, 0.05, -0.04], dtype=torch.float64)
    windows = []
    for i in range(4):
        for j in range(i + 1, 4):
            noise = 1e-4 * torch.randn(6, generator=torch.Generator().manual_seed(7 * i + j)).double()
            lags = TRUTH[i] - TRUTH[j] + (shares[i] - shares[j]) * late + noise
            windows.append((i, j, WindowLags(times, lags, torch.full((6,), 1e-3).double(), 0.0, 90)))
    checked = with_checks(solved([]), all_pairs(), windows, STEP)
    assert set(checked.verdicts.values()) == {"check"}
    torch.testing.assert_close(checked.stderr, torch.full((4,), 0.0453).double(), atol=2e-3, rtol=0)


def test_many_uneven_clocks_are_no_measure_for_the_others():
    halves = torch.tensor([0.0, 0.03, -0.04, 0.0, torch.nan, 0.001, 0.0, 0.0], dtype=torch.float64)
    errors = torch.full((8,), 2e-3, dtype=torch.float64)
    assert usual_unevenness(halves, errors, STEP) == pytest.approx(0.03535534, abs=1e-6)
    assert usual_unevenness(halves[:2], errors[:2], STEP) == 0
    assert usual_unevenness(torch.cat([halves, 0 * halves]), torch.cat([errors, errors]), STEP) == 0
    assert usual_unevenness(halves, 10 * errors, STEP) == 0
