"""Numbers of images are time: gaps, a later beginning, every fifth frame; what does not count frames is left alone."""

import logging

import numpy as np
import pytest
from format_scenes import CAMERAS, FORMATS, FRAMES
from tiny_scene import edit_json

from syncnerf.scene import load_scene
from syncnerf.scene.frame_numbers import frame_numbers


def renumber(root, name, numbers):
    """Give one camera's images 000000 ... other numbers; ``name``: of the format."""
    folder = root / "frames_1" / "cam01" if name == "blender-frames" else root / "ims" / "1"
    images = sorted(folder.iterdir())
    for k, image in enumerate(images):
        image.rename(folder / f"aside{k}{image.suffix}")
    for k, number in enumerate(numbers):
        (folder / f"aside{k}{images[0].suffix}").rename(folder / f"{number:06d}{images[0].suffix}")
    if name == "panoptic":

        def change(record):
            for k, number in enumerate(numbers):
                record["fn"][k][1] = f"1/{number:06d}.jpg"

        edit_json(root / "train_meta.json", change)


@pytest.mark.parametrize("name", ["blender-frames", "panoptic"])
@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        ([0, 1, 4, 5, 6], [0, 1, 4, 5, 6]),
        ([2, 3, 4, 5, 6], [2, 3, 4, 5, 6]),
        ([100, 101, 102, 104, 105], [0, 1, 2, 4, 5]),
    ],
)
def test_gaps_in_numbers_are_gaps_in_time(tmp_path, name, numbers, wanted):
    FORMATS[name](tmp_path)
    renumber(tmp_path, name, numbers)
    scene = load_scene(tmp_path)
    times = [camera.frame_times.numpy() for camera in scene.cameras]
    np.testing.assert_allclose(times[1], np.array(wanted) / 30, atol=1e-12)
    for other in (0, *range(2, CAMERAS)):
        np.testing.assert_array_equal(times[other], np.arange(FRAMES) / 30)
    np.testing.assert_array_equal(scene.frames(1).shape[0], FRAMES)


def test_every_fifth_image_of_all_is_no_gap_but_of_one_it_is(tmp_path):
    FORMATS["blender-frames"](tmp_path)
    renumber(tmp_path, "blender-frames", range(0, 5 * FRAMES, 5))
    camera = load_scene(tmp_path).cameras[1]
    np.testing.assert_allclose(camera.frame_times, np.arange(FRAMES) / 6)
    for name in ("cam00", "cam02", "cam03"):
        folder = tmp_path / "frames_1" / name
        for k in reversed(range(FRAMES)):
            (folder / f"{k:06d}.png").rename(folder / f"{5 * k:06d}.png")
    for camera in load_scene(tmp_path).cameras:
        assert camera.given_times is None


def test_numbers_that_count_no_frames_are_said(tmp_path, caplog):
    FORMATS["blender-frames"](tmp_path)
    edit_json(tmp_path / "transforms.json", lambda record: record.update(fps=10))
    renumber(tmp_path, "blender-frames", [10**9, 10**9 + 33_333_333, 10**9 + 66_666_667, 2 * 10**9, 3 * 10**9])
    for name in ("cam00", "cam02", "cam03"):
        folder = tmp_path / "frames_1" / name
        for k in reversed(range(FRAMES)):
            (folder / f"{k:06d}.png").rename(folder / f"{33_333_331 * k + 7:012d}.png")
    with caplog.at_level(logging.WARNING):
        scene = load_scene(tmp_path)
    assert all(camera.given_times is None for camera in scene.cameras)
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}: the images' numbers do not count frames; a constant rate is taken for granted"
    ]


def test_a_rate_that_nothing_gives_is_said_once(tmp_path, caplog):
    FORMATS["panoptic"](tmp_path)
    with caplog.at_level(logging.WARNING):
        load_scene(tmp_path)
    assert len(caplog.records) == 1
    assert "'fps'" in caplog.text


def test_the_numbers_in_names():
    np.testing.assert_array_equal(frame_numbers(["cam2_0007", "cam2_0009", "cam2_0010"]), [7, 9, 10])
    np.testing.assert_array_equal(frame_numbers(["9", "10"]), [9, 10])
    for names in (["a"], ["a1", "b2"], ["1_1", "2_2"], ["a", "b"], ["3", "2"], ["1", "1"]):
        assert frame_numbers(names) is None
