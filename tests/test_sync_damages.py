"""Stillness and whole-image events carry no information: odd recordings come out right, or are called undetermined."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from moving_spheres import Spheres, sphere_scene
from odd_frames import Odd, OddFrames
from odd_recordings import damaged

import syncnerf.data
from syncnerf.evaluation.offset_errors import align_gauge
from syncnerf.scene import Scene, load_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.sync import SyncResult, synchronize
from syncnerf.sync.blending import RATES, Film, find_blending
from syncnerf.sync.cadence import find_cadence
from syncnerf.sync.correlation import condition, correlate, line_slices, smooth
from syncnerf.sync.division import divided
from syncnerf.sync.drift import window_lags
from syncnerf.sync.energy import motion_energy
from syncnerf.sync.frame_products import frame_products, told_by_both
from syncnerf.sync.informative import informative_intervals, refreshed_intervals, steady_frames
from syncnerf.sync.pulldown import EVEN_AMONG_EVEN, EVEN_AMONG_UNEVEN, find_pulldown

OFFSETS = [0.0, 0.11, -0.153, 0.07, 0.02, -0.21]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    made = sphere_scene(tmp_path_factory.mktemp("spheres"), OFFSETS, frames=66, spheres=Spheres(6, 3), size=(84, 72))
    made.frame_cache.prepare(made.cameras)
    return made


@pytest.fixture(scope="module")
def untouched(scene) -> SyncResult:
    return synchronize(scene)


KINDS_OF_EVENTS = [
    "one hangs", "all pause", "padded one", "padded all", "black start", "fade in", "cut", "lens cap", "flash",
    "flicker",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS_OF_EVENTS)
def test_stillness_and_events_move_no_offset(scene, untouched, kind):
    means = []
    plain = align_gauge(untouched.offsets, scene.true_offsets).abs().mean()
    for seed in (1, 2):
        odd = damaged(scene, kind, seed)
        result = synchronize(odd, audio="off")
        assert result.reasons == {}
        assert set(result.verdicts.values()) == {"sure"}
        error = align_gauge(result.offsets, odd.true_offsets).abs()
        means.append(error.mean())
        assert float(error.max()) < 0.12 / 30
        assert (error < 4 * result.stderr).all()
    # What one damage adds varies by chance: frames that are left out take good and bad ones along.
    assert float(torch.stack(means).mean() - plain) < 0.02 / 30


@pytest.mark.parametrize("lost", [[], [14]])
def test_a_frame_that_is_lost_in_the_middle_of_a_short_video_is_told(tmp_path, lost):
    offsets = [0.0, 0.011, -0.023, 0.031, 0.02, -0.017]
    scene = sphere_scene(tmp_path, offsets, frames=28, spheres=Spheres(6, 3), size=(84, 72))
    odds = {name: Odd(np.arange(28)) for name in scene.names}
    odds[scene.names[2]] = Odd(np.delete(np.arange(28), lost))
    cameras = [replace(camera, frame_count=len(odds[camera.name].shown)) for camera in scene.cameras]
    odd = replace(scene, cameras=tuple(cameras), frame_cache=OddFrames(scene, odds), _frames={})
    result = synchronize(odd, audio="off")
    assert [name for name, verdict in result.verdicts.items() if verdict != "sure"] == [scene.names[2]] * len(lost)


KINDS_OF_RATE = [
    "decimated", "decimated to 25", "decimated by each", "cadence", "telecine", "24 at 60", "blended to 60",
    "blended to 30", "blended to 25", "blended to 24",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS_OF_RATE)
def test_videos_of_another_rate_than_they_were_filmed_at(scene, kind):
    odd = damaged(scene, kind, seed=1)
    result = synchronize(odd, audio="off")
    # Frames of the recording, or of the file where it has fewer.
    frame = max(odd.frame_interval, scene.frame_interval)
    error = align_gauge(result.offsets, odd.true_offsets).abs() / frame
    sure = torch.tensor([verdict == "sure" for verdict in result.verdicts.values()])
    assert float(error[sure].max() if sure.any() else 0) < 0.25
    assert float(error.mean()) < 0.1
    assert (error < 3 * result.stderr / frame).all()


def test_a_loop_is_never_sure(scene):
    result = synchronize(damaged(scene, "looped", seed=1), audio="off")
    assert "sure" not in result.verdicts.values()
    assert any("repeats" in check.reason for check in result.checks.values())


def test_timestamps_go_before_what_motion_says_of_dropped_frames(scene):
    odd = damaged(scene, "decimated", seed=1)
    shown = [torch.from_numpy(odd.frame_cache.odd[c.name].shown).double() / 30 for c in odd.cameras]
    cameras = tuple(replace(c, fps=30.0, given_times=times) for c, times in zip(odd.cameras, shown, strict=True))
    result = synchronize(replace(odd, cameras=cameras, _frames={}), audio="off")
    error = align_gauge(result.offsets, odd.true_offsets).abs() * 30
    assert float(error.mean()) < 0.1
    assert (error < 3 * result.stderr * 30).all()


def test_film_shown_at_a_higher_rate_is_seen(scene):
    """Counted by hand: of five frames the fifth repeats the fourth, so that intervals 3, 8, ... show nothing."""
    amounts = 5 + torch.linspace(0, 8, 60).sin()
    totals = torch.where(torch.arange(60) % 5 == 3, 0.01, amounts)
    found = find_pulldown(totals)
    assert found.told.tolist() == [True, True, True, False, True]
    assert found.pace == pytest.approx(0.8)
    assert found.shown(10).tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10]
    assert found.film(totals[None, :10])[0].tolist() == totals[[0, 1, 2, 4, 5, 6, 7, 9]].tolist()
    # Shown first at frames 0 1 2 3 5 6 7 8 10, when 0.8 0 1 2 3 .. of the film's frames have passed.
    assert found.delay(10) == pytest.approx(np.mean([k - 0.8 * n for k, n in enumerate((0, 1, 2, 3, 5, 6, 7, 8, 10))]))
    # Twice as much after each repeat: frames were lost, not shown twice.
    assert find_pulldown(torch.where(torch.arange(60) % 5 == 4, 2 * totals, totals)) is None
    assert find_pulldown(amounts) is None
    # A fifth more: what moves fast hides how long it did, and the other videos decide.
    unclear = torch.where(torch.arange(60) % 5 == 4, 1.2 * totals, totals)
    assert find_pulldown(unclear).pace == pytest.approx(0.8)
    assert find_pulldown(unclear, EVEN_AMONG_UNEVEN) is None
    unclear = torch.where(torch.arange(60) % 5 == 4, 1.45 * totals, totals)
    assert find_pulldown(unclear) is None
    assert find_pulldown(unclear, EVEN_AMONG_EVEN).pace == pytest.approx(0.8)
    film = damaged(scene, "telecine", seed=1)
    assert all(motion_energy(film.frame_cache.open(camera)).pace == pytest.approx(0.8) for camera in film.cameras)


def test_frames_that_are_held_for_two_and_three_are_film():
    """A A A B B C C C D D ...: of five intervals the third and the fifth lead to another picture."""
    amounts = 5 + torch.linspace(0, 8, 60).sin()
    told = torch.tensor([False, False, True, False, True])
    found = find_pulldown(torch.where(told.repeat(12), amounts, 0.01))
    assert found.told.tolist() == told.tolist()
    assert found.shown(10).tolist() == [0, 3, 5, 8, 10]
    assert find_pulldown(torch.where(torch.arange(60) % 2 == 1, amounts, 0.01)).told.tolist() == [False, True]
    assert find_pulldown(torch.where(torch.arange(60) % 4 == 2, amounts, 0.01)).pace == 0.25
    # More motion after a frame that is held longer: what was filmed in real time.
    lengths = torch.tensor([0.0, 0.0, 3.0, 0.0, 2.0]).repeat(12)
    assert find_pulldown(lengths * amounts + 0.01) is None


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("begin", [0, 1, 4])
def test_blended_frames_are_told_from_others(rate, begin):
    film = moving_square(60).astype(float)
    places = np.arange(begin, int(58 * rate)) / float(rate)
    before, share = places.astype(int), (places % 1.0)[:, None, None, None]
    frames = ((1 - share) * film[before] + share * film[before + 1]).round().astype(np.uint8)
    found = find_blending(frames)
    assert (found.rate, found.phase) == (rate, begin * rate.denominator % rate.numerator)
    np.testing.assert_allclose(found.places(len(frames) - 1) % 1.0, places % 1.0, atol=1e-9)
    # The film's frames come back to within what rounding leaves, and are counted from the right one on.
    first, whole = int(np.ceil(places[0])), Film(frames, found)
    assert whole.shape == (int(places[-1]) - first + 1, *film.shape[1:])
    for part in (slice(0, 7), slice(11, 12), slice(30, 99)):
        wanted = film[first : first + len(whole)][part, ::2, 1:40]
        np.testing.assert_allclose(whole[part, ::2, 1:40], wanted, atol=3)
    assert whole[20:23].dtype == np.uint8
    # Step 0 of the film lies where its first whole frame does, on the file's clock.
    assert -found.delay / found.pace == pytest.approx((first - places[0]) * float(rate))


def test_what_is_not_blended_is_left_alone(scene):
    assert all(find_blending(scene.frames(camera)) is None for camera in range(len(scene.cameras)))
    for kind in ("one hangs", "black start", "lens cap", "flash", "cut", "cadence", "decimated", "telecine"):
        odd = damaged(scene, kind, seed=1)
        assert all(find_blending(odd.frame_cache.open(camera)) is None for camera in odd.cameras)
    noise = np.random.default_rng(0).integers(0, 255, (80, 24, 32, 3), dtype=np.uint8)
    assert find_blending(noise) is None
    assert find_blending(np.repeat(moving_square(40), 2, axis=0)) is None
    assert find_blending(np.zeros((80, 24, 32, 3), np.uint8)) is None


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Scene:
    """Six cameras of the package's demo: rendered, encoded and decoded, as no scene of spheres is."""
    left_out = tuple(f"cam{k:02d}" for k in range(14) if k not in (1, 3, 5, 7, 9, 11))
    options = ReadOptions(exclude_cameras=left_out, cache_dir=tmp_path_factory.mktemp("demo"))
    scene = load_scene(Path(syncnerf.data.__file__).parent / "demo", options)
    scene.frame_cache.prepare(scene.cameras)
    return scene


