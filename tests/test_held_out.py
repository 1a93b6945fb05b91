"""Fitting a test camera's offset: it is found from afar, it is the one that is evaluated, and nothing else moves."""

import numpy as np
import pytest
import scipy.optimize
import torch
import wave_backend
from held_out_fits import fit, known_waves
from wave_backend import WaveBackend, clock_of, synced_waves, wave_colours, wave_scene

from syncnerf import clock_search
from syncnerf.camera_colours import CameraColours
from syncnerf.camera_pixels import choose_pixels
from syncnerf.config import ColoursConfig, OffsetsConfig
from syncnerf.evaluation.evaluate import Scoring, evaluate
from syncnerf.evaluation.protocols import FULL, HOLDOUT, NONE
from syncnerf.evaluation.shots import evaluated_frames
from syncnerf.photometry import clustered_covariance
from syncnerf.scene.views import Views
from syncnerf.synced import SyncedBackend

PLANTED = [0.63, 0.0, -0.2, 0.35]
"""Seconds; camera 0 is the test view, 6.3 frames late."""
FOUR = evaluated_frames(20, 4)


@pytest.fixture
def scene(tmp_path):
    return wave_scene(tmp_path, PLANTED)


@pytest.fixture
def synced(scene):
    return synced_waves(scene, initial=[0.0, *PLANTED[1:]])


def test_offset_is_found_to_a_fraction_of_a_frame(scene, synced):
    found = fit(scene, synced)
    assert found.seconds == pytest.approx(PLANTED[0], abs=3e-4)
    assert found.camera == 0
    assert found.steps <= 8
    assert synced.clock.offsets()[0].item() == pytest.approx(found.seconds, abs=1e-12)
    # The coarse search looked at every frame's distance within half the video.
    assert found.grid.min() == pytest.approx(-0.9)
    assert found.grid.max() == pytest.approx(0.9)
    assert found.grid[found.errors.nan_to_num(torch.inf).argmin()].item() == pytest.approx(0.6)


def test_a_start_ten_frames_away_does_not_matter(tmp_path):
    scene = wave_scene(tmp_path, [1.04, 0.0, 0.3], frame_count=40)
    for start in (-1.0, 0.0, 2.04):
        found = fit(scene, synced_waves(scene, initial=[start, 0.0, 0.3]))
        assert found.seconds == pytest.approx(1.04, abs=3e-4)


def test_a_start_beyond_half_the_video_is_searched_too(tmp_path):
    """As a file of offsets has it for a late camera; it need not be right."""
    scene = wave_scene(tmp_path, [1.23, 0.0, 0.9], frame_count=20)
    found = fit(scene, synced_waves(scene, initial=[0.0, 0.0, 0.9]))
    assert "raise --test-range" in found.reason or found.stderr == float("inf")
    found = fit(scene, synced_waves(scene, initial=[1.5, 0.0, 0.9]))
    assert found.seconds == pytest.approx(1.23, abs=3e-4)
    assert (found.grid.min(), found.grid.max()) == pytest.approx((-0.9, 2.4))


def test_range_option_bounds_the_search_and_includes_its_end(tmp_path):
    scene = wave_scene(tmp_path, [0.6, 0.0, 0.3], frame_count=20)
    found = fit(scene, synced_waves(scene, initial=[0.0, 0.0, 0.3]), test_range=0.6)
    assert found.grid.tolist() == pytest.approx([i / 10 for i in range(-6, 7)])


