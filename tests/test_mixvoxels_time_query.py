"""MixVoxels' time queries: waves and latents."""

import pytest
import torch

from syncnerf_mixvoxels.time_query import TimeLatents, TimeWaves


@pytest.mark.parametrize("kind", ["waves", "latents"])
def test_queries_are_of_unit_length_and_finite_everywhere(kind):
    torch.manual_seed(0)
    query = TimeWaves(10, 32) if kind == "waves" else TimeLatents(20, 32)
    times = torch.tensor([-5.0, -1e-9, 0.0, 0.31, 1.0, 1.0 + 1e-9, 40.0], dtype=torch.float64, requires_grad=True)
    queries = query(times)
    torch.testing.assert_close(queries.norm(dim=-1), torch.ones(7))
    (gradient,) = torch.autograd.grad(queries[:, 0].sum(), times)
    assert torch.isfinite(gradient).all()
    assert (gradient[2:4] != 0).all()


def test_latents_are_the_frames_own_and_mixed_between():
    torch.manual_seed(0)
    query = TimeLatents(5, 8)
    unit = torch.nn.functional.normalize(query.latents, dim=-1)
    torch.testing.assert_close(query(torch.linspace(0, 1, 5, dtype=torch.float64)), unit)
    mixed = torch.nn.functional.normalize(0.75 * query.latents[1] + 0.25 * query.latents[2], dim=-1)
    torch.testing.assert_close(query(torch.tensor([1.25 / 4], dtype=torch.float64))[0], mixed)
    torch.testing.assert_close(query(torch.tensor([-3.0, 9.0], dtype=torch.float64)), unit[[0, 4]])


def test_waves_open_one_after_the_other():
    torch.manual_seed(0)
    query = TimeWaves(8, 8)
    # A period of the fifth wave apart, of which neither the third nor the fourth has a whole number.
    late = torch.tensor([0.2, 0.2 + 2 / 5], dtype=torch.float64)
    query.set_sharpness(0.0)
    torch.testing.assert_close(*query(late))
    with torch.no_grad():  # the fifth alone: its sine and its cosine
        query.linear.weight[:, [1, 2, 3, 4, 9, 10, 11, 12]] = 0.0
    query.set_sharpness(4.0)
    torch.testing.assert_close(*query(late + torch.tensor([0.0, 0.1], dtype=torch.float64)))
    query.set_sharpness(5.0)
    torch.testing.assert_close(*query(late))
    assert (query(late[:1]) - query(late[:1] + 0.1)).abs().max() > 1e-3


def test_at_first_moments_four_frames_apart_have_little_in_common():
    torch.manual_seed(0)
    queries = TimeWaves(32, 64)(torch.linspace(0, 1, 65, dtype=torch.float64))
    alike = (queries @ queries.T).abs()
    assert torch.linalg.matrix_rank(queries, rtol=0.02) > 32
    apart = (torch.arange(65)[:, None] - torch.arange(65)).abs()
    assert alike[apart >= 4].mean() < 0.2 < alike[apart == 1].mean()