@pytest.mark.parametrize("kind", ["one hangs", "one frozen", "padded one", "decimated"])
def test_videos_of_a_hanging_a_frozen_a_longer_or_converted_camera(demo, kind):
    odd = damaged(demo, kind, seed=2)
    result = synchronize(odd, audio="off")
    frozen = [name for name, made in odd.frame_cache.odd.items() if len(set(made.shown.tolist())) == 1]
    assert list(result.reasons) == frozen
    error = (align_gauge(result.offsets, odd.true_offsets) / odd.frame_interval).abs()
    known = ~result.offsets.isnan()
    assert float(error[known].max()) < (0.25 if kind == "decimated" else 0.1)
    assert (error < 3 * result.stderr / odd.frame_interval)[known].all()


@pytest.mark.parametrize(("period", "phase"), [(2, 1), (4, 0), (4, 3), (5, 2)])
def test_dropped_frames_are_put_back(period, phase):
    """A known amount per step, and every period-th interval of the file holds two of them."""
    generator = torch.Generator().manual_seed(period)
    amounts = (5 + torch.linspace(0, 8, 80).sin() + 0.2 * torch.randn(80, generator=generator)).double()
    steps, single, place = [], [], 0
    while place < 78:
        long = len(steps) % period == phase
        steps.append(amounts[place : place + 1 + long].sum() * (0.8 if long else 1.0))
        single.append((place, not long))
        place += 1 + long
    totals, informative = torch.stack(steps), torch.ones(len(steps), dtype=torch.bool)
    found = find_cadence(totals, informative)
    assert (found.period, found.phase) == (period, phase)
    values, known, delay = found.spread(totals[None], informative)
    assert found.pace == (period + 1) / period
    for index, (place, alone) in enumerate(single):
        assert known[place]
        if alone:
            assert values[0, place] == totals[index]
        elif index + 1 < len(steps):
            assert known[place + 1]
            single_amounts = amounts[place : place + 2]
            np.testing.assert_allclose(values[0, place : place + 2], single_amounts, rtol=0.15)
    lateness = torch.tensor([place - found.pace * index for index, (place, _) in enumerate(single)])
    assert delay == pytest.approx(float(lateness.mean()), abs=0.05)


