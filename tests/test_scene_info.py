"""``syncnerf info``: the table, the common stretch of time, the picture."""

import argparse

import pytest
from format_scenes import FORMATS
from PIL import Image

from syncnerf.errors import UserError
from syncnerf.scene import load_scene
from syncnerf.scene.info_command import add_parser, overlap_line, table


def info(arguments):
    """Run the subcommand."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["info", *arguments])
    return parsed.run(parsed)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_shown(name, tmp_path, capsys):
    (tmp_path / "scene").mkdir()
    FORMATS[name](tmp_path / "scene")
    picture = tmp_path / "rig.png"
    assert info([f"--datadir={tmp_path / 'scene'}", f"--picture={picture}"]) == 0
    shown = capsys.readouterr().out
    scene = load_scene(tmp_path / "scene")
    for word in (*scene.names, scene.format, "common time", "train", "test"):
        assert word in shown
    with Image.open(picture) as image:
        assert min(image.size) > 400
    assert not (tmp_path / "scene" / ".syncnerf_cache").exists()


def test_the_common_time_follows_the_true_offsets(tmp_path):
    FORMATS["blender-video"](tmp_path)
    scene = load_scene(tmp_path)
    # Five frames at 10 fps; offsets 0, 0.1, 0.2 and 0.3 s.
    assert overlap_line(scene).startswith("0.100 s of 0.400 s, 0.300 to 0.400 (by the true offsets)")
    scene.true_offsets = scene.true_offsets * 2
    assert overlap_line(scene).startswith("none")
    scene.true_offsets = None
    assert overlap_line(scene).startswith("0.400 s of 0.400 s")
    assert len(table(scene).splitlines()) == 1 + len(scene.cameras)


def test_a_picture_that_cannot_be_written_is_said_so(tmp_path):
    FORMATS["blender-video"](tmp_path)
    with pytest.raises(UserError, match=r"rig\.png: cannot be written"):
        info([f"--datadir={tmp_path}", f"--picture={tmp_path / 'missing' / 'rig.png'}"])
