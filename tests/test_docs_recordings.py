"""Every command of docs/recordings.md is run, in its order, in a folder as the page describes it."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tiny_scene import ANGLE, camera_poses, picture, write_video

from syncnerf.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "recordings.md"
FPS, FRAMES, SIDE = 12, 84, 32
OFFSETS = (0.07, 0.0, -0.31, 0.18)
NAMES = [f"cam{k}" for k in range(len(OFFSETS))]


def commands() -> list[list[str]]:
    """The page's commands as lists of words."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.strip().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Videos, Pose2Sim's calibration and its keypoints."""
    root = tmp_path_factory.mktemp("recording")
    (root / "videos").mkdir()
    (root / "calibration").mkdir()
    focal = float(0.5 * SIDE / np.tan(0.5 * ANGLE))
    text = ""
    for name, offset, pose in zip(NAMES, OFFSETS, camera_poses(), strict=True):
        times = np.arange(FRAMES) / FPS + offset
        moved = times + 0.5 * np.sin(2.3 * times) + 0.3 * np.sin(5.1 * times + 1)
        write_video(root / "videos" / f"{name}.mp4", [picture(pose.numpy(), t, SIDE) for t in moved], FPS)
        turn = np.diag([1.0, -1.0, -1.0]) @ pose.numpy()[:3, :3].T
        place = -turn @ pose.numpy()[:3, 3]
        matrix = [[focal, 0.0, SIDE / 2 - 0.5], [0.0, focal, SIDE / 2 - 0.5], [0.0, 0.0, 1.0]]
        text += f'[{name}]\nname = "{name}"\nsize = [{SIDE}, {SIDE}]\nmatrix = {matrix}\n'
        text += "distortions = [0.0, 0.0, 0.0, 0.0]\n"
        text += f"rotation = {Rotation.from_matrix(turn).as_rotvec().tolist()}\ntranslation = {place.tolist()}\n"
        text += "fisheye = false\n\n"
        (root / "pose" / f"{name}_json").mkdir(parents=True)
        for frame in range(FRAMES):
            record = {"version": 1.3, "people": [{"pose_keypoints_2d": [float(frame), 1.0, 0.9]}]}
            (root / "pose" / f"{name}_json" / f"{name}_{frame:06d}.json").write_text(json.dumps(record))
    (root / "calibration" / "Calib_scene.toml").write_text(text)
    return root


def test_every_command_of_the_page_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    run = []
    for words in commands():
        assert words[0] == "syncnerf"
        if words[1] == "calibrate":  # needs videos with texture: run by test_importers_calibrate.py
            continue
        assert main(words[1:]) == 0, f"{shlex.join(words)}: {capsys.readouterr().err}"
        run.append(words[1])
    assert set(run) == {"import", "info", "sync", "export"}
    for path in ("rig.png", "plots/landscapes.png", "exported/aligned/cam0.mp4", "exported/caliscope/timestamps.csv"):
        assert (folder / path).is_file()
    found = json.loads((folder / "sync.json").read_text())["cameras"]
    for name, offset in zip(NAMES, OFFSETS, strict=True):
        assert found[name]["offset"] == pytest.approx(offset - OFFSETS[1], abs=0.3 / FPS)
    assert "rate_ppm" in json.loads((folder / "clocks.json").read_text())["cameras"]["cam2"]


def test_the_page_names_every_format():
    from syncnerf.export.command import NAMES as EXPORTS

    text = PAGE.read_text(encoding="utf-8")
    for name in EXPORTS:
        assert f"| `{name}` |" in text
    for tool in (
        "Pose2Sim",
        "anipose",
        "FreeMoCap",
        "caliscope",
        "Qualisys",
        "EasyMocap",
        "OpenCap",
        "COLMAP",
        "nerfstudio",
    ):
        assert f"| {tool}" in text