def test_dropped_frames_are_seen_in_a_second_of_video():
    """24 frames of 30: four periods of four intervals, and a period around each; three are too few."""
    generator = torch.Generator().manual_seed(0)
    motion = (5 + torch.linspace(0, 3, 23).sin() + 0.2 * torch.randn(23, generator=generator)).double()
    totals = torch.where(torch.arange(23) % 4 == 3, 1.7 * motion, motion)
    found = find_cadence(totals[:20], torch.ones(20, dtype=torch.bool))
    assert (found.period, found.phase) == (4, 3)
    assert find_cadence(totals[:15], torch.ones(15, dtype=torch.bool)) is None
    assert find_cadence(motion, torch.ones(23, dtype=torch.bool)) is None


def test_energy_of_two_steps_is_divided_as_its_neighbours_say():
    """By hand: in proportion to 0.8 of the nearer and 0.2 of the farther; halves where a neighbour is unknown."""
    values = torch.tensor([[1.0, 5, 5, 3, 4, 4, 9], [0, 2, 2, 0, 6, 6, 1]])
    known = torch.tensor([True, False, False, True, False, False, False])
    early = 10 * (0.8 * 1 + 0.2 * 3) / 4
    expected = torch.tensor([[1.0, early, 10 - early, 3, 4, 4, 9], [0, 2, 2, 0, 6, 6, 1]])
    torch.testing.assert_close(divided(values, torch.tensor([1, 4]), known), expected)
    torch.testing.assert_close(divided(values, torch.tensor([5, 0]), ~known), values)


