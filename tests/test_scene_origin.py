"""Geographic coordinates: everything is as near the origin, to the digits of single precision, and back on export."""

import re

import numpy as np
import pytest
import torch
from format_scenes import CAMERAS, FORMATS
from tiny_scene import edit_json

from syncnerf.scene import load_scene
from syncnerf.scene.info_command import table
from syncnerf.scene.read_options import ReadOptions

WORLD = torch.tensor([500000.25, 4500000.5, 312.75], dtype=torch.float64)


def move(root, name):
    """Put the scene into the world; a box too."""
    if name == "panoptic":

        def change(record):
            for row in record["w2c"]:
                for k, matrix in enumerate(row):
                    pose = torch.linalg.inv(torch.tensor(matrix, dtype=torch.float64))
                    pose[:3, 3] += WORLD
                    row[k] = torch.linalg.inv(pose).tolist()

        for file in ("train_meta.json", "test_meta.json"):
            edit_json(root / file, change)
        return

    def change(record):
        for entry in record["frames"]:
            for axis in range(3):
                entry["transform_matrix"][axis][3] += float(WORLD[axis])
        record["aabb"] = (torch.tensor(record["aabb"], dtype=torch.float64) + WORLD).tolist()

    edit_json(root / "transforms.json", change)


@pytest.mark.parametrize("name", ["per-camera-json", "panoptic"])
def test_a_scene_in_the_world_is_the_scene_at_home(tmp_path, name):
    FORMATS[name](tmp_path)
    if name != "panoptic":
        edit_json(tmp_path / "transforms.json", lambda record: record.update(aabb=[[-1, -1, -1.5], [1, 1.25, 1]]))
    home = load_scene(tmp_path)
    assert not home.origin.any()
    move(tmp_path, name)
    away = load_scene(tmp_path)
    # Where the origin is put does not matter, so places are compared from the first camera.
    shift = away.cameras[0].pose(0)[:3, 3] - home.cameras[0].pose(0)[:3, 3]
    assert shift.abs().max() < 10
    # The inverse of a world-to-camera matrix with such a shift has ten digits less one or two for each product.
    digits = 1e-8
    torch.testing.assert_close(away.origin + shift, WORLD, atol=digits, rtol=0)
    torch.testing.assert_close(away.bounds - shift.float(), home.bounds, atol=1e-5, rtol=0)
    assert (away.near, away.far) == (pytest.approx(home.near), pytest.approx(home.far))
    for index in range(CAMERAS):
        one, other = home.cameras[index], away.cameras[index]
        rays, moved = one.all_rays(home.near, home.far), other.all_rays(away.near, away.far)
        np.testing.assert_allclose(moved.directions, rays.directions, atol=1e-6)
        np.testing.assert_allclose(moved.origins - shift.float(), rays.origins, atol=2e-6)
        place = home.world_pose(index)[:3, 3] + WORLD
        torch.testing.assert_close(away.world_pose(index)[:3, 3], place, atol=digits, rtol=0)
    assert "4500000" in table(away)


@pytest.mark.parametrize("unit", [1000.0, 1.0, 0.001])
def test_the_box_that_is_shown_can_be_given_back(tmp_path, unit):
    """As an option, digit by digit; and places are shown to a hundredth of the rig, in whatever unit."""
    FORMATS["per-camera-json"](tmp_path)
    box = [[-1.25, -1, -1.5], [1, 1.3, 1]]

    def in_the_world(record):
        record["aabb"] = (unit * torch.tensor(box) + WORLD).tolist()
        for entry in record["frames"]:
            for axis in range(3):
                value = entry["transform_matrix"][axis][3]
                entry["transform_matrix"][axis][3] = unit * value + float(WORLD[axis])

    edit_json(tmp_path / "transforms.json", in_the_world)
    scene = load_scene(tmp_path)
    (shown,) = re.findall(r"bounds \((.*)\) \.\. \((.*)\)", scene.summary())
    numbers = tuple(float(number) for corner in shown for number in corner.split(", "))
    np.testing.assert_allclose(numbers, (unit * torch.tensor(box) + WORLD).flatten(), atol=2e-5 * unit)
    given = load_scene(tmp_path, ReadOptions(bounds=numbers))
    torch.testing.assert_close(given.bounds, scene.bounds, atol=2e-5 * unit, rtol=0)
    shown = np.array([re.findall(r"\((.*)\)", line)[0].split(", ") for line in table(scene).splitlines()[1:]], float)
    places = torch.stack([scene.world_pose(index)[:3, 3] for index in range(CAMERAS)])
    width = float((places - places.mean(0)).norm(dim=-1).max())
    np.testing.assert_allclose(shown, places, atol=0.01 * width)


def test_scenes_near_the_origin_stay(tmp_path):
    FORMATS["blender-video"](tmp_path)
    scene = load_scene(tmp_path)
    assert not scene.origin.any()
    torch.testing.assert_close(scene.bounds, torch.tensor([[-1.3] * 3, [1.3] * 3]))
