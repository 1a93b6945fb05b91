"""Points that come with a scene in its own files."""

import json
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from filmed_balls import camera

from syncnerf.errors import UserError
from syncnerf.point_files import read_ply, write_points
from syncnerf.scene import Scene
from syncnerf.starting.given_points import given_points

PLACES = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
COLOURS = np.random.default_rng(1).integers(0, 256, (50, 3), dtype=np.uint8)
ORIGIN = torch.tensor([100.0, -20.0, 3.0], dtype=torch.float64)


def write_ply(path, kind: str, colours: bool = True) -> None:
    """As COLMAP and nerfstudio write it, with normals between, and faces after the vertices."""
    order = ">" if kind == "binary_big_endian" else "<"
    fields = [(name, order + "f4") for name in ("x", "y", "z", "nx")]
    fields += [(name, "u1") for name in ("red", "green", "blue")] if colours else []
    table = np.zeros(len(PLACES), fields)
    for column, name in enumerate("xyz"):
        table[name] = PLACES[:, column]
    for column, name in enumerate(("red", "green", "blue") if colours else ()):
        table[name] = COLOURS[:, column]
    names = {"f4": "float", "u1": "uchar"}
    header = ["ply", f"format {kind} 1.0", "comment by a test", f"element vertex {len(table)}"]
    header += [f"property {names[number[-2:]]} {name}" for name, number in fields]
    header += ["element face 1", "property list uchar int vertex_indices", "end_header", ""]
    rows = "".join(" ".join(map(str, row)) + "\n" for row in table.tolist()).encode()
    path.write_bytes(
        "\n".join(header).encode() + (rows + b"3 0 1 2\n" if kind == "ascii" else table.tobytes() + b"face")
    )


def scene_in(folder, kind: str = "blender-video", far: float = 100.0) -> Scene:
    cameras = [camera(index) for index in range(2)]
    return Mock(spec=Scene, root=folder, format=kind, cameras=cameras, train=(0, 1), far=far, origin=ORIGIN)


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_points_of_a_ply_keep_their_places_and_colours(tmp_path, kind):
    write_ply(tmp_path / "points.ply", kind)
    found = read_ply(tmp_path / "points.ply")
    np.testing.assert_allclose(found, np.concatenate([PLACES, COLOURS / 255.0], axis=1), rtol=1e-6)
    write_ply(tmp_path / "points.ply", kind, colours=False)
    assert set(read_ply(tmp_path / "points.ply")[:, 3:].flatten().tolist()) == {0.5}


def test_points_are_written_as_they_are_read(tmp_path):
    points = np.concatenate([PLACES, COLOURS / np.float32(255)], axis=1)
    write_points(tmp_path / "points.ply", points)
    assert np.array_equal(read_ply(tmp_path / "points.ply"), points)


def test_a_scene_takes_those_that_its_json_names_into_its_own_world(tmp_path):
    write_ply(tmp_path / "points.ply", "ascii")
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": [], "ply_file_path": "points.ply"}))
    points = given_points(scene_in(tmp_path, far=150.0))
    assert points.times.isnan().all()
    order = torch.cdist(points.places, torch.from_numpy(PLACES) - ORIGIN.float()).argmin(dim=1)
    assert sorted(order.tolist()) == list(range(50))
    torch.testing.assert_close(points.colours, torch.from_numpy(COLOURS[order] / 255.0).float())
    assert len(given_points(scene_in(tmp_path, far=50.0)).places) == 0  # none of them within reach


def test_panoptics_own_points_are_read(tmp_path):
    table = np.concatenate([PLACES, COLOURS / 255.0, np.ones((50, 1))], axis=1)
    table[3, 0] = np.nan
    np.savez(tmp_path / "init_pt_cld.npz", data=table)
    assert len(given_points(scene_in(tmp_path, "panoptic", far=150.0)).places) == 49
    assert len(given_points(scene_in(tmp_path, "blender-video")).places) == 0


@pytest.mark.parametrize("spoilt", ["cut", "header", "text", "npz", "missing"])
def test_unfit_files_are_named_in_one_line(tmp_path, spoilt):
    path, kind = tmp_path / "points.ply", "blender-video"
    write_ply(path, "binary_little_endian")
    whole = path.read_bytes()
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": [], "ply_file_path": path.name}))
    if spoilt == "missing":
        path.unlink()
    elif spoilt == "npz":
        path, kind = tmp_path / "init_pt_cld.npz", "panoptic"
        np.savez(path, data=PLACES)
    else:
        path.write_bytes({"cut": whole[:-200], "header": whole[:60], "text": b"a recipe for soup\n"}[spoilt])
    with pytest.raises(UserError) as caught:
        given_points(scene_in(tmp_path, kind))
    assert "\n" not in str(caught.value)
    assert (tmp_path / "transforms.json" if spoilt == "missing" else path).name in str(caught.value)
