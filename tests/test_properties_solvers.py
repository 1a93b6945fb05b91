"""Solvers find what was planted, whatever the cameras' number, order and pairs (hypothesis)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from syncnerf.camera_times import ClockSpan
from syncnerf.clock import Clock
from syncnerf.config import OffsetsConfig
from syncnerf.rendering.compositing import render_weights
from syncnerf.rendering.space import contract
from syncnerf.scene.rays import Rays, clip_to_box
from syncnerf.sync.offsets import fit_offsets
from syncnerf.sync.solve import Lags, connected, inner_inverse, offset_design

few = settings(max_examples=40, derandomize=True, deadline=None, database=None)
SECONDS = st.floats(-50.0, 50.0)


@pytest.fixture(scope="module", autouse=True)
def all_numbers():
    """Commands that ran in this process before have numbers next to zero taken for zero; hypothesis draws them too."""
    torch.set_flush_denormal(False)


@st.composite
def rigs(draw) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """True offsets of some cameras, float64 [C], and pairs of them that connect all: a random tree, and more."""
    count = draw(st.integers(2, 8))
    offsets = torch.tensor(draw(st.lists(SECONDS, min_size=count, max_size=count)), dtype=torch.float64)
    order = draw(st.permutations(range(count)))
    pairs = [(order[k], order[draw(st.integers(0, k - 1))]) for k in range(1, count)]
    others = [(i, j) for i in range(count) for j in range(i) if (i, j) not in pairs and (j, i) not in pairs]
    return offsets, pairs + (draw(st.lists(st.sampled_from(others), unique=True)) if others else [])


def lags_of(offsets: torch.Tensor, pairs: list[tuple[int, int]]) -> Lags:
    first, second = torch.tensor(pairs).unbind(-1)
    values = offsets[first] - offsets[second]
    return Lags(first, second, values, torch.full_like(values, 0.01))


@few
@given(rig=rigs(), data=st.data())
def test_offsets_without_noise_are_found_exactly(rig, data):
    offsets, pairs = rig
    reference = data.draw(st.integers(0, len(offsets) - 1))
    found = fit_offsets(lags_of(offsets, pairs), len(offsets), reference)
    assert found.known.all()
    assert found.used.all()
    torch.testing.assert_close(found.offsets, offsets - offsets[reference], atol=1e-8, rtol=0)


@few
@given(rig=rigs(), data=st.data())
def test_cameras_and_pairs_may_come_in_any_order(rig, data):
    offsets, pairs = rig
    count = len(offsets)
    noise = torch.tensor(data.draw(st.lists(st.floats(-0.01, 0.01), min_size=len(pairs), max_size=len(pairs))))
    lags = lags_of(offsets, pairs)
    lags = Lags(lags.first, lags.second, lags.values + noise.double(), lags.deviations)
    place = torch.tensor(data.draw(st.permutations(range(count))))
    turn = torch.tensor(data.draw(st.permutations(range(len(pairs)))))
    moved = Lags(place[lags.first][turn], place[lags.second][turn], lags.values[turn], lags.deviations[turn])
    plain, other = fit_offsets(lags, count, 0), fit_offsets(moved, count, int(place[0]))
    torch.testing.assert_close(other.offsets[place], plain.offsets, atol=1e-7, rtol=0)
    torch.testing.assert_close(other.covariance[place][:, place], plain.covariance, atol=1e-9, rtol=1e-6)


@few
@given(rig=rigs(), wrong=st.floats(3.0, 40.0), data=st.data())
def test_one_wrong_lag_among_all_pairs_changes_nothing(rig, wrong, data):
    offsets, _ = rig
    count = len(offsets)
    if count < 5:  # fewer cameras do not outvote it
        return
    pairs = [(i, j) for i in range(count) for j in range(i)]
    lags = lags_of(offsets, pairs)
    values = lags.values.clone()
    bad = data.draw(st.integers(0, len(pairs) - 1))
    values[bad] += wrong
    found = fit_offsets(Lags(lags.first, lags.second, values, lags.deviations), count, 0)
    torch.testing.assert_close(found.offsets, offsets - offsets[0], atol=1e-7, rtol=0)
    assert not found.used[bad]


@few
@given(rig=rigs(), data=st.data())
def test_what_hangs_together_is_found(rig, data):
    offsets, pairs = rig
    count = len(offsets)
    kept = data.draw(st.lists(st.sampled_from(pairs), unique=True))
    start = data.draw(st.integers(0, count - 1))
    reached = {start}
    for _ in range(count):
        reached |= {i for pair in kept for i in pair if reached & set(pair)}
    first, second = torch.tensor(kept or [(start, start)]).unbind(-1)
    assert set(connected(first, second, count, start).nonzero()[:, 0].tolist()) == reached


@few
@given(rig=rigs())
def test_the_inner_inverse_of_a_rig_is_its_pseudo_inverse(rig):
    offsets, pairs = rig
    design = offset_design(lags_of(offsets, pairs), len(offsets))
    normal = design.T @ design
    inverse = inner_inverse(normal, torch.ones(1, len(offsets), dtype=torch.float64))
    np.testing.assert_allclose(inverse.numpy(), np.linalg.pinv(normal.numpy()), atol=1e-9)


@few
@given(data=st.data())
def test_a_clock_keeps_the_order_of_times_and_reports_what_it_adds(data):
    """Whatever offsets and rates it holds, corrected times follow the frames', and the offsets are what was added."""
    count = data.draw(st.integers(2, 5))
    lengths = torch.tensor(data.draw(st.lists(st.floats(0.5, 90.0), min_size=count, max_size=count))).double()
    clock = Clock(OffsetsConfig(), ClockSpan(torch.zeros(count).double(), lengths, 0.04), 0, steps=100)
    numbers = st.lists(st.floats(-2.0, 2.0), min_size=count, max_size=count)
    with torch.no_grad():
        clock.shifts.copy_(torch.tensor(data.draw(numbers)))
    cameras = torch.arange(count)
    times = torch.linspace(0.0, 1.0, 7).double() * lengths[:, None]
    moments = clock(cameras, times)
    assert (moments.diff(dim=1) > 0).all()
    assert clock.offsets()[0] == 0.0
    torch.testing.assert_close(moments, clock.moments(times + clock.offsets()[:, None]), atol=1e-9, rtol=0)


