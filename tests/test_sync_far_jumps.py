"""Clocks that jump by half a second: what a lag leaves unexplained has another one."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from moving_spheres import Spheres, sphere_scene
from spliced_films import OFFSETS, shown

from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Scene
from syncnerf.sync import PairLag, SyncResult, synchronize
from syncnerf.sync.comparison import Comparison
from syncnerf.sync.drift import WindowLags
from syncnerf.sync.far_jumps import far_jumps, rest_landscape
from syncnerf.sync.frame_products import frame_products
from syncnerf.sync.jumps import clock_wander, offsets_in_windows
from syncnerf.sync.landscape import Landscape, Peak
from syncnerf.sync.pieces import pieces_of


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    made = sphere_scene(tmp_path_factory.mktemp("spheres"), OFFSETS, frames=75, spheres=Spheres(6, 3), size=(84, 72))
    made.frame_cache.prepare(made.cameras)
    return made


@pytest.mark.parametrize("at", [15, 20, 25, 38])
@pytest.mark.parametrize("kind", ["left out", "held"])
def test_half_a_second_lost_or_held_is_never_sure(scene, kind, at):
    """The file knows nothing of 15 frames, or shows one for 15 and goes on late: it has two offsets."""
    frames = np.arange(75)
    if kind == "left out":
        frames = np.delete(frames, np.arange(at, at + 15))
    else:
        frames = np.concatenate([frames[:at], np.full(15, at), frames[at:]])
    odd = shown(scene, "cam02", frames)
    result = synchronize(odd, audio="off")
    others = [camera for camera in range(6) if camera != 2]
    error = align_gauge(result.offsets, odd.true_offsets).abs() * 30
    assert float(error[others].max()) < 0.15
    assert result.verdicts["cam02"] != "sure"
    assert {result.verdicts[f"cam0{camera}"] for camera in others} == {"sure"}
    if result.verdicts["cam02"] == "check":
        assert "by 0.500 s" in result.warnings["cam02"]
        assert float(error[2]) < 3 * float(result.stderr[2]) * 30


JUMPS = [(3, "cam02", 25), (7, "cam02", 20)]


@pytest.mark.parametrize(("seed", "name", "at"), JUMPS)
def test_a_jump_in_the_middle_is_told_by_four_cameras(tmp_path, seed, name, at):
    """Half of the camera's video says one thing and half another, so that few of its three pairs are distinct."""
    spheres = Spheres(6, seed)
    scene = sphere_scene(tmp_path, OFFSETS[:4], frames=75, spheres=spheres, size=(84, 72))
    scene.frame_cache.prepare(scene.cameras)
    assert set(synchronize(scene, audio="off").verdicts.values()) == {"sure"}
    odd = shown(scene, name, np.delete(np.arange(75), np.arange(at, at + 15)))
    result = synchronize(odd, audio="off")
    assert "by 0.500 s" in result.warnings[name]
    error = align_gauge(result.offsets, odd.true_offsets).abs()
    assert float(error[scene.index_of(name)]) < 3 * float(result.stderr[scene.index_of(name)])


@pytest.mark.parametrize(("order", "name"), [((1, 0), "cam04"), ((1, 2, 0), "cam02"), ((2, 0, 1), "cam04")])
def test_pieces_in_a_wrong_order_are_never_sure(scene, order, name):
    """Two thirds that belong together are one clock; the last one is at the file's other end."""
    pieces = np.array_split(np.arange(75), len(order))
    odd = shown(scene, name, np.concatenate([pieces[piece] for piece in order]))
    result = synchronize(odd, audio="off")
    assert result.verdicts == dict.fromkeys(scene.names, "sure") | {name: "check"}
    assert "by 2.500 s (frames lost, or its file joined of pieces?)" in result.warnings[name]