def test_no_cadence_where_there_is_none(scene):
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        totals = torch.rand(90, generator=generator).cumsum(0).sin().abs() + 0.3 * torch.rand(90, generator=generator)
        assert find_cadence(totals, torch.ones(90, dtype=torch.bool)) is None
    assert all(motion_energy(scene.frames(camera)).pace == 1 for camera in range(len(scene.cameras)))


def masked_signals(seed: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Two random signals with a third of their samples missing, and which those are."""
    generator = torch.Generator().manual_seed(seed)
    signals = [torch.randn(20, length, generator=generator) for length in (60, 75)]
    masks = [torch.rand(signal.shape[1], generator=generator) > 1 / 3 for signal in signals]
    return [signal * mask for signal, mask in zip(signals, masks, strict=True)], masks


def test_correlation_of_what_is_informative_matches_a_loop():
    (first, second), masks = masked_signals(0)
    found = correlate(first, second, informative=tuple(masks))
    for row, line_shift in enumerate(range(-2, 3)):
        one, two = (
            signal[part].double() for signal, part in zip((first, second), line_slices(20, line_shift), strict=True)
        )
        for column in range(0, len(found.shifts), 5):
            shift = int(found.shifts[column])
            both = [t for t in range(60) if 0 <= t + shift < 75 and masks[0][t] and masks[1][t + shift]]
            if len(both) < 12:
                assert found.overlap[column] == 0
                assert float(found.values[row, column]) == 0
                continue
            a, b = one[:, both], two[:, [t + shift for t in both]]
            a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
            expected = float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())
            assert int(found.overlap[column]) == len(both)
            assert float(found.values[row, column]) == pytest.approx(expected, abs=1e-5)


def test_parts_count_what_both_tell():
    (first, second), masks = masked_signals(1)
    values, shared = frame_products(first, second, 0.0, 1.0, tuple(masks)).within(torch.arange(60) // 30, 2)
    for part, shift in ((0, -5), (1, 0), (1, 7)):
        both = [
            t for t in range(30 * part, 30 * part + 30) if 0 <= t + shift < 75 and masks[0][t] and masks[1][t + shift]
        ]
        a, b = first[:, both].double(), second[:, [t + shift for t in both]].double()
        expected = float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())
        assert float(values[part, shift + 8]) == pytest.approx(expected, abs=1e-5)
        assert int(shared[part, shift + 8]) == len(both)


@pytest.mark.parametrize("whole", [0, 3, -5])
def test_what_one_lacks_draws_no_lag(whole):
    """Signals that are the same but for samples left out: as much at shifts before the lag as after it."""
    generator = torch.Generator().manual_seed(2)
    signal = smooth(torch.randn(30, 80, generator=generator), 0.8)
    masks = [torch.rand(80, generator=generator) > 0.1 for _ in range(2)]
    moved, told = signal.roll(whole, 1), told_by_both(tuple(masks), whole)
    inside = torch.arange(8, 72)
    assert torch.equal(told[0][inside], masks[0][inside] & masks[1][inside + whole])
    assert torch.equal(told[1][inside], masks[1][inside] & masks[0][inside - whole])
    # Beyond the ends nothing has a counterpart.
    told[0][:8] = told[0][72:] = told[1][: 8 + whole] = told[1][72 + whole :] = False
    products = frame_products(signal * told[0], moved * told[1], float(whole), 1.0, told)
    values, _ = products.within(torch.zeros(80, dtype=torch.int64), 1)
    torch.testing.assert_close(values, values.flip(1), atol=1e-6, rtol=0)


def test_stillness_leaves_no_edge():
    """Motion that goes on evenly up to a standstill has no trend to take out, and the standstill adds none."""
    signals = torch.full((4, 60), 9.0)
    signals[:, 10:30] = 0
    signals[:, 50] = 16
    known = torch.ones(60, dtype=torch.bool)
    known[10:30] = False
    assert float(condition(signals, informative=known)[:, :40].abs().max()) < 1e-3
    assert float(condition(signals, informative=known)[:, 50].min()) > 1.0
    assert float(condition(signals)[:, :40].abs().max()) > 1.0


def test_windows_of_stillness_do_not_vote():
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(30, 240, generator=generator)
    known = torch.ones(240, dtype=torch.bool)
    known[:60] = False
    noise = 1e-3 * torch.randn(30, 240, generator=generator)
    one, two = torch.where(known, first, noise), torch.where(known, first, noise.flip(1))
    windows = window_lags(frame_products(one * known, two * known, 0.0, 1.0, (known, known)))
    assert windows.lags[:3].isnan().all()
    assert float(windows.lags[3:].abs().max()) < 0.1


def test_intervals_with_motion_are_informative():
    totals = torch.tensor([5.0, 4, 6, 0, 0, 0, 9, 5, 4, 0.01, 8, 5])
    steady = torch.ones(13, dtype=torch.bool)
    steady[1] = False
    expected = [0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 1]
    assert informative_intervals(totals, steady).int().tolist() == expected
    assert not informative_intervals(torch.zeros(12), steady).any()


def moving_square(frames: int = 30) -> np.ndarray:
    generator = np.random.default_rng(0)
    video = np.repeat(generator.integers(40, 200, (1, 60, 80, 3)), frames, axis=0)
    for frame in range(frames):
        video[frame, 20:34, 2 * frame : 2 * frame + 14] = generator.integers(40, 200, 3)
    return video.astype(np.uint8)


def test_events_of_the_whole_image_are_seen_and_motion_is_not():
    video = moving_square()
    assert steady_frames(video).all()
    black, turned, lit, dim = (np.array(video) for _ in range(4))
    black[:5] = 0
    turned[20:] = turned[20:, ::-1]
    lit[12] = np.clip(lit[12].astype(int) + 60, 0, 255)
    dim[8] = dim[8] * 0.7  # exposure: divided out later
    assert (~steady_frames(black)).nonzero()[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert (~steady_frames(turned)).nonzero()[:, 0].tolist() == list(range(20, 30))
    assert (~steady_frames(lit)).nonzero()[:, 0].tolist() == [12]
    assert steady_frames(dim).all()


def test_pictures_that_are_coded_anew_are_no_motion():
    """A background that changes a little and everywhere each 12 frames, and one that is always noisy."""
    generator = np.random.default_rng(0)
    video = moving_square(36).astype(float)
    coded = np.concatenate([video[k : k + 12] + generator.normal(0, 3, video[0].shape) for k in range(0, 36, 12)])
    noisy = video + generator.normal(0, 5, video.shape)
    for frames, wanted in ((video, []), (coded, [11, 23]), (noisy, []), (video[:2], [])):
        frames = frames.round().clip(0, 255).astype(np.uint8)
        assert refreshed_intervals(frames).nonzero()[:, 0].tolist() == wanted
    energy = motion_energy(coded.round().clip(0, 255).astype(np.uint8))
    assert (~energy.informative).nonzero()[:, 0].tolist() == [11, 23]


def test_key_frames_at_equal_places_draw_no_offset(demo):
    result = synchronize(damaged(demo, "key frames", seed=0), audio="off")
    error = (align_gauge(result.offsets, demo.true_offsets) / demo.frame_interval).abs()
    assert float(error.mean()) < 0.04  # 0.058 where small changes count as motion
    assert float(error.max()) < 0.1  # 0.245 there
    assert (error < 3 * result.stderr / demo.frame_interval).all()