@few
@given(st.lists(st.tuples(st.floats(0.0, 1e6), st.floats(0.0, 10.0)), min_size=1, max_size=20))
def test_weights_along_a_ray_are_shares_of_its_light(steps):
    densities, lengths = torch.tensor(steps, dtype=torch.float64).unbind(-1)
    weights = render_weights(densities, lengths)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(), -torch.expm1(-(densities * lengths).sum()), atol=1e-12, rtol=0)


@few
@given(st.lists(st.tuples(*3 * [st.floats(-1e6, 1e6)]), min_size=1, max_size=10))
def test_contracted_points_keep_their_direction_and_come_back(points):
    points = torch.tensor(points, dtype=torch.float64)
    norm = points.abs().amax(dim=-1, keepdim=True)
    found = contract(points)
    assert (found.abs() <= 2.0).all()
    inner = found.abs().amax(dim=-1, keepdim=True)
    back = torch.where(inner <= 1.0, found, found / inner / (2.0 - inner).clamp_min(1e-300))
    near = (norm <= 1e3)[:, 0]  # beyond, the way back magnifies rounding
    torch.testing.assert_close(back[near], points[near], atol=1e-9, rtol=1e-9)


@few
@given(data=st.data())
def test_a_ray_is_in_the_box_just_between_where_it_enters_and_leaves(data):
    triple = st.tuples(*3 * [st.floats(-3.0, 3.0)])
    origin = torch.tensor([data.draw(triple)], dtype=torch.float64)
    towards = torch.tensor([data.draw(triple)], dtype=torch.float64)
    if float((towards - origin).norm()) < 1e-3:
        return
    direction = torch.nn.functional.normalize(towards - origin, dim=-1)
    bounds = torch.tensor([[-1.0, -0.5, -2.0], [1.0, 1.5, 0.5]], dtype=torch.float64)
    rays = Rays(origin, direction, torch.zeros(1).double(), torch.full((1,), 20.0).double())
    enter, leave = clip_to_box(rays, bounds)
    distances = torch.linspace(0.0, 20.0, 801, dtype=torch.float64)
    points = origin + distances[:, None] * direction
    depth = torch.minimum(points - bounds[0], bounds[1] - points).amin(dim=-1)
    assert ((distances >= enter) & (distances <= leave))[depth > 1e-6].all()
    # A ray that misses leaves where it enters: nothing lies between.
    assert not ((distances > enter) & (distances < leave))[depth < -1e-6].any()
