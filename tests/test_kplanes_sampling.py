"""Proposal sampling and its losses against slow references that follow the papers' formulas pair by pair."""

import numpy as np
import pytest
import torch

from syncnerf.rendering.compositing import render_weights
from syncnerf.rendering.ray_samples import RaySamples, uniform_samples
from syncnerf_kplanes.options import ProposalConfig
from syncnerf_kplanes.proposal import ProposalResampler, distortion_loss, histogram_loss


def proposal_resampler(counts: str, **options) -> ProposalResampler:
    resolutions = ",".join("8" for _ in counts.split(","))
    sizes = {"proposal_samples": counts, "proposal_resolutions": resolutions, "field_samples": 16}
    return ProposalResampler(ProposalConfig(**sizes, **options))


def intervals(count: int, rays: int, seed: int) -> RaySamples:
    steps = torch.rand(rays, count + 1, generator=torch.Generator().manual_seed(seed)) + 0.02
    edges = steps.cumsum(dim=-1)
    return RaySamples(2 + 4 * (edges - edges[:, :1]) / (edges[:, -1:] - edges[:, :1]))


def some_weights(rays: int, count: int, seed: int) -> torch.Tensor:
    weights = torch.rand(rays, count, generator=torch.Generator().manual_seed(seed)).pow(3)
    return 0.9 * weights / weights.sum(dim=-1, keepdim=True)


def slow_histogram_loss(edges, weights, level_edges, level_weights) -> float:
    """mip-NeRF 360, equations 12 and 13: the bound sums every proposal interval that overlaps."""
    losses = []
    for ray in range(len(edges)):
        loss = 0.0
        for i in range(weights.shape[1]):
            low, high = edges[ray, i], edges[ray, i + 1]
            bound = sum(
                level_weights[ray, j]
                for j in range(level_weights.shape[1])
                if level_edges[ray, j] < high and level_edges[ray, j + 1] > low
            )
            loss += max(0.0, weights[ray, i] - bound) ** 2 / (weights[ray, i] + 1e-5)
        losses.append(loss)
    return float(np.mean(losses))


@pytest.mark.parametrize("seed", range(4))
def test_histogram_loss_is_the_papers(seed):
    samples, level = intervals(7, 5, seed), intervals(11, 5, 50 + seed)
    if seed == 3:
        level = RaySamples(samples.edges.clone())  # the same edges: neighbours that only touch must not count
    weights, level_weights = some_weights(5, 7, seed), 0.6 * some_weights(5, level.lengths.shape[1], 90 + seed)
    level_weights.requires_grad_()
    weights.requires_grad_()
    loss = histogram_loss(samples, weights, level, level_weights)
    arrays = (samples.edges, weights, level.edges, level_weights)
    expected = slow_histogram_loss(*(part.detach().double().numpy() for part in arrays))
    assert expected > 0
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    loss.backward()
    assert weights.grad is None
    assert level_weights.grad.abs().max() > 0


def test_histogram_loss_is_zero_for_a_proposal_that_bounds_the_field():
    samples, level = intervals(24, 3, 0), intervals(6, 3, 1)
    fine = some_weights(3, 24, 2)
    cumulative = torch.cat([torch.zeros(3, 1), fine.cumsum(dim=-1)], dim=-1)
    bound = torch.zeros(3, 6)
    for ray in range(3):
        for j in range(6):
            touches = (samples.edges[ray, :-1] < level.edges[ray, j + 1]) & (
                samples.edges[ray, 1:] > level.edges[ray, j]
            )
            bound[ray, j] = fine[ray][touches].sum()
    assert cumulative[:, -1].min() > 0
    assert histogram_loss(samples, fine, level, bound).item() == pytest.approx(0.0, abs=1e-9)


def test_distortion_loss_is_the_papers_double_sum():
    samples, weights = intervals(9, 6, 3), some_weights(6, 9, 4)
    expected = []
    for ray in range(6):
        edges = (
            (samples.edges[ray] - samples.edges[ray, 0]) / (samples.edges[ray, -1] - samples.edges[ray, 0])
        ).numpy()
        w, middles = weights[ray].numpy(), (edges[1:] + edges[:-1]) / 2
        pairs = sum(w[i] * w[j] * abs(middles[i] - middles[j]) for i in range(9) for j in range(9))
        expected.append(pairs + np.sum(w**2 * np.diff(edges)) / 3)
    assert distortion_loss(samples, weights).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_distortion_gradient_is_that_of_finite_differences():
    samples = intervals(6, 2, 5)
    samples.edges = samples.edges.double()
    weights = some_weights(2, 6, 6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda w: distortion_loss(samples, w), (weights,))


def test_resampling_finds_a_surface():
    """After two proposals the samples crowd around a thin shell that uniform samples hardly meet."""
    near, far = torch.full((50,), 2.0), torch.full((50,), 6.0)
    surface = torch.linspace(2.5, 5.5, 50)[:, None]

    def shell(samples: RaySamples) -> torch.Tensor:
        return 50.0 * ((samples.middles - surface).abs() < 0.15).float()

    sampler = proposal_resampler("64,32", anneal_steps=100, proposal_warmup=100)
    sampler.before_step(1000)
    first = uniform_samples(near, far, 64, None, disparity=False)
    samples, levels = sampler(first, [shell, shell], None)
    assert samples.middles.shape == (50, 16)
    assert [level[0].middles.shape[1] for level in levels] == [64, 32]
    assert ((samples.middles - surface).abs() < 0.25).float().mean() > 0.8
    for level, weights in levels:
        torch.testing.assert_close(weights, render_weights(shell(level), level.lengths))


def test_annealing_and_update_rhythm_are_functions_of_the_step():
    """mip-NeRF 360, equation 18 with slope 10; every step trains at first, every fifth after the warm-up."""
    sampler = proposal_resampler("64", anneal_steps=1000, proposal_warmup=500)
    for step in (2000, 0, 250, 1000, 0):
        sampler.before_step(step)
        share = min(step / 1000, 1.0)
        assert sampler.anneal.item() == pytest.approx(10 * share / (9 * share + 1))
    early, late = [], []
    for step in range(50):
        sampler.before_step(step)
        early.append(sampler.trains)
    for step in range(1000, 1050):
        sampler.before_step(step)
        late.append(sampler.trains)
    assert all(early)
    assert sum(late) == 10