def test_what_a_lag_does_not_explain_has_another():
    """Signals that are alike 3 samples later up to the middle, and 18 later from there on."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(30, 120, generator=generator), torch.randn(30, 140, generator=generator)
    second[:, 3:63], second[:, 78:138] = first[:, :60], first[:, 60:]
    known = torch.ones(120, dtype=torch.bool), torch.ones(140, dtype=torch.bool)
    peak = Peak(3.0, 0.1, 9.0, 9.0)
    products = frame_products(first, second, 3.0, 1.0)
    land = rest_landscape((4, 7), (first, second), known, peak, products)
    assert (land.first, land.second) == (4, 7)
    assert float(land.lags[land.values.argmax()]) == 18.0
    assert float(land.values.max()) > 0.9
    second[:, 63:123] = first[:, 60:]
    products = frame_products(first, second, 3.0, 1.0)
    assert rest_landscape((4, 7), (first, second), known, peak, products) is None


def rests(height: float, overlap: int, seed: int) -> list[Comparison]:
    """Of camera 0 with four others at no lag: noise at every change, and so many deviations of all at one of them."""
    generator = torch.Generator().manual_seed(seed)
    shifts, found = torch.arange(-30, 31), []
    for other in range(1, 5):
        values = torch.randn(61, generator=generator).double()
        values[shifts == 15] = height / 2
        land = Landscape(0, other, shifts.double(), 0.3 * values / overlap**0.5, torch.full((61,), overlap))
        found.append(Comparison(0, other, None, None, "", rest=land))
    return found


def solved(count: int) -> SyncResult:
    offsets = torch.zeros(count, dtype=torch.float64)
    pairs = [PairLag(0, other, 0.0, 0.1, 9.0, 0.0, "") for other in range(1, count)]
    return SyncResult(list("abcdefg"[:count]), 0, "epipolar", offsets, offsets + 0.01, pairs, [])


STANDING_OUT = [(8, 6.5, False), (8, 14.0, True), (16, 8.5, True), (16, 3.5, False)]


@pytest.mark.parametrize(("overlap", "height", "told"), STANDING_OUT)
def test_a_jump_that_few_samples_tell_must_stand_out_more(overlap, height, told):
    found = torch.stack([far_jumps(solved(5), rests(height, overlap, seed)) for seed in range(20)])
    expected = torch.tensor([15.0 if told else 0.0, 0, 0, 0, 0], dtype=torch.float64)
    assert int((found == expected).all(1).sum()) >= 16


@pytest.mark.parametrize(("alike", "told"), [(4, True), (3, True), (2, False), (1, False)])
def test_a_jump_shows_in_all_that_a_camera_is_compared_with(alike, told):
    """However much two cameras alone agree on: they may see a step like another one, or the other's clock jumps."""
    agreeing = []
    for seed in range(20):
        found = rests(0.0, 16, seed)
        for place, comparison in enumerate(found):
            comparison.rest.values[45] = 0.3 / 4 * (16.0 / alike if place < alike else 0.0)
        agreeing.append(bool(far_jumps(solved(5), found)[0] == 15.0))
    assert sum(agreeing) >= 16 if told else sum(agreeing) == 0


def filmed(jump: int, lost: int, share: float, seed: int) -> list[Comparison]:
    """Of camera 0 with three others: signals alike at no lag up to ``jump``, and from there on ``lost`` samples later.

    Args:
        jump: sample of camera 0 at which it jumps.
        lost: samples that it lacks there.
        share: of each signal that all see alike.
        seed: of the signals.
    """
    generator = torch.Generator().manual_seed(seed)
    seen = torch.randn(20, 80, generator=generator)
    known, found = (torch.ones(80 - lost, dtype=torch.bool), torch.ones(80, dtype=torch.bool)), []

    def view() -> torch.Tensor:
        return share * seen + (1 - share**2) ** 0.5 * torch.randn(seen.shape, generator=generator)

    for other in range(1, 4):
        one = torch.cat([view()[:, :jump], view()[:, jump + lost :]], dim=1)
        two = view()
        sides = pieces_of((0, other), one, two, known, 0.5, 0.0), pieces_of((other, 0), two, one, known[::-1], 0.5, 0.0)
        found.append(Comparison(0, other, None, None, "", pieces=sides))
    return found


@pytest.mark.parametrize(("jump", "lost", "change"), [(50, 15, 7.5), (45, 15, 7.5), (50, 0, 0.0), (30, 0, 0.0)])
def test_a_piece_of_a_video_with_an_offset_of_its_own_is_a_jump(jump, lost, change):
    """The found offset is right for the first part: the last piece agrees ``lost`` samples later."""
    jumps = torch.stack([far_jumps(solved(4), filmed(jump, lost, 0.5, seed)) for seed in range(20)])
    assert int((jumps[:, 0] == change).sum()) >= 19
    assert int((jumps[:, 1:] == 0).all(1).sum()) >= 19


def test_a_motion_that_is_done_again_where_no_other_camera_moves_is_no_jump():
    """Camera 0 alone shows the last fifth, which looks like something before; the other three stand still by then."""
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        seen = torch.randn(20, 80, generator=generator)
        ended = torch.arange(80) < 64
        found = []
        for other in range(1, 4):
            one, two = (0.8 * seen + 0.6 * torch.randn(seen.shape, generator=generator) for _ in range(2))
            one[:, 64:] = 0.8 * seen[:, 25:41] + 0.6 * torch.randn(20, 16, generator=generator)
            side = pieces_of((0, other), one, two * ended, (torch.ones(80, dtype=torch.bool), ended), 0.5, 0.0)
            found.append(Comparison(0, other, None, None, "", pieces=(side,)))
        assert not far_jumps(solved(4), found).any()


def test_what_a_camera_filmed_before_the_others_began_is_no_jump():
    """Camera 0 begins 6 samples early, so of its first quarter the others show 9, too few; it is done again later."""
    result, known = solved(4), (torch.ones(60, dtype=torch.bool),) * 2
    offsets = torch.tensor([-3.0, 0, 0, 0], dtype=torch.float64)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        seen, found = torch.randn(20, 66, generator=generator), []
        seen[:, 42:57] = seen[:, :15]
        views = [0.8 * seen + 0.6 * torch.randn(seen.shape, generator=generator) for _ in range(4)]
        for other in range(1, 4):
            side = pieces_of((0, other), views[0][:, :60], views[other][:, 6:], known, 0.5, 0.0)
            found.append(Comparison(0, other, None, None, "", pieces=(side,)))
        assert not far_jumps(replace(result, offsets=offsets), found).any()


