"""Batches of views: what they show is what the videos have there, and every place and frame comes as often as any."""

import pytest
import torch
from tiny_scene import write_scene

from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.statistics import pixel_statistics
from syncnerf.sampling.view_batches import ViewBatches
from syncnerf.scene import load_scene

SIDE = 20


@pytest.fixture(scope="module")
def scene(tiny_scene):
    return load_scene(tiny_scene)


@pytest.fixture(scope="module")
def larger_scene(tmp_path_factory):
    return load_scene(write_scene(tmp_path_factory.mktemp("larger"), frames=3, side=64, cameras=3))


@pytest.fixture(scope="module")
def batch(scene):
    """A thousand small parts."""
    source = ViewBatches(scene, SamplingConfig(batch_size=1000 * SIDE**2, view_side=SIDE))
    return source.draw(torch.Generator().manual_seed(0), 0)


def test_views_show_what_the_videos_have_there(scene, batch):
    statistics = {camera: pixel_statistics(scene, camera) for camera in scene.train}
    for place in range(0, len(batch), 50):
        camera, (left, top) = int(batch.cameras[place]), batch.views.corners[place].tolist()
        frame = int((scene.cameras[camera].frame_times - batch.frame_times[place]).abs().argmin())
        part = slice(top, top + SIDE), slice(left, left + SIDE)
        true = torch.from_numpy(scene.frames(camera)[frame][part].copy()).float() / 255
        torch.testing.assert_close(batch.rgb[place], true)
        for name in ("mean", "deviation"):
            whole = torch.as_tensor(getattr(statistics[camera], name))
            torch.testing.assert_close(batch.statistics[name][place], whole[part].float())
        assert torch.equal(batch.views.poses[place], scene.cameras[camera].pose(frame))


def test_every_place_and_frame_comes_as_often_as_any(scene, batch):
    assert len(batch) == 1000
    size = scene.cameras[scene.train[0]].intrinsics
    for axis, most in ((0, size.width - SIDE), (1, size.height - SIDE)):
        corners = batch.views.corners[:, axis]
        assert (int(corners.min()), int(corners.max())) == (0, most)
        # Means and deviations of whole numbers that are all alike, to four standard errors.
        spread = (((most + 1) ** 2 - 1) / 12) ** 0.5
        assert float(corners.double().mean()) == pytest.approx(most / 2, abs=4 * spread / len(batch) ** 0.5)
        assert float(corners.double().std()) == pytest.approx(spread, rel=0.1)
    frames = scene.cameras[scene.train[0]].frame_count
    expected = len(batch) / (len(scene.train) * frames)
    for camera in scene.train:
        times = batch.frame_times[batch.cameras == camera]
        assert len(times.unique()) == frames
        assert len(times) == pytest.approx(frames * expected, abs=4 * (frames * expected) ** 0.5)


def test_a_side_beyond_the_picture_is_the_whole_picture(scene):
    size = scene.cameras[scene.train[0]].intrinsics
    for pixels, side in ((1, 10_000), (4 * max(size.width, size.height) ** 2, 0)):
        source = ViewBatches(scene, SamplingConfig(batch_size=pixels, view_side=side))
        batch = source.draw(torch.Generator().manual_seed(0), 0)
        assert batch.rgb.shape[1:] == (size.height, size.width, 3)
        assert len(batch) == max(1, pixels // (size.height * size.width))
        assert not batch.views.corners.any()


@pytest.mark.parametrize(("pixels", "side", "views"), [(6400, 40, 4), (7000, 40, 4), (1, 32, 1), (3000, 32, 2)])
def test_four_views_make_up_a_batch(larger_scene, pixels, side, views):
    """By hand: the largest multiple of 8 of which four fit, from 32 on."""
    batch = ViewBatches(larger_scene, SamplingConfig(batch_size=pixels)).draw(torch.Generator().manual_seed(0), 0)
    assert batch.rgb.shape == (views, side, side, 3)
