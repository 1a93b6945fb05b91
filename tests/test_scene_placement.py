"""Box, near and far: of rigs whose scene is known, from jsons, from options; what cameras see of a box."""

import json
import math

import pytest
import torch
from camera_rigs import camera, dome, wall
from evaluation_fixtures import look_from
from format_scenes import HEIGHT, WIDTH, blender_video
from tiny_scene import edit_json

from syncnerf.errors import UserError
from syncnerf.scene import load_scene
from syncnerf.scene.camera import Camera
from syncnerf.scene.placement import camera_counts, rig_placement, seen_shares, shared_distance
from syncnerf.scene.read_options import ReadOptions, box_numbers
from syncnerf.scene.remarks import remarks
from syncnerf.scene.visual_hull import visual_hull


def moved(cameras: tuple[Camera, ...], scale: float, shift: torch.Tensor) -> tuple[Camera, ...]:
    found = []
    for one in cameras:
        pose = one.camera_to_world.clone()
        pose[:3, 3] = scale * pose[:3, 3] + shift
        found.append(camera(pose, one.intrinsics.focal_x))
    return tuple(found)


def test_cameras_that_surround_a_room_stand_in_the_box():
    place = rig_placement(dome())
    centres = torch.stack([one.pose(0)[:3, 3] for one in dome()])
    assert place.space == "bounded"
    assert ((centres > place.bounds[0]) & (centres < place.bounds[1])).all()
    corners = torch.cartesian_prod(*place.bounds.double().T)
    assert place.far >= (corners[:, None] - centres).norm(dim=-1).max() - 1e-4
    assert 0 < place.near < 1.5


def test_what_lies_beyond_a_wall_of_cameras_is_contracted():
    place = rig_placement(wall())
    assert place.space == "contraction"
    assert place.near < place.far


@pytest.mark.parametrize("rig", [dome, wall])
def test_placement_follows_the_unit_and_the_origin(rig):
    shift = torch.tensor([500.0, -20.0, 3.0], dtype=torch.float64)
    place, other = rig_placement(rig()), rig_placement(moved(rig(), 1000.0, shift))
    torch.testing.assert_close(other.bounds, 1000.0 * place.bounds + shift.float(), rtol=1e-3, atol=1.0)
    assert other.near == pytest.approx(1000.0 * place.near, rel=0.05)
    assert other.far == pytest.approx(1000.0 * place.far, rel=1e-3)
    assert other.space == place.space


def test_shared_distance_of_two_parallel_cameras_is_that_of_their_overlap():
    """Two cameras a baseline b apart, with half widths of tan = 0.8: their views meet at depth b / (2 * 0.8)."""
    other = torch.eye(4, dtype=torch.float64)
    other[0, 3] = 1.0
    pair = (camera(torch.eye(4, dtype=torch.float64)), camera(other))
    # A tenth of the rays of each camera are the first to be seen by the other: those of its inner edge.
    assert 1.0 / 1.6 <= shared_distance(pair, 10.0) <= 1.4 * 1.25 / 1.6


def test_counts_agree_with_projecting_points_one_by_one():
    cameras = dome(5)
    points = 6 * torch.rand(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 3
    expected = []
    for point in points:
        seen = 0
        for one in cameras:
            local = torch.linalg.inv(one.pose(0)) @ torch.cat([point, torch.ones(1, dtype=torch.float64)])
            if local[2] < 0:
                column, row = 32 + 40 * local[0] / -local[2], 24 - 40 * local[1] / -local[2]
                seen += bool(0 <= column < 64 and 0 <= row < 48)
        expected.append(seen)
    assert camera_counts(points, cameras).tolist() == expected
    assert len(set(expected)) > 3
    shares = seen_shares(torch.tensor([[-3.0] * 3, [3.0] * 3]), cameras)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["none"] == pytest.approx(expected.count(0) / 200, abs=0.1)


def test_json_and_options_state_the_placement_and_the_option_is_last(own_scene):
    box = [[-1.0, -2.0, -3.0], [1.0, 2.0, 3.0]]
    edit_json(own_scene / "transforms.json", lambda record: record.update(bounds=box, near=1.5, far=7.0))
    scene = load_scene(own_scene)
    assert (scene.bounds.tolist(), scene.near, scene.far) == (box, 1.5, 7.0)
    options = ReadOptions(bounds=box_numbers("-1,-1,-1,1,1,1"), near=1.0)
    scene = load_scene(own_scene, options)
    assert (scene.bounds.tolist(), scene.near, scene.far) == ([[-1.0] * 3, [1.0] * 3], 1.0, 7.0)
    with pytest.raises(UserError, match="'near' = 8 should be less than 'far' = 7"):
        load_scene(own_scene, ReadOptions(near=8.0))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1,2,3", "six numbers"),
        ("a,b", "six numbers"),
        ("0,0,0,1,-1,1", "the lower one first"),
        ("nan,0,0,1,1,1", "six"),
    ],
)
def test_unfit_boxes_are_refused(text, reason):
    with pytest.raises(UserError, match=reason):
        ReadOptions(bounds=box_numbers(text))


