"""Damaged scenes end with one line that names the file, or are read rightly; never with a traceback."""

import shutil

import numpy as np
import pytest
from damages import DAMAGES
from format_scenes import FORMATS

from syncnerf.errors import UserError
from syncnerf.scene import load_scene


@pytest.fixture(scope="session")
def valid_scenes(tmp_path_factory):
    """One valid folder per format, to be copied."""
    root = tmp_path_factory.mktemp("valid")
    for name, write in FORMATS.items():
        (root / name).mkdir()
        write(root / name)
    return root


def read_everything(root):
    """What training does first: read, decode, look at every frame."""
    scene = load_scene(root)
    scene.frame_cache.prepare(scene.cameras)
    for index, camera in enumerate(scene.cameras):
        frames = scene.frames(index)
        size = camera.intrinsics
        assert frames.shape == (camera.frame_count, size.height, size.width, 3)
        assert frames[-1].max() > 0
    assert np.isfinite(scene.field_bounds.numpy()).all()
    return scene


@pytest.mark.parametrize("name", DAMAGES)
def test_damage(valid_scenes, tmp_path, name):
    damage = DAMAGES[name]
    root = shutil.copytree(valid_scenes / damage.format, tmp_path / "scene with a space")
    damage.spoil(root)
    try:
        read_everything(root)
    except UserError as error:
        message = str(error)
    else:
        assert damage.names is None or damage.either
        return
    assert damage.names is not None, message
    assert "\n" not in message
    assert damage.names in message
    assert len(message) < 400
    # What is left in the cache is whole: mending the scene gives the right frames.
    cache = root / ".syncnerf_cache"
    assert not list(cache.glob(".*.partial*"))
    if (root / "transforms.json").is_dir():
        return
    mended = valid_scenes / damage.format
    for path in list(root.rglob("*")):
        if path.is_dir() and not (mended / path.relative_to(root)).is_dir() and cache not in (path, *path.parents):
            shutil.rmtree(path)
    for path in mended.rglob("*"):
        if path.is_file() and ".syncnerf_cache" not in path.parts:
            target = root / path.relative_to(mended)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    scene, reference = read_everything(root), load_scene(mended)
    for index in range(len(reference.cameras)):
        np.testing.assert_array_equal(scene.frames(index), reference.frames(index))


def test_scenes_of_every_format_are_damaged():
    assert {damage.format for damage in DAMAGES.values()} == set(FORMATS)
