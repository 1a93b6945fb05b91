"""The global solution: against scipy, with outliers, and with honest standard errors."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from syncnerf.sync.drift import WindowLags, fit_clocks
from syncnerf.sync.locking import LOCKING, LOCKING_DEVIATION, locking_pull
from syncnerf.sync.offsets import Offsets, fit_offsets
from syncnerf.sync.solve import Lags, connected, inner_inverse, offset_design, robust_fit, spanning_tree
from syncnerf.sync.uncertainty import Sensitivity, jackknife


def simulated_lags(offsets: np.ndarray, noise: float, seed: int, outliers: int = 0) -> Lags:
    """Lags of all pairs with Gaussian noise; some of them wrong by seconds."""
    generator = np.random.default_rng(seed)
    first, second = np.triu_indices(len(offsets), 1)
    deviations = noise * generator.uniform(0.5, 2.0, len(first))
    values = offsets[first] - offsets[second] + deviations * generator.normal(size=len(first))
    wrong = generator.permutation(len(first))[:outliers]
    values[wrong] += generator.uniform(0.5, 3.0, outliers) * generator.choice([-1, 1], outliers)
    # The common factor of the deviations is unknown to the solver.
    return Lags(*(torch.from_numpy(x) for x in (first, second, values, 7.0 * deviations)))


def errors_of(solution: Offsets) -> torch.Tensor:
    """Standard errors of the known cameras, seconds, shape [K]."""
    return solution.covariance.diagonal().sqrt()


OFFSETS = np.random.default_rng(5).normal(0, 0.2, 9)


def test_solution_matches_scipy():
    scipy_optimize = pytest.importorskip("scipy.optimize")
    lags = simulated_lags(OFFSETS, 0.003, 0)
    solution = fit_offsets(lags, 9, reference=2)
    found, stderr = solution.offsets, errors_of(solution)
    assert solution.used.all()
    assert found[2] == 0.0
    first, second = lags.first.numpy(), lags.second.numpy()

    def residuals(x):
        x = x - x.mean()
        return np.append((lags.values.numpy() - (x[first] - x[second])) / lags.deviations.numpy(), x.sum())

    solution = scipy_optimize.least_squares(residuals, np.zeros(9), x_scale="jac")
    expected = solution.x - solution.x[2]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-7)
    design = offset_design(lags, 9).numpy() / lags.deviations.numpy()[:, None]
    variance = 2 * solution.cost / (len(first) - 8)
    covariance = np.linalg.pinv(design.T @ design) * variance
    np.testing.assert_allclose(stderr.numpy(), np.sqrt(np.diag(covariance)), rtol=1e-5)


def test_a_third_of_the_lags_may_be_wrong():
    """The result rests on the right ones alone."""
    lags = simulated_lags(OFFSETS, 0.003, 1, outliers=11)
    solution = fit_offsets(lags, 9, reference=0)
    known, found, used = solution.known, solution.offsets, solution.used
    wrong = (lags.values - torch.from_numpy(OFFSETS[lags.first] - OFFSETS[lags.second])).abs() > 0.3
    assert known.all()
    assert not used[wrong].any()
    np.testing.assert_allclose(found, OFFSETS - OFFSETS[0], atol=0.02)


def test_standard_errors_are_honest():
    ratios = []
    for seed in range(60):
        lags = simulated_lags(OFFSETS, 0.003, seed, outliers=seed % 5)
        solution = fit_offsets(lags, 9, reference=0)
        error = solution.offsets.numpy() - OFFSETS
        ratios.append((error - error.mean()) / errors_of(solution).numpy())
    ratios = np.abs(np.concatenate(ratios))
    assert 0.60 < (ratios < 1).mean() < 0.76
    assert (ratios < 3).mean() > 0.98


def test_jackknife_sees_what_residuals_cannot():
    """Each camera is off by a common amount in each stretch of time: all its pairs agree, yet the offset is wrong."""
    generator = np.random.default_rng(0)
    count, blocks, inside_naive, inside = 8, 8, [], []
    first, second = np.triu_indices(count, 1)
    for _ in range(60):
        wander = generator.normal(0, 0.01, (blocks, count))
        noise = generator.normal(0, 0.002, (blocks, len(first)))
        block_lags = wander[:, first] - wander[:, second] + noise
        values = torch.from_numpy(block_lags.mean(0))
        stated = torch.full((len(first),), 1e-3, dtype=torch.float64)
        lags = Lags(torch.from_numpy(first), torch.from_numpy(second), values, stated)
        solution = fit_offsets(lags, count, 0)
        offsets, naive = solution.offsets, errors_of(solution)
        pulls = []
        for pair, lag in enumerate(values.tolist()):
            bend = -torch.ones(80, dtype=torch.float64)
            slope = torch.from_numpy(block_lags[:, pair].repeat(10) - lag)
            pulls.append(Sensitivity(slope, bend, 1 / 30))
        starts = torch.zeros(len(first), dtype=torch.float64)
        covariance = jackknife(offset_design(lags, count), lags.deviations, pulls, starts, solution.covariance)
        stderr = covariance.diagonal().sqrt()
        error = (offsets - offsets.mean()).abs()
        inside_naive.append((error < naive).double().mean())
        inside.append((error < stderr).double().mean())
    assert np.mean(inside_naive) < 0.4
    assert 0.6 < np.mean(inside) < 0.8


STEP = 1 / 30
"""Seconds between samples."""


def drawn_lags(kind: str, count: int, locking: float, seed: int, noise: float = 0.05) -> tuple[Lags, np.ndarray]:
    """Lags of all pairs drawn to whole samples, with noise; all in samples of ``STEP``; and the offsets, seconds."""
    generator = np.random.default_rng(seed)
    fractions = {
        "whole": np.zeros(count),
        "nearly whole": generator.normal(0, 0.1, count),
        "uniform": generator.uniform(0, 1, count),
        "clustered": generator.choice([0.2, 0.55], count) + generator.normal(0, 0.05, count),
    }
    offsets = STEP * (generator.integers(-9, 10, count) + fractions[kind])
    first, second = np.triu_indices(count, 1)
    lags = (offsets[first] - offsets[second]) / STEP
    measured = lags - locking * np.sin(2 * np.pi * lags) + noise * generator.normal(size=len(lags))
    stated = np.full(len(lags), STEP * noise)
    columns = [torch.from_numpy(x) for x in (first, second, STEP * measured, stated, np.full(len(lags), STEP))]
    return Lags(*columns), offsets


@pytest.mark.parametrize("count", [3, 8, 31])
@pytest.mark.parametrize("kind", ["whole", "nearly whole", "uniform", "clustered"])
def test_errors_are_honest_whatever_the_lags_are_drawn_to(kind, count):
    """Lockings as scenes have them, none among them; nothing snaps to whole samples."""
    ratios = []
    for seed in range(30 if count < 31 else 8):
        locking = float(np.clip(np.random.default_rng(100 + seed).normal(LOCKING, LOCKING_DEVIATION), 0, 0.12))
        lags, offsets = drawn_lags(kind, count, locking, seed)
        solution = fit_offsets(lags, count, 0)
        error = solution.offsets.numpy() - offsets
        ratios.append((error - error.mean()) / errors_of(solution).numpy())
    ratios = np.abs(np.concatenate(ratios))
    assert 0.58 < (ratios < 1).mean() < 0.88
    assert (ratios < 3).mean() > 0.95


@pytest.mark.parametrize("locking", [0.0, 0.03, 0.1])
@pytest.mark.parametrize("count", [3, 14])
def test_nearly_whole_offsets_are_no_whole_ones(count, locking):
    """The fractions are found, not explained away, and no locking of the usual range goes beyond the stated errors."""
    errors, ratios = [], []
    for seed in range(12):
        lags, offsets = drawn_lags("nearly whole", count, locking, seed)
        solution = fit_offsets(lags, count, 0)
        error = solution.offsets.numpy() - offsets
        errors.append((error - error.mean()) / STEP)
        ratios.append((error - error.mean()) / errors_of(solution).numpy())
    assert (np.abs(np.concatenate(ratios)) < 3).mean() > 0.95
    # Taking every offset for whole is wrong by 0.08 on the average.
    assert np.abs(np.concatenate(errors)).mean() < 0.055


def test_covariance_is_that_of_the_errors():
    """Errors of two cameras that hang together, one on the other, are alike; so says the covariance."""
    offsets, products, stated_products = np.zeros(6), [], []
    first, second = np.array([0, 0, 1, 0, 1, 2, 3]), np.array([1, 2, 2, 3, 3, 4, 5])
    first, second = np.append(first, 4), np.append(second, 5)
    for seed in range(400):
        deviations = np.where((first == 2) & (second == 4) | (first == 3) & (second == 5), 0.01, 0.001)
        values = deviations * np.random.default_rng(seed).normal(size=len(first))
        solution = fit_offsets(Lags(*(torch.from_numpy(x) for x in (first, second, values, deviations))), 6, 0)
        error = solution.offsets.numpy() - offsets
        error -= error.mean()
        products.append(np.outer(error, error))
        stated_products.append(solution.covariance.numpy() if len(solution.covariance) == 6 else np.zeros((6, 6)))
    found, expected = np.mean(products, 0), np.mean(stated_products, 0)
    assert expected[4, 5] > 0.8 * expected[4, 4]
    np.testing.assert_allclose(found[4, 5], expected[4, 5], rtol=0.35)
    np.testing.assert_allclose(np.diag(found), np.diag(expected), rtol=0.4)


def test_attraction_to_whole_samples_is_undone():
    """Where lags of all fractions show the attraction it is found, and the offsets are better for it."""
    plain, better = [], []
    for seed in range(20):
        lags, offsets = drawn_lags("uniform", 9, 0.08, seed, noise=0.02)
        solution = fit_offsets(lags, 9, 0)
        error = solution.offsets.numpy() - offsets
        better.append(error - error.mean())
        error = fit_offsets(replace(lags, samples=None), 9, 0).offsets.numpy() - offsets
        plain.append(error - error.mean())
        assert solution.locking == pytest.approx(0.08, abs=0.03)
    assert np.abs(better).mean() < 0.5 * np.abs(plain).mean()


def test_attraction_to_where_uneven_samples_come_together_is_undone():
    """Samples that lie a part of a step beside even ones, as the first frame of a video may, draw lags elsewhere."""
    plain, better = [], []
    for seed in range(20):
        lags, offsets = drawn_lags("uniform", 9, 0.0, seed, noise=0.02)
        beside = STEP * np.random.default_rng(50 + seed).uniform(-0.5, 0.5, 9)
        lag = torch.from_numpy(beside)[lags.second] - torch.from_numpy(beside)[lags.first]
        meetings = torch.stack([lag, torch.full_like(lag, 0.8)], dim=1)
        true = torch.from_numpy(offsets)[lags.first] - torch.from_numpy(offsets)[lags.second]
        drawn = -0.8 * 0.1 * STEP * torch.sin(2 * torch.pi * (true - lag) / STEP)
        lags = replace(lags, values=lags.values + drawn, meetings=meetings)
        for errors, told in ((plain, None), (better, meetings)):
            solution = fit_offsets(replace(lags, meetings=told), 9, 0)
            error = solution.offsets.numpy() - offsets
            errors.append(error - error.mean())
        assert solution.locking == pytest.approx(0.1, abs=0.03)
    assert np.abs(better).mean() < 0.5 * np.abs(plain).mean()


def test_two_cameras_take_the_usual_attraction():
    """One lag cannot show it: what is known beforehand is used, and its uncertainty is stated."""
    columns = torch.tensor([0]), torch.tensor([1]), *torch.tensor([[0.25], [1e-4], [1.0]], dtype=torch.float64)
    solution = fit_offsets(Lags(*columns), 2, 0)
    assert solution.locking == pytest.approx(LOCKING)
    lag = float(-solution.offsets[1])
    assert lag - LOCKING * math.sin(2 * math.pi * lag) == pytest.approx(0.25, abs=1e-6)
    # The free gauge gives either camera half of the lag's error.
    change = math.sin(2 * math.pi * lag) / (1 - LOCKING * 2 * math.pi * math.cos(2 * math.pi * lag))
    np.testing.assert_allclose(errors_of(solution), 0.5 * LOCKING_DEVIATION * change, rtol=1e-3)


def test_what_a_locking_draws_is_differentiated_rightly():
    lags = torch.linspace(-2, 2, 41, dtype=torch.float64)
    samples = torch.where(torch.arange(41) % 3 == 0, 0.0, 0.4).double()
    pull, slope = locking_pull(lags, samples)
    above, below = (locking_pull(lags + side, samples)[0] for side in (1e-6, -1e-6))
    torch.testing.assert_close(slope, (above - below) / 2e-6, atol=1e-6, rtol=1e-6)
    assert (pull[::3] == 0).all()
    assert float(locking_pull(torch.tensor([0.1]).double(), torch.tensor([0.4]).double())[0]) == pytest.approx(-0.4)
    meetings = torch.stack([torch.full_like(lags, 0.13), torch.linspace(0, 1, 41, dtype=torch.float64)], dim=1)
    less, flatter = locking_pull(lags, samples, meetings)
    torch.testing.assert_close(less, meetings[:, 1] * locking_pull(lags - 0.13, samples)[0])
    torch.testing.assert_close(flatter, meetings[:, 1] * locking_pull(lags - 0.13, samples)[1])


def test_tree_prefers_sure_lags():
    lags = Lags(
        torch.tensor([0, 0, 1]),
        torch.tensor([1, 2, 2]),
        torch.tensor([1.0, 9.0, 1.0], dtype=torch.float64),
        torch.tensor([0.1, 5.0, 0.1], dtype=torch.float64),
    )
    assert spanning_tree(lags, 4, 0).tolist()[:3] == [0.0, -1.0, -2.0]
    assert spanning_tree(lags, 4, 0)[3].isnan()


def test_two_pieces_leave_one_undetermined():
    full = simulated_lags(OFFSETS, 0.003, 3)
    lags = full.keep((full.first < 5) == (full.second < 5))
    solution = fit_offsets(lags, 9, reference=1)
    known, found = solution.known, solution.offsets
    assert known.tolist() == [True] * 5 + [False] * 4
    assert found[5:].isnan().all()
    assert solution.covariance.shape == (5, 5)
    np.testing.assert_allclose(found[:5], OFFSETS[:5] - OFFSETS[1], atol=0.02)
    assert connected(lags.first, lags.second, 9, 7).tolist() == [False] * 5 + [True] * 4


def test_camera_on_an_outlier_alone_is_lost_with_it():
    full = simulated_lags(OFFSETS, 0.003, 4)
    keep = (full.second != 8) | (full.first < 2)
    lags = full.keep(keep)
    lags.values[(lags.second == 8) & (lags.first == 1)] += 2.0
    solution = fit_offsets(lags, 9, reference=0)
    known, found, used = solution.known, solution.offsets, solution.used
    assert found[:8].isfinite().all()
    assert known[8] or not used[lags.second == 8].any()


def test_no_lags_at_all():
    empty = torch.zeros(0, dtype=torch.int64)
    lags = Lags(empty, empty, torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))
    solution = fit_offsets(lags, 3, reference=1)
    known, found = solution.known, solution.offsets
    assert known.tolist() == [False, True, False]
    assert found[1] == 0.0
    assert found[[0, 2]].isnan().all()


def test_inner_inverse_is_the_pseudo_inverse():
    design = torch.randn(30, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gauge = torch.ones(1, 6, dtype=torch.float64)
    design -= design.mean(1, keepdim=True)
    normal = design.T @ design
    torch.testing.assert_close(inner_inverse(normal, gauge), torch.linalg.pinv(normal, hermitian=True))
    fit = robust_fit(
        design, design @ torch.arange(6.0).double(), torch.ones(30).double(), gauge, torch.zeros(6).double()
    )
    torch.testing.assert_close(fit.unknowns, torch.arange(6.0).double() - 2.5, atol=1e-6, rtol=0)


def test_clock_rates_are_recovered_with_honest_errors():
    generator = np.random.default_rng(1)
    rates = np.array([0.0, 120.0, -80.0, 300.0, -10.0]) * 1e-6
    offsets = np.array([0.0, 0.3, -0.2, 0.05, 0.4])
    ratios = []
    for _ in range(20):
        pairs = []
        for i in range(5):
            for j in range(i + 1, 5):
                times = np.linspace(5, 75, 8)
                # Both see the same at times * (1 + rate) + offset.
                other = (times * (1 + rates[i]) + offsets[i] - offsets[j]) / (1 + rates[j])
                lag = other - times + generator.normal(0, 0.001, 8)
                lag[generator.integers(8)] += 0.15 if (i + j) % 3 == 0 else 0.0
                columns = [torch.from_numpy(x) for x in (times, lag, np.full(8, 0.01))]
                pairs.append((i, j, WindowLags(*columns, 0.0, 2400)))
        clocks = fit_clocks(pairs, torch.from_numpy(offsets), reference=0)
        assert clocks.rates[0] == 0.0
        assert clocks.offsets[0] == 0.0
        error = clocks.rates.numpy() - rates
        np.testing.assert_allclose(error, 0.0, atol=60e-6)
        np.testing.assert_allclose(clocks.offsets, offsets, atol=3e-3)
        ratios.append((error - error.mean()) / clocks.rates_stderr.numpy())
    ratios = np.abs(np.concatenate(ratios))
    assert 0.5 < (ratios < 1).mean() < 0.85
    assert (ratios < 3).mean() > 0.93


@pytest.mark.parametrize("locking", [0.0, 0.05, 0.1])
def test_drifting_lags_that_whole_samples_draw_keep_their_rates(locking):
    """Lags that pass by whole samples on the way are drawn to and fro, which is no rate."""
    generator, sample, count = np.random.default_rng(3), 1 / 30, 6
    ratios, errors = [], []
    for _ in range(12):
        rates, offsets = generator.uniform(-300e-6, 300e-6, count), generator.normal(0, 0.2, count)
        pairs = []
        for i in range(count):
            for j in range(i + 1, count):
                times = np.linspace(1, 19, 12)
                lag = (times * (1 + rates[i]) + offsets[i] - offsets[j]) / (1 + rates[j]) - times
                lag += sample * (generator.normal(0, 0.03, 12) - locking * np.sin(2 * np.pi * lag / sample))
                columns = [torch.from_numpy(x) for x in (times, lag, np.full(12, 0.05 * sample))]
                pairs.append((i, j, WindowLags(*columns, sample, 600)))
        clocks = fit_clocks(pairs, torch.from_numpy(offsets), reference=0)
        error = (1 + clocks.rates.numpy()) / (1 + rates) - 1
        errors.append(error - error.mean())
        ratios.append(errors[-1] / clocks.rates_stderr.numpy())
    # What the noise alone does to slopes of all pairs' lags, about their mean.
    slope = 0.03 * sample * math.sqrt(count - 1) / count / (math.sqrt(12) * np.linspace(1, 19, 12).std())
    assert np.sqrt(np.mean(np.square(errors))) < 1.2 * slope
    assert (np.abs(ratios) < 3).mean() >= 0.95


def test_no_windows_no_rates():
    empty, lost = torch.zeros(0, dtype=torch.float64), torch.full((8,), torch.nan, dtype=torch.float64)
    times = torch.arange(8, dtype=torch.float64)
    for windows in (WindowLags(empty, empty, empty, 0.0, 2400), WindowLags(times, lost, lost, 0.0, 2400)):
        assert fit_clocks([(0, 1, windows)], torch.zeros(2, dtype=torch.float64), 0) is None


def test_camera_seen_for_a_moment_has_no_rate():
    times = torch.linspace(5, 75, 8, dtype=torch.float64)
    steady = WindowLags(times, torch.zeros_like(times), torch.full_like(times, 0.01), 0.0, 2400)
    brief = torch.where(torch.arange(8) < 2, 0.3, torch.nan).double()
    pairs = [(0, 1, steady), (0, 2, steady), (1, 2, steady)]
    pairs += [(i, 3, WindowLags(times, brief, torch.full_like(times, 0.01), 0.0, 2400)) for i in range(3)]
    clocks = fit_clocks(pairs, torch.tensor([0.0, 0.0, 0.0, -0.3], dtype=torch.float64), 0)
    assert clocks.known.tolist() == [True, True, True, False]
    assert clocks.rates[3].isnan()
    np.testing.assert_allclose(clocks.rates[:3], 0.0, atol=1e-9)


def test_a_triangle_that_contradicts_itself_is_solved_with_wide_errors():
    """Dropping the two lags that disagree most would leave the first camera to nothing."""
    lags = Lags(torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2]), torch.tensor([0.0, -0.9, 0.1]).double(),
                torch.tensor([1e-3, 1e-3, 1e-4]).double())  # fmt: skip
    solution = robust_fit(
        offset_design(lags, 3), lags.values, lags.deviations, torch.ones(1, 3).double(), torch.zeros(3).double()
    )
    assert solution.unknowns.isfinite().all()
    assert solution.covariance[0, 0].sqrt() > 0.05
