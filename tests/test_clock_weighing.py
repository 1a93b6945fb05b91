"""What a field says of the clocks and what was known of them: the best of both, and errors that hold."""

import numpy as np
import pytest
import torch

from syncnerf.camera_times import ClockSpan
from syncnerf.clock import Clock
from syncnerf.clock_prior import ClockStart
from syncnerf.clock_weighing import Evidence, contradiction, joint_covariance
from syncnerf.config import OffsetsConfig


def clock_with(offsets: list[float], covariance: torch.Tensor, rates: bool = False, reference: int = 0) -> Clock:
    last = torch.full((len(offsets),), 2.0, dtype=torch.float64)
    start = ClockStart(torch.tensor(offsets, dtype=torch.float64), covariance=covariance.double())
    config = OffsetsConfig(offset_rates="learn" if rates else "off")
    return Clock(config, ClockSpan(torch.zeros_like(last), last, 0.1), reference, 100, start)


def random_covariance(count: int, generator: np.random.Generator, scale: float) -> np.ndarray:
    root = generator.normal(size=(count, count))
    return scale**2 * (root @ root.T / count + 0.2 * np.eye(count))


@pytest.mark.parametrize("seed", range(4))
def test_the_joint_covariance_is_that_of_generalised_least_squares(seed):
    """Against numpy: the prior's common shift is an unknown of its own with no information."""
    generator = np.random.default_rng(seed)
    count = 6
    prior, own = random_covariance(count, generator, 0.02), 0.01 * generator.uniform(0.5, 2.0, count)
    known = generator.normal(0, 0.3, count)
    known -= known[0]
    clock = clock_with(known.tolist(), torch.from_numpy(prior))
    # So consistent with the prior that nothing is widened.
    told = known + 0.37 + 0.1 * own * generator.normal(size=count)
    evidence = Evidence(torch.from_numpy(told)[:, None], torch.from_numpy(own**2)[:, None, None])
    assert contradiction(clock, evidence) == 1.0
    # Unknowns: the shifts and the prior's zero. Rows: the field's shifts, and the prior's, each whitened.
    design = np.block([[np.eye(count), np.zeros((count, 1))], [np.eye(count), np.ones((count, 1))]])
    inverse = np.linalg.inv(np.block([[np.diag(own**2), np.zeros((count, count))], [np.zeros((count, count)), prior]]))
    expected = np.linalg.inv(design.T @ inverse @ design)[:count, :count]
    found = joint_covariance(clock, evidence)[:, 0, :, 0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_clocks_that_nothing_tells_have_no_error_at_all():
    """Nor does such a one change the others' errors, in offsets and rates alike."""
    clock = clock_with([0.0] * 4, torch.full((4, 4), torch.nan), rates=True)
    told = torch.full((4, 2, 2), torch.inf, dtype=torch.float64)
    told[:3] = torch.diag(torch.tensor([0.01, 0.04], dtype=torch.float64) ** 2)
    clock.settle(joint_covariance(clock, Evidence(torch.zeros(4, 2, dtype=torch.float64), told)))
    # Offsets are those of the videos' beginnings, and both they and the rates are against the first camera's.
    ends = (2 * (0.01**2 + 0.04**2)) ** 0.5
    torch.testing.assert_close(clock.stderr(), torch.tensor([0.0, ends, ends, torch.nan]).double(), equal_nan=True)
    paces = 0.04 * 2**0.5
    torch.testing.assert_close(
        clock.rates_stderr(), torch.tensor([0.0, paces, paces, torch.nan]).double(), equal_nan=True
    )


def test_where_field_and_beforehand_contradict_each_other_both_are_widened():
    """Monte Carlo: both claim 0.01 s, and one of them is 0.05 s off."""
    generator, count, claimed = np.random.default_rng(0), 20, 1e-4
    found = []
    for _ in range(100):
        known, told = generator.normal(0, 0.01, count), generator.normal(0, 0.05, count)
        clock = clock_with(known.tolist(), claimed * torch.eye(count))
        evidence = Evidence(torch.from_numpy(told)[:, None], torch.full((count, 1, 1), claimed, dtype=torch.float64))
        found.append(contradiction(clock, evidence))
    assert np.mean(found) == pytest.approx((0.01**2 + 0.05**2) / (2 * claimed), rel=0.1)


def test_errors_of_offsets_and_rates_are_those_of_the_unknowns():
    clock = clock_with([0.0, 0.2, 0.4], 1e-4 * torch.eye(3), rates=True, reference=1)
    clock.settle(1e-4 * torch.eye(6).double().reshape(3, 2, 3, 2))
    # At own time 0: the middle's error, and the rate's over one second.
    torch.testing.assert_close(clock.stderr()[[0, 2]], torch.full((2,), (2e-4 + 2e-4) ** 0.5).double())
    torch.testing.assert_close(clock.rates_stderr()[[0, 2]], torch.full((2,), 2e-4**0.5).double())
