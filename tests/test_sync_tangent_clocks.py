"""Clocks that drift, from tangents over whole videos: planted truth, honest errors, and what is left alone."""

import math
from dataclasses import replace

import pytest
import torch

from syncnerf.sync import SyncResult
from syncnerf.sync.drift import Clocks, referred
from syncnerf.sync.shared_tangents import SharedTangent
from syncnerf.sync.tangent_clocks import with_tangent_clocks
from syncnerf.sync.tangents import Tangent

STEP, FRAMES, NOISE = 1 / 30, 300, 4e-4


def planted(seed: int, cameras: int = 6) -> tuple[torch.Tensor, torch.Tensor, list[SharedTangent]]:
    """Offsets and rates of cameras, shape [C] each, and what all pairs see of two tangents each, with noise."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    offsets, rates, own = 0.3 * draw(cameras), 3e-4 * draw(cameras), torch.arange(FRAMES).double() * STEP
    seen = []
    for first in range(cameras):
        for second in range(first + 1, cameras):
            for _ in range(2):
                height, pace, phase = 0.02 * draw(3), 6.0 + 3.0 * draw(3), 6.0 * draw(3)
                angles = []
                for camera in (first, second):
                    moments = own * (1 + rates[camera]) + offsets[camera]
                    angle = (height * torch.sin(pace * moments[:, None] + phase)).sum(1)
                    angles.append(Tangent(own, angle + 0.01 * camera + NOISE * draw(FRAMES)))
                seen.append(SharedTangent(first, second, tuple(angles), NOISE))
    return offsets, rates, seen


def windows(offsets: torch.Tensor, rates: torch.Tensor, seed: int, errors: tuple[float, float]) -> Clocks:
    """Clocks as windows of time might have told them, with errors of the offsets (seconds) and rates."""
    count = len(offsets)
    noise = torch.randn(2, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    spread = torch.tensor(errors, dtype=torch.float64).repeat_interleave(count)
    values = torch.cat([offsets, rates]) + spread * noise.flatten()
    return referred(values, torch.diag(spread.square()), torch.ones(count, dtype=torch.bool), 1)


def errors_of(clocks: Clocks, offsets: torch.Tensor, rates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Wrong seconds in the middle of the videos, and wrong rates, both against the mean over cameras."""
    middle = FRAMES * STEP / 2
    wrong = clocks.rates - ((1 + rates) / (1 + rates[1]) - 1)
    late = clocks.offsets - (offsets - offsets[1]) / (1 + rates[1]) + wrong * middle
    return late - late.mean(), wrong - wrong.mean()


def test_planted_clocks_are_found_with_honest_errors():
    """From windows that err by a tenth of a frame and 200 parts per million: many times nearer, errors as stated."""
    late, wrong, claimed = [], [], []
    for seed in range(4):
        offsets, rates, seen = planted(seed)
        clocks = with_tangent_clocks(windows(offsets, rates, seed, (0.1 * STEP, 2e-4)), seen, 1, STEP)
        assert clocks.rates[1] == 0.0
        assert clocks.offsets[1] == 0.0
        part = errors_of(clocks, offsets, rates)
        late.append(part[0])
        wrong.append(part[1])
        claimed.append(clocks.rates_stderr)
    assert float(torch.cat(late).abs().mean()) < 0.01 * STEP
    assert float(torch.cat(wrong).abs().mean()) < 2e-5
    ratios = torch.cat(wrong) / torch.cat(claimed)
    assert 0.3 < float(ratios.square().mean().sqrt()) < 1.3


def test_tangents_that_contradict_change_nothing():
    """Pairs that say something else than windows by many errors: windows as they were."""
    offsets, rates, seen = planted(0)
    sure = windows(offsets + 0.3 * STEP * torch.tensor([0, 1, 0, -1, 0, 1]), rates, 0, (1e-3 * STEP, 1e-6))
    assert with_tangent_clocks(sure, seen, 1, STEP) is sure


def test_cameras_that_few_others_see_keep_what_windows_say():
    """A camera with tangents of two others only, and one whose clock is not determined: untouched by tangents."""
    offsets, rates, seen = planted(1)
    few = [each for each in seen if each.second != 5 or each.first < 2]
    start = windows(offsets, rates, 1, (0.1 * STEP, 2e-4))
    found = with_tangent_clocks(start, few, 1, STEP)
    # The others' mean is what windows say of it: against that, the camera stays.
    moved = (found.rates - start.rates) - (found.rates - start.rates)[:5].mean()
    assert abs(float(moved[5])) < 0.3 * float(start.rates_stderr[5])
    assert float(found.rates_stderr[5]) > 3 * float(found.rates_stderr[0])
    known = torch.tensor([True] * 4 + [False] * 2)
    both = known.repeat(2)
    some = referred(torch.cat([start.offsets, start.rates])[both], start.covariance[both][:, both], known, 1)
    fewer = with_tangent_clocks(some, seen, 1, STEP)
    assert fewer.known.tolist() == known.tolist()
    assert fewer.rates[4:].isnan().all()
    assert fewer.rates_stderr[:4].max() < 0.3 * some.rates_stderr[:4].min()
    assert with_tangent_clocks(start, [], 1, STEP) is start


def test_a_clock_is_surer_in_the_middle_than_at_its_first_frame():
    """Correlations of offset and rate, by camera, and the closed form of a line's error."""
    spread = torch.tensor([[4.0, -1.5], [-1.5, 0.75]]).double()
    covariance = torch.zeros(2, 3, 2, 3, dtype=torch.float64)
    for camera in range(3):
        covariance[:, camera, :, camera] = (camera + 1) * spread
    known = torch.tensor([True, False, True, True])
    clocks = referred(torch.zeros(6).double(), covariance.reshape(6, 6), known, 0)
    together = clocks.correlations
    assert together[2, 0, 2, 1] == pytest.approx(-1.5 / math.sqrt(3.0))
    assert together[2, 0, 3, 1] == 0.0
    assert together[1, 0, 1, 1] == 0.0
    result = _result(clocks)
    at = result.covariance_at(torch.full((4,), 2.0).double())
    assert at.diagonal()[known].tolist() == pytest.approx([1.0, 2.0, 3.0])
    assert at[1].isnan().all()
    alone = replace(result, clock_correlations=None, rates_stderr=None)
    torch.testing.assert_close(alone.covariance_at(torch.ones(4).double()), alone.covariance, equal_nan=True)


def _result(clocks: Clocks) -> SyncResult:
    return SyncResult(
        ["a", "b", "c", "d"], 0, "epipolar", clocks.offsets, clocks.offsets_stderr, [], [],
        rates=clocks.rates, rates_stderr=clocks.rates_stderr, clock_correlations=clocks.correlations,
    )  # fmt: skip
