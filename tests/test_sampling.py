"""Which pixels are drawn: epochs without repetition, importance by the closed formulas, resumable at any step."""

import os

import numpy as np
import pytest
import torch
from format_scenes import FRAMES, HEIGHT, WIDTH, noisy_scene

from syncnerf.errors import UserError
from syncnerf.sampling import importance, pixel_reader, ray_batches
from syncnerf.sampling import importance_weights as importance_weights_module
from syncnerf.sampling.importance import ImportanceSettings, ImportanceWeights, importance_weights
from syncnerf.sampling.importance_draws import ImportanceDraws
from syncnerf.sampling.importance_weights import isg_weights, ist_weights, lower_median, window_extreme
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.permutation import EpochOrder
from syncnerf.sampling.ray_batches import RayBatches


@pytest.fixture
def scene(tmp_path):
    """A scene with noise in its cached frames, so that every pixel is told from any other."""

    def spared(noise: np.ndarray) -> None:
        noise[:, :4] = 77

    return noisy_scene(tmp_path, spared)


@pytest.fixture(params=["kernels", "twins"])
def native(request, monkeypatch):
    """Both ways of computing: with the C kernels and with their twins in numpy."""
    caches = (pixel_reader._library, importance_weights_module.importance_library)
    if request.param == "twins":
        monkeypatch.setenv("SYNCNERF_NATIVE", "0")
    for cache in caches:
        cache.cache_clear()
    if request.param == "kernels" and caches[0]() is None:
        pytest.skip("no C compiler")
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 1021, 4096, 70_000])
def test_an_epoch_visits_everything_once(size):
    order = EpochOrder(size, seed=3)
    first, second = order[0:size], order[size : 2 * size]
    assert sorted(first) == sorted(second) == list(range(size))
    pieces = np.concatenate([order[0 : size // 3], order[size // 3 : size + 5]])
    np.testing.assert_array_equal(pieces, order[0 : size + 5])
    if size > 50:
        assert (first != second).any()
        assert (first != EpochOrder(size, seed=4)[0:size]).any()


def test_the_order_looks_random():
    size = 10_000_000_000
    drawn = EpochOrder(size, seed=1)[5_000_000_000:5_000_020_000] / size
    histogram = np.histogram(drawn, bins=20, range=(0, 1))[0]
    assert ((histogram - 1000) ** 2 / 1000).sum() < 45  # chi-squared, 19 degrees of freedom: 99.9 %
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.03
    assert len(np.unique(drawn)) == len(drawn)


@pytest.mark.parametrize("count", [1, 2, 5, 6, 40])
def test_median_and_windows(count):
    values = np.random.default_rng(count).integers(0, 256, (count, 30), dtype=np.uint8)
    np.testing.assert_array_equal(lower_median(values), torch.from_numpy(values).median(dim=0).values.numpy())
    for reach in (1, 2, 3, 25, 60):
        expected = np.stack([values[max(0, t - reach) : t + reach + 1].max(axis=0) for t in range(count)])
        np.testing.assert_array_equal(window_extreme(values, reach, np.maximum), expected)


def closed_isg(frames, gamma):
    """DyNeRF's formula as it is written."""
    colours = torch.from_numpy(frames).double() / 255
    squared = (colours - colours.median(dim=0).values).square()
    return (squared / (squared + gamma**2)).mean(dim=-1)


def closed_ist(frames, shift, floor):
    """Largest difference from any frame in reach, by comparing with every one of them."""
    colours = torch.from_numpy(frames).double() / 255
    largest = torch.zeros_like(colours)
    for t in range(len(colours)):
        for other in range(max(0, t - shift), min(len(colours), t + shift + 1)):
            largest[t] = torch.maximum(largest[t], (colours[t] - colours[other]).abs())
    return largest.mean(dim=-1).clamp_min(floor)


def test_weights_are_those_of_the_formulas(native):
    frames = np.random.default_rng(1).integers(0, 256, (12, 50, 3), dtype=np.uint8)
    frames[:, :20] = 100 + np.random.default_rng(2).integers(0, 6, (12, 20, 3), dtype=np.uint8)
    half_step = 0.51 / 255
    for gamma in (2e-2, 0.3):
        found = isg_weights(frames, gamma).astype(np.float64) / 255
        np.testing.assert_allclose(found, closed_isg(frames, gamma).numpy(), atol=half_step)
    for shift, floor in ((1, 0.1), (4, 0.0), (25, 0.1)):
        found = ist_weights(frames, shift, floor).astype(np.float64) / 255
        np.testing.assert_allclose(found, closed_ist(frames, shift, floor).numpy(), atol=half_step)


@pytest.mark.parametrize(("count", "pixels"), [(1, 5), (2, 128), (50, 129), (51, 300), (120, 40), (300, 7)])
def test_kernels_and_twins_give_the_same_weights(count, pixels, monkeypatch):
    if importance_weights_module.importance_library() is None:
        pytest.skip("no C compiler")
    generator = np.random.default_rng(count)
    frames = generator.integers(0, 256, (count, pixels, 3), dtype=np.uint8)
    frames[:, ::3] = generator.integers(120, 126, frames[:, ::3].shape)
    frames = frames[:, 1:]  # rows of a mapping are not contiguous, either
    computed = []
    for _ in range(2):
        ist = [ist_weights(frames, reach, floor) for reach, floor in ((1, 0.1), (3, 0.0), (25, 0.1), (60, 0.0))]
        computed.append([isg_weights(frames, 2e-2), isg_weights(frames, 0.3), *ist])
        monkeypatch.setattr(importance_weights_module, "importance_library", lambda: None)
    for kernel, twin in zip(*computed, strict=True):
        np.testing.assert_array_equal(kernel, twin)


def test_draws_over_several_cameras_fall_in_proportion(native, tmp_path):
    """More segments than a block, a camera without any weight, one that is shorter than a block."""
    generator = np.random.default_rng(0)
    flat = [generator.integers(0, 4, 256 * 700, dtype=np.uint8), np.zeros(512, dtype=np.uint8)]
    flat += [generator.integers(0, 256, 256 * 256, dtype=np.uint8), generator.integers(0, 2, 256, dtype=np.uint8)]
    flat[0][256:90_000] = 0
    cameras = []
    for number, weights in enumerate(flat):
        path = tmp_path / f"{number}.npy"
        np.save(path, weights)
        sums = weights.reshape(-1, 256).sum(axis=1, dtype=np.uint64).cumsum(dtype=np.uint64)
        cameras.append(ImportanceWeights(np.load(path, mmap_mode="r"), sums, path))
    draws = ImportanceDraws(cameras)
    everything = np.concatenate(flat)
    assert draws.total == everything.sum(dtype=np.int64)
    places = np.unique(np.append(generator.integers(0, draws.total, 3000), [0, draws.total - 1]))
    owner = np.searchsorted(everything.cumsum(dtype=np.int64), places, side="right")
    camera, found = draws.locate(places)
    np.testing.assert_array_equal(np.cumsum([0, *map(len, flat)])[camera] + found, owner)
    assert set(camera.tolist()) == {0, 2, 3}
    cameras[0].path.write_bytes(b"cut")
    with pytest.raises(UserError, match="importance cannot be read"):
        draws.locate(places)


@pytest.mark.parametrize("kind", ["isg", "ist"])
def test_files_hold_the_weights_whatever_the_bands(scene, kind, monkeypatch, native):
    settings = ImportanceSettings(kind, shift=2)
    monkeypatch.setattr(importance, "BAND_BYTES", FRAMES * WIDTH * 3 * 5)
    weights = importance_weights(scene, 1, settings)
    frames = np.asarray(scene.frames(1)).reshape(FRAMES, -1, 3)
    expected = isg_weights(frames, 2e-2) if kind == "isg" else ist_weights(frames, 2, 0.1)
    np.testing.assert_array_equal(weights.weights[: expected.size], expected.reshape(-1))
    assert not weights.weights[expected.size :].any()
    assert weights.total == expected.sum(dtype=np.int64)
    # Every place belongs to the pixel whose stretch of the cumulative weights it lies in.
    drawn = np.random.default_rng(0).integers(0, weights.total, 2000)
    drawn[:2] = 0, weights.total - 1
    owner = np.searchsorted(expected.reshape(-1).cumsum(dtype=np.int64), drawn, side="right")
    camera, found = ImportanceDraws([weights]).locate(drawn)
    np.testing.assert_array_equal(found, owner)
    assert not camera.any()


def test_spoilt_importance_files_are_made_anew(scene):
    settings = ImportanceSettings("isg")
    before = importance_weights(scene, 1, settings)
    expected, total = before.weights.copy(), before.total
    (path,) = scene.frame_cache.directory.glob("*isg-0.02.npy")
    path.write_bytes(path.read_bytes()[:-7])
    after = importance_weights(scene, 1, settings)
    np.testing.assert_array_equal(after.weights, expected)
    assert after.total == total


def places(batch, scene):
    """(camera, frame, pixel) of each ray, found by its colour and direction being those of the scene."""
    frames = (batch.frame_times * scene.cameras[0].fps).round().long()
    found = []
    for camera, frame, direction, colour in zip(batch.cameras, frames, batch.rays.directions, batch.rgb, strict=True):
        every = scene.cameras[camera].all_rays(scene.near, scene.far)
        pixel = int((every.directions @ direction).argmax())
        stored = scene.frames(int(camera))[int(frame)].reshape(-1, 3)[pixel]
        np.testing.assert_allclose(colour.numpy() * 255, stored, atol=1e-3)
        found.append((int(camera), int(frame), pixel))
    return found


def test_a_batch_is_what_the_scene_shows(scene):
    batches = RayBatches(scene, SamplingConfig(batch_size=40, dynamic_share=0.5), steps=10)
    drawn = places(batches.draw(torch.Generator().manual_seed(1), 3), scene)
    assert {camera for camera, _, _ in drawn} <= set(scene.train)


def test_large_scenes_are_read_without_mapping_and_alike(scene, native, monkeypatch):
    config = SamplingConfig(batch_size=500, dynamic_share=0.3, importance="isg-ist")
    mapped = RayBatches(scene, config).draw(torch.Generator().manual_seed(1), 3)
    monkeypatch.setattr(ray_batches, "RESIDENT_BYTES", 0)
    batches = RayBatches(scene, config)
    batches.draw(torch.Generator(), 0)
    read = batches.draw(torch.Generator().manual_seed(1), 3)
    torch.testing.assert_close(read.rgb, mapped.rgb, rtol=0, atol=0)
    path = batches.readers[0].path
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be read to its end"):
        batches.draw(torch.Generator().manual_seed(1), 4)


def test_pieces_are_read_wherever_they_lie(native, tmp_path):
    content = np.random.default_rng(0).integers(0, 256, (2, 40_000), dtype=np.uint8)
    files = []
    for number, data in enumerate(content):
        (tmp_path / str(number)).write_bytes(data.tobytes())
        files.append(os.open(tmp_path / str(number), os.O_RDONLY))
    which = np.random.default_rng(1).integers(0, 2, 3000)
    offsets = np.random.default_rng(2).integers(0, 40_000 - 5, 3000)
    offsets[1500:], which[1500:] = np.sort(offsets[1500:]), np.sort(which[1500:])
    expected = content[which[:, None], offsets[:, None] + np.arange(5)]
    np.testing.assert_array_equal(pixel_reader.read_pieces(np.array(files)[which], offsets, 5), expected)
    offsets[7] = 40_000 - 4
    assert pixel_reader.read_pieces(np.array(files)[which], offsets, 5) is None
    for file in files:
        os.close(file)


@pytest.mark.parametrize("size", [1, 3, 4, 1023, 1024, 5000])
def test_an_epoch_of_groups_visits_all_but_three_pixels(scene, size):
    batches = RayBatches(scene, SamplingConfig(batch_size=8))
    batches.uniform_ends = np.array([size])
    whole = size - size % min(size, 4)
    visited = batches._uniform_indices(0, whole, seed=1)
    assert len(np.unique(visited)) == whole
    assert 0 <= visited.min() <= visited.max() < size
    pieces = [batches._uniform_indices(start, min(start + 7, whole), seed=1) for start in range(0, whole, 7)]
    np.testing.assert_array_equal(np.concatenate(pieces), visited)


def test_uniform_draws_do_not_repeat_within_an_epoch(scene):
    batches = RayBatches(scene, SamplingConfig(batch_size=1000), steps=100)
    generator = torch.Generator().manual_seed(5)
    total = len(scene.train) * FRAMES * HEIGHT * WIDTH
    keys = []
    for step in range(total // 1000):
        batch = batches.draw(generator, step)
        keys.append(torch.cat([batch.cameras[:, None], batch.frame_times[:, None], batch.rays.directions], dim=-1))
    keys = torch.cat(keys)
    assert len(torch.unique(keys, dim=0)) == len(keys)


@pytest.mark.parametrize("kind", ["changing", "isg", "ist", "isg-ist"])
def test_a_draw_is_a_function_of_generator_and_step(scene, kind):
    config = SamplingConfig(batch_size=64, dynamic_share=0.5, importance=kind)
    generator = torch.Generator().manual_seed(5)
    batches = RayBatches(scene, config, steps=8)
    states, drawn = [], []
    for step in range(8):
        states.append(generator.get_state())
        drawn.append(batches.draw(generator, step))
    other = RayBatches(scene, config, steps=8)
    for step in (6, 2):
        resumed = torch.Generator()
        resumed.set_state(states[step])
        again = other.draw(resumed, step)
        torch.testing.assert_close(again.rgb, drawn[step].rgb, rtol=0, atol=0)
        torch.testing.assert_close(again.frame_times, drawn[step].frame_times, rtol=0, atol=0)


def test_importance_is_drawn_in_proportion_and_switched_by_step(scene):
    config = SamplingConfig(batch_size=20_000, dynamic_share=1.0, importance="isg-ist", ist_shift=1)
    batches = RayBatches(scene, config, steps=10)
    # The upper rows never change: ISG leaves them out, IST keeps them at its floor.
    for step, expected_share in ((4, 0.0), (5, None)):
        batch = batches.draw(torch.Generator().manual_seed(0), step)
        still = (batch.rgb * 255).round().eq(77).all(dim=-1).double().mean().item()
        if expected_share is None:
            weights = batches.importance["ist"].cameras
            quiet = sum(w.weights[: FRAMES * HEIGHT * WIDTH].reshape(FRAMES, -1)[:, : 4 * WIDTH].sum() for w in weights)
            expected_share = quiet / sum(w.total for w in weights)
            assert expected_share > 0.02
        assert still == pytest.approx(expected_share, abs=0.005)


def test_importance_on_a_full_disk_is_one_line(scene, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(importance, "_write_weights", refuse)
    with pytest.raises(UserError, match=r"No space left on device.*free some space"):
        importance_weights(scene, 1, ImportanceSettings("isg"))
    assert not list(scene.frame_cache.directory.glob(".*"))


def test_unknown_importance_is_refused():
    with pytest.raises(UserError, match="isg-ist"):
        SamplingConfig(importance="ist-isg")
