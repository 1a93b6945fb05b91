"""The clock: the gauge holds, times keep their place, the schedule is the step's alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from syncnerf.camera_times import ClockSpan
from syncnerf.clock import Clock
from syncnerf.clock_prior import ClockStart
from syncnerf.config import OffsetsConfig
from syncnerf.evaluation.offset_errors import align_gauge

ALL = ("shifts", "skews", "row_times")
"""Everything of a clock that can be learned."""


def double(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def make_clock(
    config: OffsetsConfig | None = None,
    start: ClockStart | list[float] | None = None,
    reference: int = 0,
    steps: int = 10,
    untrained: tuple[int, ...] = (),
    row_times: list[float] | None = None,
    lengths: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> Clock:
    """Three cameras (or as many as there are lengths) at 10 frames per second."""
    last = torch.tensor(lengths, dtype=torch.float64)
    span = ClockSpan(torch.zeros_like(last), last, 0.1)
    if isinstance(start, list):
        start = ClockStart(torch.tensor(start, dtype=torch.float64))
    rows = None if row_times is None else torch.tensor(row_times, dtype=torch.float64)
    return Clock(config or OffsetsConfig(), span, reference, steps, start, untrained, rows)


def test_readout_times_do_not_wait_with_what_only_needs_refining():
    config = OffsetsConfig(offset_rates="learn", rolling_shutter="learn", offset_refine_start=0.4, offset_freeze=0.9)
    clock, moved = make_clock(config, [0.0, 0.1, 0.2], steps=100), {}
    for step in (0, 39, 40, 89, 90):
        clock.before_step(step)
        moved[step] = clock.moving
    assert moved == {0: ("row_times",), 39: ("row_times",), 40: ALL, 89: ALL, 90: ()}
    # A start that comes with errors keeps everything until the first reckoning.
    known = ClockStart(double([0.0, 0.1, 0.2]), covariance=1e-4 * torch.eye(3, dtype=torch.float64))
    held = make_clock(config, known, steps=100)
    held.before_step(10)
    assert held.moving == ()
    held.hold_by(1e-3)
    held.before_step(11)
    assert held.moving == ("row_times",)
    assert held.penalties() == {}
    later = make_clock(replace(config, offset_start=0.2), [0.0, 0.1, 0.2], steps=100)
    later.before_step(19)
    assert later.moving == ()


def scene_times(clock: Clock, coordinates: torch.Tensor) -> torch.Tensor:
    """The inverse of ``moments``, found from two moments: the map is a line."""
    zero, one = clock.moments(torch.tensor([0.0, 1.0], dtype=torch.float64))
    return (coordinates - zero) / (one - zero)


def test_starting_offsets_are_taken_relative_to_the_reference():
    starts = torch.tensor([0.2, 0.7, -0.1], dtype=torch.float64)
    clock = make_clock(start=ClockStart(starts), reference=1)
    assert clock.offsets().tolist() == pytest.approx([-0.5, 0.0, -0.8])
    assert clock.offsets()[1].item() == 0.0
    assert starts.tolist() == [0.2, 0.7, -0.1]
    torch.testing.assert_close(make_clock(start=ClockStart(starts + 3.0), reference=1).offsets(), clock.offsets())
    unknown = make_clock(start=[0.2, 0.7, torch.nan], reference=1)
    assert unknown.offsets().tolist() == pytest.approx([-0.5, 0.0, 0.0])


def test_corrected_times_are_the_cameras_own_plus_their_offset():
    clock = make_clock(start=[0.0, 0.25, -0.5])
    cameras, times = torch.tensor([2, 0, 1, 2]), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    expected = torch.tensor([-0.4, 0.2, 0.55, -0.1], dtype=torch.float64)
    torch.testing.assert_close(clock(cameras, times), clock.moments(expected))
    torch.testing.assert_close(scene_times(clock, clock(cameras, times)), expected)
    series = times[:, None] + torch.tensor([0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(clock(cameras, series)[:, 1], clock(cameras, times + 1.0))
    assert clock(cameras, times).dtype == torch.float64


@pytest.mark.parametrize("untrained", [(), (2,)])
def test_time_is_rate_row_and_offset_in_one_formula(untrained):
    """Against the formula written out, whatever the reference's own rate in the field's time."""
    start = ClockStart(
        torch.tensor([0.3, 0.1, -0.2], dtype=torch.float64), torch.tensor([2e-4, -1e-4, 3e-4], dtype=torch.float64)
    )
    clock = make_clock(OffsetsConfig(offset_rates="learn"), start, 1, 10, untrained, [0.0, 0.02, -0.03])
    assert clock.rates()[1].item() == 0.0
    assert clock.offsets()[1].item() == 0.0
    pace = 1.0 - 1e-4
    assert clock.rates().tolist() == pytest.approx([(1 + 2e-4) / pace - 1, 0.0, (1 + 3e-4) / pace - 1], abs=1e-15)
    cameras, own = torch.tensor([0, 1, 2]), torch.tensor([0.4, 0.9, 1.0], dtype=torch.float64)
    rows = torch.tensor([0.25, -0.5, 0.5])
    exposed = own + rows.double() * torch.tensor([0.0, 0.02, -0.03], dtype=torch.float64)
    expected = (1.0 + clock.rates()) * exposed + clock.offsets()
    torch.testing.assert_close(scene_times(clock, clock(cameras, own, rows)), expected)
    with torch.no_grad():  # the field's time moves and stretches against the scene's: nothing changes for anyone
        clock.shifts += 0.7
        clock.skews += 0.01 * clock.halves
        clock.shifts += 0.01 * clock.middles
    torch.testing.assert_close(scene_times(clock, clock(cameras, own, rows))[1], exposed[1])
    if untrained:
        torch.testing.assert_close(scene_times(clock, clock(cameras, own, rows))[2], expected[2])


def test_the_fields_time_spans_every_corrected_frame_and_a_margin():
    late = make_clock(start=ClockStart(double([0.0, 3.0, -2.0]), covariance=1e-6 * torch.eye(3).double()))
    ends = late(torch.tensor([2, 1]), torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert -1 < ends[0] < -0.9
    assert 0.9 < ends[1] < 1
    assert late.first == pytest.approx(-2.2)  # two frames, far more than five standard errors
    assert late.last == pytest.approx(4.2)
    assert late.frame_count(0.1) == 65
    rough = make_clock(start=ClockStart(double([0.0, 3.0, -2.0]), covariance=0.01 * torch.eye(3).double()))
    assert rough.first == pytest.approx(-2.5)
    assert make_clock().first == pytest.approx(-0.125)
    off = make_clock(OffsetsConfig(offset_mode="off"), [0.0, 3.0, -2.0])
    assert (off.first, off.last) == pytest.approx((-0.05, 1.05))
    # A test camera that is known counts, one that is not does not.
    known = ClockStart(double([0.0, 1.0, 9.0]), covariance=torch.zeros(3, 3, dtype=torch.float64))
    assert make_clock(start=known, untrained=(2,)).last == pytest.approx(10.2)
    unknown = ClockStart(double([0.0, 1.0, torch.nan]), covariance=torch.zeros(3, 3, dtype=torch.float64))
    assert make_clock(start=unknown, untrained=(2,)).last == pytest.approx(2.2)


def test_what_leaves_the_fields_time_is_told():
    known = ClockStart(double([0.0, 0.0, 0.0]), covariance=torch.zeros(3, 3, dtype=torch.float64))
    clock = make_clock(start=known, untrained=(2,))
    assert clock.overrun().tolist() == [0.0, 0.0, 0.0]
    with torch.no_grad():
        clock.shifts[1] -= 0.5
        clock.shifts[2] -= 9.0
    assert clock.overrun().tolist() == pytest.approx([0.0, 0.3, 0.0])


def test_single_frames_lie_in_the_fields_time():
    """The field's time then reaches an eighth of a frame (0.0125 s) from each side of the frames' one moment."""
    clock = make_clock(lengths=(0.0, 0.0, 0.0))
    assert clock.overrun().tolist() == [0.0, 0.0, 0.0]
    with torch.no_grad():
        clock.shifts[1] += 0.05
    assert clock.overrun().tolist() == pytest.approx([0.0, 0.0375, 0.0])


def test_the_fields_time_is_in_the_checkpoint():
    first = make_clock(start=ClockStart(double([0.0, 3.0, -2.0]), covariance=torch.eye(3, dtype=torch.float64)))
    second = make_clock()
    second.load_state_dict(first.state_dict())
    times = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    assert torch.equal(first(torch.arange(3), times), second(torch.arange(3), times))
    with pytest.raises(RuntimeError, match="offset_mode was learn"):
        make_clock(OffsetsConfig(offset_mode="off")).load_state_dict(first.state_dict())


def test_gradients_reach_everything_that_is_learned():
    config = OffsetsConfig(offset_rates="learn", rolling_shutter="learn")
    clock = make_clock(config, [0.1, 0.0, 0.3], row_times=[0.01, 0.02, 0.0])
    times = torch.tensor([0.1, 0.7, 1.0], dtype=torch.float64, requires_grad=True)
    rows = torch.tensor([0.25, -0.5, 0.5])
    values = [*clock.unknowns.values(), times]

    def answer(shifts, skews, row_times, own):
        state = {"shifts": shifts, "skews": skews, "row_times": row_times}
        return torch.func.functional_call(clock, state, (torch.arange(3), own, rows))

    assert list(clock.unknowns) == ["shifts", "skews", "row_times"]
    assert torch.autograd.gradcheck(answer, values)


@pytest.mark.parametrize(("start", "freeze"), [(0.0, 1.0), (0.2, 0.5556), (0.5, 0.5), (0.0, 0.1)])
def test_start_and_freeze_are_functions_of_the_step(start, freeze):
    offsets = make_clock(OffsetsConfig(offset_start=start, offset_freeze=freeze), steps=90)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(0)).tolist()
    for step in order:
        offsets.before_step(step)
        assert offsets.shifts.requires_grad == (round(start * 90) <= step < round(freeze * 90))


@pytest.mark.parametrize("seconds", [1.0, 60.0])
def test_what_is_refined_moves_by_frames_and_what_is_sought_by_the_video(seconds):
    config = OffsetsConfig(offset_lr=0.01, offset_refine_lr=0.02)
    sought, refined = (make_clock(config, start, lengths=(seconds,) * 3) for start in (None, [0.0, 0.1, 0.2]))
    assert [group["lr"] for group in sought.param_groups()] == pytest.approx([0.01 * seconds])
    assert [group["lr"] for group in refined.param_groups()] == pytest.approx([0.02 * 0.1])


def test_offsets_that_only_need_refining_have_a_start_of_their_own_and_keep_it():
    config, initial = OffsetsConfig(offset_start=0.1, offset_refine_start=0.5), [0.0, 0.0, 0.0]
    offsets, resumed = make_clock(config, initial, steps=90), make_clock(config, steps=90)
    later = make_clock(OffsetsConfig(offset_start=0.6, offset_refine_start=0.5), initial, steps=90)
    for step in (9, 44, 45, 53, 54):
        resumed.before_step(step)
        assert resumed.shifts.requires_grad, "without initial offsets the other start holds"
        later.before_step(step)
        assert later.shifts.requires_grad == (step >= 54)
    resumed.load_state_dict(offsets.state_dict())
    for item in (offsets, resumed):
        for step in (46, 9, 44, 45):
            item.before_step(step)
            assert item.shifts.requires_grad == (step >= 45)


def test_penalty_is_the_mean_size_and_pulls_to_zero():
    offsets = make_clock(OffsetsConfig(offset_l1=0.5), [0.0, 0.3, -0.6])
    loss = offsets.penalties()["offset_l1"]
    assert loss.item() == pytest.approx(0.5 * 0.9 / 3)
    loss.backward()
    assert offsets.shifts.grad[1] > 0 > offsets.shifts.grad[2]
    assert make_clock().penalties() == {}


def test_gradient_statistics_tell_agreement_from_noise():
    offsets = make_clock()
    generator = torch.Generator().manual_seed(0)
    for _ in range(500):
        offsets.shifts.grad = torch.stack(
            [torch.zeros(()), torch.tensor(2.0), torch.randn((), generator=generator)]
        ).double()
        offsets.after_backward()
    (_, (mean, agreement), (_, noise)) = list(offsets.gradient_signal())
    assert mean == pytest.approx(2.0, rel=1e-3)
    assert agreement == pytest.approx(1.0, rel=1e-2)
    assert abs(noise) < 0.5


def test_only_cameras_that_are_not_trained_can_be_set():
    clock = make_clock(reference=1, untrained=(2,))
    clock.set_camera(2, 0.125, 1e-4)
    assert clock.offsets().tolist() == pytest.approx([0.0, 0.0, 0.125])
    assert clock.rates().tolist() == pytest.approx([0.0, 0.0, 1e-4])
    for trained in (0, 1):
        with pytest.raises(ValueError, match="trained"):
            clock.set_camera(trained, 0.5)


def test_gauge_alignment_subtracts_the_median_difference():
    generator = np.random.default_rng(0)
    for count in (3, 4, 9):
        truth, errors = generator.normal(size=count), generator.normal(size=count)
        expected = errors - np.median(errors)
        found = align_gauge(torch.from_numpy(truth + errors + 5.0), torch.from_numpy(truth))
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    unknown = align_gauge(torch.tensor([1.0, torch.nan, 3.0, 2.0]), torch.zeros(4))
    assert unknown.isnan().tolist() == [False, True, False, False]
    assert unknown[[0, 2, 3]].tolist() == [-1.0, 1.0, 0.0]
