"""Pixel time-series: the right pixels with the right frames, shares, statistics, subsets of frames."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from format_scenes import FRAMES, HEIGHT, WIDTH, noisy_scene

from syncnerf.errors import UserError
from syncnerf.sampling import time_series_batches
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.time_series_batches import TimeSeriesBatches, frame_changes, nearby_maximum
from syncnerf.scene.camera import Camera


@pytest.fixture
def scene(tmp_path):
    """A scene with noise in its cached frames, except for a still left third: every pixel is told from any other."""

    def still(noise: np.ndarray) -> None:
        noise[:, :, : WIDTH // 3] = noise[0, :, : WIDTH // 3]

    return noisy_scene(tmp_path, still)


def draw(scene, step: int = 0, seed: int = 0, **options):
    batches = TimeSeriesBatches(scene, SamplingConfig(**{"batch_size": 50, "dynamic_reach": 0, **options}))
    return batches.draw(torch.Generator().manual_seed(seed), step)


def pixel_of(scene, camera: Camera, direction: torch.Tensor) -> tuple[int, int]:
    """Row and column of the pixel whose ray has this direction: the nearest of all rays."""
    rays = camera.all_rays(scene.near, scene.far)
    return divmod(int((rays.directions @ direction).argmax()), WIDTH)


@pytest.mark.parametrize("read", ["mapped", "piecewise"])
@pytest.mark.parametrize("frames", [0, 3])
def test_colours_times_and_statistics_are_those_of_the_rays_pixel(scene, monkeypatch, read, frames):
    if read == "piecewise":
        monkeypatch.setattr(time_series_batches, "RESIDENT_BYTES", 0)
    batch = draw(scene, time_frames=frames)
    length = frames or FRAMES
    assert batch.rgb.shape == (50, length, 3)
    assert batch.frame_times.shape == (50, length)
    assert batch.frame_times.dtype == torch.float64
    assert (batch.frame_times.diff(dim=1) > 0).all()
    for number in range(50):
        camera = scene.cameras[batch.cameras[number]]
        row, column = pixel_of(scene, camera, batch.rays.directions[number])
        video = np.asarray(scene.frames(int(batch.cameras[number])))
        shown = (batch.frame_times[number] * camera.fps).round().long().numpy()
        np.testing.assert_allclose(batch.rgb[number].numpy(), video[shown, row, column] / 255.0, atol=1e-6)
        colours = video[:, row, column] / 255.0
        np.testing.assert_allclose(batch.statistics["mean"][number].numpy(), colours.mean(axis=0), atol=1e-5)
        deviation = colours.std(axis=0).max()  # ours is a difference of sums: a fraction of a grey level is lost
        assert batch.statistics["deviation"][number].item() == pytest.approx(deviation, abs=2e-4)
    assert set(batch.cameras.tolist()) <= set(scene.train)


def test_all_pixels_of_a_camera_show_the_same_frames(scene):
    batch = draw(scene, time_frames=4)
    for camera in set(batch.cameras.tolist()):
        rows = batch.frame_times[batch.cameras == camera]
        assert (rows == rows[0]).all()
    assert len(torch.unique(batch.frame_times, dim=0)) > 1, "cameras draw their own"


def test_the_dynamic_share_is_on_changing_pixels(scene):
    changing = (draw(scene, dynamic_share=0.8, batch_size=400).statistics["deviation"] > 0.03).float().mean()
    assert 0.9 < changing < 1.0  # all of the 0.8, and about two thirds of the rest
    assert (draw(scene, dynamic_share=0.0, batch_size=400).statistics["deviation"] > 0.03).float().mean() < 0.8


def test_the_uniform_share_visits_every_pixel_once_an_epoch(scene):
    batches = TimeSeriesBatches(scene, SamplingConfig(batch_size=HEIGHT * WIDTH))
    seen = []
    for step in range(len(scene.train)):
        batch = batches.draw(torch.Generator().manual_seed(1), step)
        seen.append(torch.cat([batch.cameras[:, None].float(), batch.rays.directions], dim=1))
    assert len(torch.unique(torch.cat(seen), dim=0)) == len(scene.train) * HEIGHT * WIDTH


def test_a_draw_is_a_function_of_generator_and_step(scene):
    options = {"time_frames": 3, "dynamic_share": 0.5}
    first, again = draw(scene, 5, **options), draw(scene, 5, **options)
    assert torch.equal(first.rgb, again.rgb)
    assert torch.equal(first.frame_times, again.frame_times)
    assert not torch.equal(first.rgb, draw(scene, 6, **options).rgb)
    assert not torch.equal(first.frame_times, draw(scene, 5, seed=1, **options).frame_times)


def test_frames_in_which_more_changes_come_more_often(scene):
    """Expectation against the weights that the definition gives, over many draws."""
    for index in scene.train:
        path = scene.frame_cache.path_of(scene.cameras[index])
        video = np.full((FRAMES, HEIGHT, WIDTH, 3), 50, dtype=np.uint8)
        video[FRAMES // 2 :] = 90  # everything changes at once, nothing before or after
        np.save(path, video)
    scene._frames.clear()
    batches = TimeSeriesBatches(scene, SamplingConfig(batch_size=20, time_frames=1, time_sampling="change"))
    generator = torch.Generator().manual_seed(0)
    shown = torch.cat([batches.draw(generator, step).frame_times.unique() for step in range(300)])
    counts = torch.bincount((shown * scene.cameras[0].fps).round().long(), minlength=FRAMES)
    assert counts.argmax() == FRAMES // 2
    assert (counts > 0).sum() > 1, "still frames keep a chance"


def test_changes_are_mean_differences_with_a_floor():
    video = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    video[2:] = 30
    differences = np.array([0.0, 0.0, 30.0, 0.0])
    np.testing.assert_allclose(frame_changes(video).numpy(), differences + 0.1 * differences.mean())
    assert frame_changes(np.zeros((3, 8, 8, 3), dtype=np.uint8)).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("reach", [0, 1, 3, 20])
def test_nearby_maximum_is_scipys_filter(reach):
    values = np.random.default_rng(0).random((13, 17), dtype=np.float32)
    expected = scipy.ndimage.maximum_filter(values, size=2 * reach + 1, mode="constant")
    np.testing.assert_array_equal(nearby_maximum(values, reach), expected)


def test_a_moving_camera_is_refused(scene):
    camera = scene.cameras[scene.train[1]]
    poses = camera.camera_to_world.expand(camera.frame_count, 4, 4)
    cameras = list(scene.cameras)
    cameras[scene.train[1]] = type(camera)(**{**vars(camera), "camera_to_world": poses})
    scene.cameras = tuple(cameras)
    with pytest.raises(UserError, match=rf"camera {camera.name} moves.*--backend kplanes"):
        TimeSeriesBatches(scene, SamplingConfig())
