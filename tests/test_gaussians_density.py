"""Relocation of Gaussians: what one looks like as several, who moves where; and the pictures' loss."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.ndimage import uniform_filter

from syncnerf_gaussians.density import MOST_COPIES, relocation, shared
from syncnerf_gaussians.losses import SIDE, STRIDE, dissimilarity


@pytest.mark.parametrize("copies", [1, 2, 5])
@pytest.mark.parametrize("opacity", [0.1, 0.6, 0.95])
def test_several_in_one_place_block_as_much_light_as_one(opacity, copies):
    each, factor = shared(torch.tensor([opacity], dtype=torch.float64), torch.tensor([copies]))
    profile = lambda x, top, width: top * np.exp(-0.5 * (x / width) ** 2)  # noqa: E731
    one = quad(lambda x: profile(x, opacity, 1.0), -12, 12)[0]
    several = quad(lambda x: 1.0 - (1.0 - profile(x, float(each), float(factor))) ** copies, -12, 12)[0]
    assert several == pytest.approx(one, rel=1e-6)
    # In the middle nothing changes at all.
    assert 1.0 - (1.0 - float(each)) ** copies == pytest.approx(opacity, rel=1e-9)


def test_the_idle_join_others_as_often_as_these_are_wanted():
    idle = torch.zeros(3000, dtype=torch.bool)
    idle[1000:] = True
    wanted = torch.zeros(3000)
    wanted[:200], wanted[200:300], wanted[2000:] = 1.0, 4.0, 50.0  # the idle themselves cannot be joined
    moving, joined = relocation(idle, wanted, torch.Generator().manual_seed(0))
    assert torch.equal(moving, torch.arange(1000, 3000))
    counts = joined.bincount(minlength=3000)
    assert int(counts[300:].sum()) == 0
    assert float(counts[200:300].sum()) == pytest.approx(2000 * 400 / 600, rel=0.1)
    again = relocation(idle, wanted, torch.Generator().manual_seed(0))
    assert torch.equal(joined, again[1])


def test_no_place_is_shared_by_more_than_can_be_told_apart():
    idle = torch.arange(200) > 0
    moving, joined = relocation(idle, torch.ones(200), torch.Generator().manual_seed(0))
    assert len(moving) == MOST_COPIES - 1
    assert set(joined.tolist()) == {0}


def test_nobody_moves_where_there_is_nothing_to_join():
    for idle in (torch.ones(5, dtype=torch.bool), torch.zeros(5, dtype=torch.bool)):
        moving, joined = relocation(idle, torch.ones(5), torch.Generator())
        assert len(moving) == len(joined) == 0


def test_dissimilarity_is_that_of_scipys_windows():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 20, 24, 3, generator=generator, dtype=torch.float64)
    rendered = (truth + 0.2 * torch.rand(2, 20, 24, 3, generator=generator, dtype=torch.float64)).clamp(0, 1)
    values = []
    for a, b in zip(rendered.permute(0, 3, 1, 2).flatten(0, 1), truth.permute(0, 3, 1, 2).flatten(0, 1), strict=True):
        a, b, mean = a.numpy(), b.numpy(), lambda image: uniform_filter(image, SIDE)
        first, second = mean(a), mean(b)
        variances = mean(a * a) - first**2 + mean(b * b) - second**2
        covariance = mean(a * b) - first * second
        index = (2 * first * second + 1e-4) * (2 * covariance + 9e-4)
        index /= (first**2 + second**2 + 1e-4) * (variances + 9e-4)
        values.append(index[SIDE // 2 : -(SIDE // 2) : STRIDE, SIDE // 2 : -(SIDE // 2) : STRIDE].mean())
    assert float(dissimilarity(rendered, truth)) == pytest.approx(1.0 - np.mean(values), abs=1e-9)
    assert float(dissimilarity(truth, truth)) == pytest.approx(0.0, abs=1e-12)