@pytest.mark.parametrize(("everywhere", "told"), [(True, 0.0), (False, 20.0)])
def test_a_scene_that_repeats_makes_no_clock_jump(everywhere, told):
    """Camera 0 alone sees what is done at first, and all see it done again 40 samples later, as all else or alone."""
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        seen = torch.randn(20, 80, generator=generator)
        seen[:, 40 : 80 if everywhere else 56] = seen[:, : 40 if everywhere else 16]
        views = [0.8 * seen + 0.6 * torch.randn(seen.shape, generator=generator) for _ in range(4)]
        for view in views[1:]:
            view[:, :16] = torch.randn(20, 16, generator=generator)
        known, found = (torch.ones(80, dtype=torch.bool),) * 2, []
        for one, other in itertools.combinations(range(4), 2):
            pair = one, other
            sides = [pieces_of(own, *(views[c] for c in own), known, 0.5, 0.0) for own in (pair, pair[::-1])]
            found.append(Comparison(one, other, None, None, "", pieces=tuple(sides)))
        jumps = far_jumps(solved(4), found)
        assert float(jumps[0].abs()) == told
        assert not jumps[1:].any()


def test_pieces_are_correlated_as_whole_signals_are():
    """Against correlations of the pieces one by one, at some shifts."""
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(9, 60, generator=generator), torch.randn(9, 70, generator=generator)
    known = torch.rand(60, generator=generator) > 0.1, torch.rand(70, generator=generator) > 0.1
    one, two = one * known[0], two * known[1]
    found = pieces_of((2, 5), one, two, known, 0.5, 0.25)
    for index, piece in enumerate([range(12), range(15), range(20), range(25), range(30)]):
        for shift in (-3, 0, 11):
            column = int((found.lags - (0.5 * shift + 0.25)).abs().argmin())
            places = [t for t in piece if 0 <= t + shift < 70 and known[0][t] and known[1][t + shift]]
            first, second = one[:, places], two[:, [t + shift for t in places]]
            expected = float((first * second).sum() / (first.square().sum() * second.square().sum()).sqrt())
            enough = len(places) >= 10
            assert int(found.overlap[index, column]) == (len(places) if enough else 0)
            assert float(found.values[index, column]) == pytest.approx(expected if enough else 0.0, abs=1e-6)


def test_pieces_of_long_videos_are_left_to_windows_of_time():
    """What would be as large as the square of an hour's frames is never made."""
    long, short = torch.randn(1, 3001), torch.randn(1, 60)
    known = torch.ones(3001, dtype=torch.bool), torch.ones(60, dtype=torch.bool)
    assert pieces_of((0, 1), long, short, known, 0.1, 0.0) is None
    assert pieces_of((1, 0), short, long, known[::-1], 0.1, 0.0) is None
    assert pieces_of((0, 1), long[:, 1:], short, (known[0][1:], known[1]), 0.1, 0.0) is not None


@pytest.mark.parametrize(("jumping", "doubted"), [(1, 1), (2, 2), (3, 15)])
def test_where_a_fifth_of_the_clocks_jump_none_is_steady(jumping, doubted):
    """Fifteen clocks, of which some lose a frame after half of the time: so may the others have, which they judge."""
    late = torch.zeros(15, dtype=torch.float64)
    late[:jumping] = 1 / 30
    pairs, first, second = [], *torch.triu_indices(15, 15, 1)
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        lags = torch.stack([torch.zeros(2), (late[i] - late[j]).expand(2)]).flatten().double()
        deviations = torch.full((4,), 1e-3, dtype=torch.float64)
        pairs.append((i, j, WindowLags(torch.arange(4.0).double(), lags, deviations, 0.0, 60)))
    zeros = torch.zeros(15, dtype=torch.float64)
    wander = clock_wander(offsets_in_windows(pairs, zeros, zeros, 1 / 30), zeros, 1 / 30)
    assert int((wander > 0).sum()) == doubted
    torch.testing.assert_close(wander[wander > 0], torch.full((doubted,), 1 / 30, dtype=torch.float64))


def test_of_three_clocks_the_one_that_loses_frames_stands_out():
    """Three lags for two unknowns: the first camera's both differ, and the third is as it was."""
    late = torch.tensor([4 / 30, 0.0, 0.0], dtype=torch.float64)
    deviations = torch.full((4,), 0.4 / 30, dtype=torch.float64)
    pairs = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        lags = torch.stack([torch.zeros(2), (late[i] - late[j]).expand(2)]).flatten().double()
        pairs.append((i, j, WindowLags(torch.arange(4.0).double(), lags, deviations, 0.0, 60)))
    zeros = torch.zeros(3, dtype=torch.float64)
    found = offsets_in_windows(pairs, zeros, zeros, 1 / 30).found
    assert found[:2].abs().max() == 0
    torch.testing.assert_close(found[2:], late.expand(2, 3), atol=1e-6, rtol=0)
