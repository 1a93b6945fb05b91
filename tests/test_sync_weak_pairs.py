"""Errors of cameras that few weak pairs connect with the others."""

import numpy as np
import pytest
import torch

from syncnerf.sync.offsets import Offsets, fit_offsets
from syncnerf.sync.solve import Lags
from syncnerf.sync.uncertainty import variances_by_rows

OFFSETS = np.random.default_rng(5).normal(0, 0.2, 9)
NOISE = 0.002
"""Seconds; of lags within a group of cameras, and what is stated for all."""
BRIDGES = [16, 28, 37]
"""First and second camera, as two digits, of the only pairs between the groups 0 to 4 and 5 to 8."""


def simulated_lags(seed: int, between: float | None = None) -> Lags:
    """Lags of all pairs; or of those within both groups, and three between these with other noise."""
    generator = np.random.default_rng(seed)
    first, second = np.triu_indices(9, 1)
    inside = (first < 5) == (second < 5)
    kept = inside | np.isin(10 * first + second, BRIDGES) | (between is None)
    deviations = np.where(inside, NOISE, between or NOISE)[kept]
    first, second = first[kept], second[kept]
    values = OFFSETS[first] - OFFSETS[second] + deviations * generator.normal(size=len(first))
    return Lags(*(torch.from_numpy(each) for each in (first, second, values, np.full(len(first), NOISE))))


def variances(solution: Offsets) -> tuple[torch.Tensor, torch.Tensor]:
    """The usual variances of all cameras, and those by rows, seconds^2, shape [9] each."""
    by_rows = variances_by_rows(solution.design, solution.deviations, solution.residuals)
    return solution.covariance.diagonal(), by_rows


def test_weak_lags_between_groups_err_as_they_contradict_each_other():
    """What is usual within the groups says nothing of the lags that alone connect them: three, so two are spare.

    With two spare ones 82% of all errors lie within two estimated ones at best (Student's t).
    """
    plain, widened = [], []
    for seed in range(120):
        solution = fit_offsets(simulated_lags(seed, 0.012), 9, 0)
        if not (solution.known.all() and solution.used.all()):
            continue
        usual, by_rows = variances(solution)
        error = solution.offsets - torch.from_numpy(OFFSETS)
        error = (error - error.mean()).abs()
        plain.append((error < 2 * usual.sqrt()).double().mean())
        widened.append((error < 2 * torch.maximum(by_rows, usual).sqrt()).double().mean())
    assert len(plain) > 80
    assert np.mean(plain) < 0.72
    assert np.mean(widened) > 0.77


def test_variances_by_rows_are_the_usual_ones_where_rows_err_alike():
    found = torch.stack([torch.stack(variances(fit_offsets(simulated_lags(seed), 9, 0))) for seed in range(100)])
    usual, by_rows = found.mean((0, 2)).tolist()
    assert by_rows / usual == pytest.approx(1.0, abs=0.05)