def test_fit_is_scipys_least_squares_on_noisy_frames(tmp_path, monkeypatch):
    scene = wave_scene(tmp_path, PLANTED, noise=0.08, side=16)
    synced = synced_waves(scene, initial=[0.0, *PLANTED[1:]])
    seen = []
    monkeypatch.setattr(clock_search, "choose_pixels", lambda *a: seen.append(choose_pixels(*a)) or seen[-1])
    monkeypatch.setattr(clock_search, "known_clock_error", lambda *_: 0.0)
    found = fit(scene, synced, test_steps=20)
    # The fit leaves out pixels whose time, at the grid's best offset, no training camera saw.
    start = found.grid[found.errors.nan_to_num(np.inf).argmin()].item()
    first = min(PLANTED[1:])
    last = max(offset + camera.duration for offset, camera in zip(PLANTED[1:], scene.cameras[1:], strict=True))
    moments = seen[0].times + start
    pixels = seen[0][(moments >= first) & (moments <= last)]
    assert 0 < len(pixels.frames) < len(seen[0].frames)
    directions = pixels.views.rays(pixels.places).directions.double().numpy()
    times = np.repeat(pixels.times.numpy(), pixels.places.shape[1])

    def residuals(offset):
        return (wave_colours(directions, times + offset[0]) - pixels.rgb.reshape(-1, 3).numpy()).ravel()

    expected = scipy.optimize.least_squares(residuals, [0.6], xtol=1e-12)
    assert found.seconds == pytest.approx(float(expected.x[0]), abs=2e-5)
    # From scipy's Jacobian: the classical standard error, or that of errors shared within frames, where it is larger.
    curvature = np.sum(expected.jac**2)
    classical = np.sqrt(np.mean(expected.fun**2) / curvature)
    scores = (expected.fun * expected.jac[:, 0]).reshape(-1, 3).sum(axis=1)
    row, column = (values.numpy().ravel() for values in (pixels.places // 16, pixels.places % 16))
    frame = pixels.groups().numpy()
    part = 4 * (row // 4) + column // 4
    groupings = (frame, part, 100 * (6 * frame // (frame.max() + 1)) + part)
    by_group = [np.sqrt(np.sum(np.bincount(group, scores) ** 2)) / curvature for group in groupings]
    assert found.stderr == pytest.approx(max(classical, *by_group), rel=1e-3)
    assert abs(found.seconds - PLANTED[0]) < 4 * found.stderr


def test_adam_can_be_chosen_and_agrees(scene, synced):
    found = fit(scene, synced, test_method="adam", test_adam_steps=200, test_adam_lr=5e-3, test_pixels=128)
    assert found.seconds == pytest.approx(PLANTED[0], abs=2e-3)
    assert found.steps == 200
    assert np.isfinite(found.stderr)


def test_colours_of_an_earlier_fit_say_nothing_to_a_later_one(scene, monkeypatch):
    monkeypatch.setattr(clock_search, "explains", lambda *_: True)
    clock = clock_of(scene, OffsetsConfig(), initial=[0.0, *PLANTED[1:]])
    colours = CameraColours(ColoursConfig(camera_colours="learn"), len(scene.cameras), scene.test)
    synced = SyncedBackend(clock, WaveBackend(clock.range), colours)
    options = {"test_method": "adam", "test_adam_steps": 5, "test_pixels": 64}
    first = fit(scene, synced, **options).seconds
    assert first != 0.0
    synced.colours.set_camera(0, torch.full((3,), 0.5), torch.full((3,), 0.3))
    synced.clock.set_camera(0, 0.0)
    assert fit(scene, synced, **options).seconds == first


def test_fitted_camera_is_the_evaluated_one(tmp_path):
    """Two test cameras with unlike offsets: each must be rendered at its own fit, whatever the other entries say."""
    planted = [0.63, 0.0, -0.2, -0.41, 0.1]
    scene = wave_scene(tmp_path, planted, test=(0, 3))
    synced = synced_waves(scene, initial=[0.0, 0.0, -0.2, 0.0, 0.1])
    before = evaluate(synced, scene, Scoring(FULL, test_frames=4))
    fits = {camera: fit(scene, synced, camera) for camera in scene.test}
    after = evaluate(synced, scene, Scoring(FULL, test_frames=4))
    for name in ("cam00", "cam03"):
        of_before, of_after = ([s.psnr for s in e.frames if s.camera == name] for e in (before, after))
        assert min(of_after) > 50 > 30 > max(of_before)
    synced.backend.asked.clear()
    evaluate(synced, scene, Scoring(FULL, test_frames=4))
    for camera, asked in zip(scene.test, torch.cat(synced.backend.asked).chunk(2), strict=True):
        expected = scene.cameras[camera].frame_times[FOUR] + fits[camera].seconds
        torch.testing.assert_close(asked.unique(), expected)
    # Spoil every other entry: the test view must not care.
    with torch.no_grad():
        synced.clock.shifts[[2, 4]] += 0.3
    again = evaluate(synced, scene, Scoring(FULL, test_frames=4))
    of_after, of_again = ([s.psnr for s in e.frames if s.camera == "cam00"] for e in (after, again))
    assert of_again == of_after


def test_without_a_fit_the_offset_is_exactly_zero(scene, synced):
    fit(scene, synced)
    synced.backend.asked.clear()
    evaluate(synced, scene, Scoring(NONE, test_frames=4))
    torch.testing.assert_close(
        torch.cat(synced.backend.asked).unique(), scene.cameras[0].frame_times[FOUR], rtol=0, atol=1e-12
    )


def test_a_moved_clock_of_the_field_changes_nothing(scene, synced):
    """Training may shift the reference's own clock; fits and views are relative to it."""
    expected = fit(scene, synced).seconds
    moved = synced_waves(scene, initial=[0.0, *PLANTED[1:]])
    with torch.no_grad():
        moved.clock.shifts += 0.37
        moved.backend.clock -= 0.37
    assert fit(scene, moved).seconds == pytest.approx(expected, abs=1e-6)
    views, times = Views.of(scene.cameras[0], [0], 2.0, 6.0), torch.tensor([0.3], dtype=torch.float64)
    for camera in range(4):
        shown = [some.backend(some.of_camera(camera, views, times)).rgb for some in (moved, synced)]
        torch.testing.assert_close(*shown)


def test_holdout_fit_never_looks_at_the_right_half(tmp_path):
    scene = wave_scene(tmp_path, PLANTED)
    frames = np.array(scene.frames(0))
    frames[:, :, 6:] = 255 - frames[:, :, 6:]
    scene._frames[0] = frames
    synced = synced_waves(scene, initial=[0.0, *PLANTED[1:]])
    assert fit(scene, synced, mask=HOLDOUT.fit_mask(12, 12)).seconds == pytest.approx(PLANTED[0], abs=3e-4)


@pytest.mark.parametrize("method", ["gauss-newton", "adam"])
def test_nothing_but_the_one_entry_changes(scene, synced, method, monkeypatch):
    # Adam gets nowhere in five steps; what it finds is not asked here.
    monkeypatch.setattr(clock_search, "explains", lambda *_: True)
    synced.train()
    synced.backend.dropout.eval()
    synced.backend.gain.grad = torch.ones(3, dtype=torch.float64)
    before = {name: value.clone() for name, value in synced.state_dict().items()}
    required = {name: parameter.requires_grad for name, parameter in synced.named_parameters()}
    modes = {name: module.training for name, module in synced.named_modules()}
    fit(scene, synced, test_method=method, test_adam_steps=5)
    after = synced.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        if name == "clock.held_offsets":
            assert torch.equal(value[1:], after[name][1:])
            assert value[0] != after[name][0]
        else:
            assert torch.equal(value, after[name]), name
    assert {name: parameter.requires_grad for name, parameter in synced.named_parameters()} == required
    assert {name: module.training for name, module in synced.named_modules()} == modes
    assert torch.equal(synced.backend.gain.grad, torch.ones(3, dtype=torch.float64))
    assert synced.clock.shifts.grad is None


def test_everything_is_restored_after_an_exception(scene, synced, monkeypatch):
    synced.train()
    original, calls = synced.backend.render_rays, []

    def failing(*arguments):
        calls.append(any(parameter.requires_grad for parameter in synced.parameters()) or synced.backend.training)
        if len(calls) > 5:
            raise RuntimeError("out of memory")
        return original(*arguments)

    monkeypatch.setattr(synced.backend, "render_rays", failing)
    before = {name: value.clone() for name, value in synced.state_dict().items()}
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(scene, synced)
    assert not any(calls)  # frozen, and in evaluation mode, while it ran
    assert synced.backend.gain.requires_grad
    assert synced.clock.shifts.requires_grad
    assert synced.training
    assert synced.backend.dropout.training
    assert all(torch.equal(value, synced.state_dict()[name]) for name, value in before.items())


def test_fits_are_repeatable(scene):
    first, second = (fit(scene, synced_waves(scene, initial=[0.0, *PLANTED[1:]])) for _ in range(2))
    assert first.seconds == second.seconds
    assert first.stderr == second.stderr


@pytest.mark.parametrize(("shared", "lasting"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.2)])
def test_standard_error_is_the_scatter_of_repeated_fits(shared, lasting):
    """Monte Carlo of the linear problem: noise of each pixel, and parts that frames or regions share."""
    generator = np.random.default_rng(0)
    frames, per_frame, truth = 40, 25, 0.4
    groups = np.repeat(np.arange(frames), per_frame)
    regions = groups // 8 * 5 + np.tile(np.arange(per_frame) // 5, frames)
    slopes = generator.normal(1.0, 0.4, (frames * per_frame, 3))
    estimates, claimed = [], []
    for _ in range(400):
        common = shared * generator.standard_normal((frames, 1))[groups]
        common += lasting * generator.standard_normal((25, 1))[regions]
        noise = 0.3 * generator.standard_normal(slopes.shape) + common
        values = slopes * -truth + noise  # residuals at offset 0
        offset = -(slopes * values).sum() / (slopes**2).sum()
        residuals = values + slopes * offset
        estimates.append(offset)
        parts = [torch.from_numpy(part) for part in (residuals, slopes, np.ones((len(groups), 1)), groups, regions)]
        claimed.append(clustered_covariance(*parts).item() ** 0.5)
    assert np.mean(claimed) == pytest.approx(np.std(estimates), rel=0.15)


def test_standard_error_of_a_still_image_is_infinite():
    zeros = torch.zeros(5, 3, dtype=torch.float64)
    covariance = clustered_covariance(zeros + 1, zeros, zeros[:, :1] + 1, torch.zeros(5, dtype=torch.int64))
    assert covariance.item() == float("inf")


@pytest.mark.parametrize("method", ["gauss-newton", "adam"])
def test_a_field_that_explains_nothing_gives_no_number(scene, caplog, method):
    """Not a valley of noise with a small error, but the reason."""
    blind = synced_waves(scene, initial=[0.0, *PLANTED[1:]])
    with torch.no_grad():
        blind.backend.gain.fill_(0.0)
    found = fit(scene, blind, test_method=method, test_adam_steps=5)
    assert "hardly better than a still picture" in found.reason
    assert found.stderr == float("inf")
    assert blind.clock.offsets()[0].item() == 0.0
    assert "cam00: its offset is undetermined" in caplog.text


def test_a_valley_that_does_not_stand_out_gives_no_number(tmp_path, monkeypatch):
    """Waves of one period: an offset a whole period away explains the colours as well."""
    monkeypatch.setattr(wave_backend, "FREQUENCIES", (2.5 * np.pi,) * 3)
    scene = wave_scene(tmp_path, PLANTED)
    found = fit(scene, synced_waves(scene, initial=[0.0, *PLANTED[1:]]))
    assert "explains its colours about as well" in found.reason
    assert found.stderr == float("inf")
    # Where it is known beforehand to less than a period, nothing is in doubt.
    known = fit(scene, known_waves(scene, [PLANTED[0] + 0.05, *PLANTED[1:]], 0.04))
    assert known.reason == ""
    assert known.seconds == pytest.approx(PLANTED[0], abs=1e-3)


def test_the_searched_range_is_a_limit(tmp_path):
    """The truth lies three frames beyond; and less than one beyond a range that holds no candidate but 0."""
    scene = wave_scene(tmp_path, [0.6, 0.0, 0.3], frame_count=30)
    found = fit(scene, synced_waves(scene, initial=[0.0, 0.0, 0.3]), test_range=0.2, test_steps=20)
    assert "raise --test-range" in found.reason or "still picture" in found.reason
    scene = wave_scene(tmp_path / "near", [0.07, 0.0, 0.3], frame_count=30)
    found = fit(scene, synced_waves(scene, initial=[0.0, 0.0, 0.3]), test_range=0.01, test_steps=20)
    assert "raise --test-range" in found.reason
    found = fit(scene, synced_waves(scene, initial=[0.0, 0.0, 0.3]), test_range=0.07, test_steps=20)
    assert found.seconds == pytest.approx(0.07, abs=3e-4)


def test_where_no_candidate_can_be_judged_the_first_is_not_the_best(scene, synced, monkeypatch):
    """As of a test video much longer than the training cameras'."""
    monkeypatch.setattr(clock_search, "LEAST_SHARE", 1.01)
    found = fit(scene, synced)
    assert "no candidate leaves" in found.reason
    assert found.stderr == float("inf")
    assert found.errors.isnan().all()
    assert synced.clock.offsets()[0].item() == 0.0
