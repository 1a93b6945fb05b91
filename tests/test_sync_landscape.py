"""Landscapes: correlation against a slow loop, sub-frame peaks, confidence, and each frame's pull."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from syncnerf.sync.correlation import correlate, line_slices
from syncnerf.sync.drift import window_lags
from syncnerf.sync.frame_products import frame_products
from syncnerf.sync.landscape import find_peak, refine, stand_out
from syncnerf.sync.prior import PriorLag

INTERVAL = 1 / 30


def smooth_signals(lines: int, length: int, shift: float, seed: int = 0) -> torch.Tensor:
    """Band-limited random signals, sampled ``shift`` samples late; float32, shape [lines, length]."""
    generator = np.random.default_rng(seed)
    frequency = generator.uniform(0.02, 0.3, (lines, 60, 1))
    phase, height = generator.uniform(0, 2 * np.pi, (lines, 60, 1)), generator.normal(size=(lines, 60, 1))
    times = np.arange(length) + shift
    return torch.from_numpy((height * np.sin(2 * np.pi * frequency * times + phase)).sum(1)).float()


def test_correlation_matches_a_loop():
    generator = np.random.default_rng(0)
    first = torch.from_numpy(generator.normal(size=(20, 40))).float()
    second = torch.from_numpy(generator.normal(size=(20, 55))).float()
    found = correlate(first, second)
    assert found.values.shape == (5, len(found.shifts))
    for row, line_shift in enumerate(range(-2, 3)):
        one, two = (
            signal[part].double() for signal, part in zip((first, second), line_slices(20, line_shift), strict=True)
        )
        for column in range(0, len(found.shifts), 7):
            shift = int(found.shifts[column])
            start, stop = max(0, -shift), min(40, 55 - shift)
            a, b = one[:, start:stop], two[:, start + shift : stop + shift]
            a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
            expected = float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())
            assert float(found.values[row, column]) == pytest.approx(expected, abs=1e-5)
            assert int(found.overlap[column]) == stop - start


@pytest.mark.parametrize("lag", [0.0, 3.0, -7.25, 10.5, 4.1])
def test_planted_lag_is_found_between_frames(lag):
    # The second clock shows lag more when it sees the same: second[t + lag] = first[t].
    first, second = smooth_signals(24, 80, 0.0), smooth_signals(24, 80, -lag)
    peak, values = find_peak(correlate(first, second), INTERVAL)
    assert peak.lag / INTERVAL == pytest.approx(lag, abs=0.02)
    assert peak.reason_to_reject == ""
    assert values.max() > 0.8  # between samples the sampled correlation is lower


@pytest.mark.parametrize("line_shift", [-2, 1])
def test_misaligned_lines_are_found(line_shift):
    """Blobs that move across the lines: with a pencil off by some lines the lag alone would compensate."""
    times, lines = torch.arange(90.0), torch.arange(64.0)[:, None]
    path = 32 + 14 * torch.sin(times * 0.11) + 9 * torch.sin(times * 0.37 + 1)
    later = 32 + 14 * torch.sin((times - 4) * 0.11) + 9 * torch.sin((times - 4) * 0.37 + 1)
    first = torch.exp(-(((lines - path) / 2) ** 2)) * (1 + 0.5 * torch.sin(times * 0.9))
    second = torch.exp(-(((lines - later - line_shift) / 2) ** 2)) * (1 + 0.5 * torch.sin((times - 4) * 0.9))
    peak, _ = find_peak(correlate(first, second), 1.0)
    assert peak.line_shift == line_shift
    assert peak.lag == pytest.approx(4.0, abs=0.05)


def test_unrelated_signals_are_rejected():
    for seed in range(5):
        first, second = smooth_signals(24, 80, 0.0, seed), smooth_signals(24, 80, 0.0, seed + 100)
        peak, _ = find_peak(correlate(first, second), INTERVAL)
        assert peak.reason_to_reject


def test_repeating_motion_has_no_distinct_peak():
    times = torch.arange(120.0)
    waves = torch.stack([torch.sin(2 * torch.pi * times / 12 + phase) for phase in torch.linspace(0, 6, 16)])
    peak, _ = find_peak(correlate(waves, waves), INTERVAL)
    assert "distinct" in peak.reason_to_reject or "shared" in peak.reason_to_reject


def test_limit_on_the_lag_is_kept():
    found = correlate(smooth_signals(8, 60, 0.0), smooth_signals(8, 60, 0.0)).within(9)
    assert found.shifts.tolist() == list(range(-9, 10))


def test_too_short_signals_have_no_landscape():
    found = correlate(torch.ones(8, 6), torch.ones(8, 6))
    assert find_peak(found, INTERVAL) is None


def test_refine_finds_the_top_of_a_band_limited_curve():
    places = torch.arange(40, dtype=torch.float64)
    for top in (19.0, 20.3, 20.49):
        curve = torch.sinc(0.4 * (places - top)) ** 2
        place, height, bend = refine(curve, int(curve.argmax()))
        assert place == pytest.approx(top, abs=2e-3)
        assert height == pytest.approx(1.0, abs=2e-3)
        assert bend == pytest.approx(2 * (0.4 * np.pi) ** 2 / 3, rel=0.05)


def test_slopes_of_the_peak_are_not_rivals():
    places = torch.arange(100, dtype=torch.float64)
    noise = 0.02 * torch.randn(100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    broad = torch.exp(-(((places - 50) / 3) ** 2)) + noise
    significance, lead = stand_out(broad, int(broad.argmax()))
    assert significance > 20
    assert lead > 10
    twin = broad + 0.95 * torch.exp(-(((places - 80) / 3) ** 2))
    assert stand_out(twin, int(twin.argmax()))[1] < 10


def test_pull_predicts_the_lag_without_a_stretch():
    first, second = smooth_signals(24, 90, 0.0), smooth_signals(24, 90, -5.3)
    noise = torch.Generator().manual_seed(1)
    first = first + 2.0 * torch.randn(first.shape, generator=noise)
    second = second + 2.0 * torch.randn(second.shape, generator=noise)

    def lag_of(keep):
        values = []
        for shift in range(-20, 21):
            inside = [t for t in keep if 0 <= t + shift < 90]
            values.append((first[:, inside] * second[:, [t + shift for t in inside]]).sum().double())
        values = torch.stack(values)
        return refine(values, int(values.argmax()))[0] - 20

    whole = lag_of(range(90))
    products = frame_products(first, second, whole * INTERVAL, INTERVAL)
    pull = products.pull(torch.full((90,), whole * INTERVAL, dtype=torch.float64))
    block = torch.arange(90) // 15
    predicted = pull.shifts_without(block, 6) / INTERVAL
    for index in range(6):
        measured = lag_of([t for t in range(90) if t // 15 != index]) - whole
        assert float(predicted[index]) == pytest.approx(measured, abs=0.25 * abs(measured) + 0.003)


def test_lags_in_windows_follow_a_clock_that_drifts():
    """The second clock runs fast by 0.4%: its lag grows by 0.4 samples in a hundred."""
    generator = np.random.default_rng(3)
    frequency = generator.uniform(0.02, 0.25, (40, 60, 1))
    phase, height = generator.uniform(0, 2 * np.pi, (40, 60, 1)), generator.normal(size=(40, 60, 1))

    def signals(times):
        return torch.from_numpy((height * np.sin(2 * np.pi * frequency * times + phase)).sum(1)).float()

    own = np.arange(480.0)
    first, second = signals(own), signals((own - 5.0) / 1.004)
    windows = window_lags(frame_products(first, second, 6.0 * INTERVAL, INTERVAL))
    assert len(windows.times) == 12
    assert windows.length == 480
    expected = 5.0 + 0.004 * windows.times / INTERVAL
    np.testing.assert_allclose(windows.lags / INTERVAL, expected, atol=0.1)
    assert (windows.deviations > 0).all()


def test_windows_without_motion_say_nothing():
    silent = torch.zeros(20, 240)
    assert window_lags(frame_products(silent, silent, 0.0, INTERVAL)).lags.isnan().all()


@pytest.mark.parametrize("lag", [0.0, 7.4, -21.0])
def test_landscapes_of_parts_match_a_loop(lag):
    generator = np.random.default_rng(0)
    first = torch.from_numpy(generator.normal(size=(12, 50))).float()
    second = torch.from_numpy(generator.normal(size=(12, 64))).float()
    part = torch.arange(50) // 25
    found = frame_products(first, second, lag * INTERVAL, INTERVAL).within(part, 2)[0]
    for index, shift in ((0, -8), (0, 3), (1, 0), (1, 8)):
        inside = [t for t in range(25 * index, 25 * index + 25) if 0 <= t + round(lag) + shift < 64]
        a, b = first[:, inside].double(), second[:, [t + round(lag) + shift for t in inside]].double()
        part_power = a.square().sum()
        expected = float((a * b).sum() / (part_power * b.square().sum()).sqrt().clamp_min(1e-9))
        assert float(found[index, shift + 8]) == pytest.approx(expected, abs=1e-5)


def test_an_expected_lag_decides_between_equal_peaks():
    """Motion that repeats every 20 samples has a peak every 20; noise is the same in no two of them."""
    generator = torch.Generator().manual_seed(5)
    beat = torch.rand(12, 20, generator=generator).repeat(1, 12)
    lines = [beat + 0.2 * torch.rand(12, 240, generator=generator) for _ in range(2)]
    shifted = lines[0], torch.roll(lines[1], 7, 1)
    correlations = correlate(*shifted)
    plain, _ = find_peak(correlations, INTERVAL)
    assert "no distinct" in plain.reason_to_reject
    for periods in (-2, 0, 1):
        true = (7 + 20 * periods) * INTERVAL
        peak, _ = find_peak(correlations, INTERVAL, PriorLag(0, 1, true + 0.4 * INTERVAL, 1.5 * INTERVAL))
        assert peak.lag == pytest.approx(true, abs=0.1 * INTERVAL)
        assert not peak.reason_to_reject
        # A doubtful word decides as well, but only between peaks that are nearly equal.
        doubtful = PriorLag(0, 1, true, 2 * INTERVAL, share=0.9)
        assert find_peak(correlations, INTERVAL, doubtful)[0].lag == pytest.approx(true, abs=0.1 * INTERVAL)
    once = torch.rand(12, 240, generator=generator)
    uneven = correlate(lines[0] + 0.2 * once, shifted[1] + 0.2 * torch.roll(once, 7, 1))
    highest = find_peak(uneven, INTERVAL)[0]
    assert highest.lag == pytest.approx(7 * INTERVAL, abs=0.1 * INTERVAL)
    elsewhere = PriorLag(0, 1, 27 * INTERVAL, 2 * INTERVAL)
    assert find_peak(uneven, INTERVAL, elsewhere)[0].lag == pytest.approx(27 * INTERVAL, abs=0.1 * INTERVAL)
    assert find_peak(uneven, INTERVAL, replace(elsewhere, share=0.9))[0] == highest
    # Where there is no peak, or none nearly as high, what is expected does not matter.
    between, _ = find_peak(correlations, INTERVAL, PriorLag(0, 1, 17 * INTERVAL, INTERVAL))
    assert between == plain