def test_footage_without_stated_bounds_is_placed_by_its_training_cameras(own_scene):
    def real(record):
        angle = record.pop("camera_angle_x")
        for entry in record["frames"]:
            entry["fl_x"] = 16 / math.tan(angle / 2)

    edit_json(own_scene / "transforms.json", real)
    scene = load_scene(own_scene)
    place = rig_placement(tuple(scene.cameras[index] for index in scene.train))
    assert torch.equal(scene.bounds, place.bounds)
    assert (scene.near, scene.far, scene.space) == (place.near, place.far, place.space)
    assert json.loads((own_scene / "transforms.json").read_text()).keys() >= {"frames"}


@pytest.mark.parametrize(("scale", "place"), [(1e-7, 0.0), (1000.0, 4e5)])
def test_the_visual_hull_of_a_scene_in_other_units_and_elsewhere_is_the_same(own_scene, tmp_path, scale, place):
    hull = visual_hull(load_scene(own_scene, ReadOptions(cache_dir=tmp_path)), resolution=24)

    def elsewhere(record):
        record.update(bounds=[[place - 1.3 * scale] * 3, [place + 1.3 * scale] * 3], near=2 * scale, far=6 * scale)
        for entry in record["frames"]:
            for row in entry["transform_matrix"][:3]:
                row[3] = scale * row[3] + place

    edit_json(own_scene / "transforms.json", elsewhere)
    other = visual_hull(load_scene(own_scene, ReadOptions(cache_dir=tmp_path)), resolution=24)
    # A cell on the rim may fall to either side.
    assert (hull != other).float().mean() < 1e-3
    assert 0.1 < hull.float().mean() < 0.9


@pytest.mark.parametrize("shift", [0.0, 0.3, 5e6])
def test_two_cameras_of_which_one_is_trained_are_placed_by_both(tmp_path, shift):
    """One alone has no distance to what it looks at: box and distances were rounding errors."""
    blender_video(tmp_path)
    poses = [look_from([3.0, 0.0, 0.5]), look_from([0.0, 3.0, 0.5])]
    for pose in poses:
        pose[0, 3] += shift
    keys = {"fl_x": 40.0, "fl_y": 40.0, "cx": WIDTH / 2, "cy": HEIGHT / 2}
    entries = [{**keys, "file_path": f"cam0{k}.mp4", "transform_matrix": pose.tolist()} for k, pose in enumerate(poses)]
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": entries}))
    (tmp_path / "offsets.json").unlink(missing_ok=True)
    scene = load_scene(tmp_path)
    middle = scene.bounds.double().mean(0) + scene.origin
    torch.testing.assert_close(middle, torch.tensor([shift, 0.0, 0.0]).double(), atol=1e-3, rtol=0)
    assert float((scene.bounds[1] - scene.bounds[0]).min()) > 1.0
    assert 0.1 < scene.near < 3.0 < scene.far
    assert "bounds" in scene.summary()
    assert remarks(scene) == []


def test_a_lone_camera_has_a_unit():
    placement = rig_placement((camera(look_from([1e-3, 0.2, 3.0])),))
    assert float((placement.bounds[1] - placement.bounds[0]).min()) > 0.5
    assert 0 < placement.near < placement.far
