"""Damaged calibrations: one line each that names the file, exit code 2, and no scene."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from calibration_files import FORMATS, NAMES, write_videos
from damages import cut, edit, put

from syncnerf.cli import main
from syncnerf.importers.formats import IMPORTERS, read_calibration


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    """Replace the first occurrence of a text that is there."""

    def spoil(root: Path) -> None:
        text = (root / file).read_text()
        assert old in text
        (root / file).write_text(text.replace(old, new, 1))

    return spoil


def pickled(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Change the second camera's pickle."""

    def spoil(root: Path) -> None:
        file = root / NAMES[1] / "cameraIntrinsicsExtrinsics.pickle"
        record = pickle.loads(file.read_bytes())
        change(record)
        file.write_bytes(pickle.dumps(record))

    return spoil


def without(file: str, start: str) -> Callable[[Path], None]:
    """Leave out the first line that begins so."""

    def spoil(root: Path) -> None:
        lines = (root / file).read_text().splitlines()
        lines.remove(next(line for line in lines if line.startswith(start)))
        (root / file).write_text("\n".join(lines))

    return spoil


TOML, QCA, EXTRI, INTRI = "Calib_scene.toml", "session.qca.txt", "extri.yml", "intri.yml"
ANIPOSE = "calibration.toml"
STUDIO, NERF, MODEL = "calibration_session.json", "transforms.json", "sparse/0"
DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "toml breaks off": ("pose2sim", cut(TOML, 0.55), "not valid toml"),
    "toml is binary": ("pose2sim", put(TOML, b"\xff\xfe\x00\x80"), "cannot be read as text"),
    "toml is empty": ("pose2sim", put(TOML, b""), "no calibration of a known format"),
    "toml without rotation": ("pose2sim", without(TOML, "rotation"), "no rotation"),
    "toml without matrix": ("pose2sim", without(TOML, "matrix"), "no matrix"),
    "toml without translation": ("pose2sim", without(TOML, "translation"), "no translation"),
    "toml with a nan": ("pose2sim", replace(TOML, "translation = [", "translation = [nan, "), "NaN"),
    "toml with a long translation": ("pose2sim", replace(TOML, "translation = [", "translation = [1.0, "), "4 numbers"),
    "toml with a word": ("pose2sim", replace(TOML, "rotation = [", 'rotation = ["x", '), "matrix of numbers"),
    "toml with a flat matrix": ("pose2sim", replace(TOML, "matrix = [[", "matrix = [[1.0, "), "matrix of numbers"),
    "toml, transposed matrix": (
        "pose2sim",
        replace(TOML, "matrix = [[41.0, 0.0, 23.1], [0.0, 40.0, 15.2], [0.0, 0.0, 1.0]]",
                "matrix = [[41.0, 0.0, 0.0], [0.0, 40.0, 0.0], [23.1, 15.2, 1.0]]"), "transposed"),
    "toml, negative focal length": ("pose2sim", replace(TOML, "[[41.0", "[[-41.0"), "positive focal lengths"),
    "toml, size of three": ("pose2sim", replace(TOML, "size = [48", "size = [48, 3"), "its size"),
    "toml, size of nothing": ("pose2sim", replace(TOML, "size = [48", "size = [0"), "0x32"),
    "toml, name is a list": ("freemocap", replace("recording_camera_calibration.toml", 'name = "cam_1"', "name = [1]"),
                             "'name' should be"),
    "toml, two of one name": ("anipose", replace(ANIPOSE, 'name = "cam_1"', 'name = "cam_0"'), "two cameras"),
    "toml, too many coefficients": (
        "anipose", replace(ANIPOSE, "distortions = [", "distortions = [1.0, 2.0, 3.0, 4.0, "), "coefficients"),
    "caliscope, skew rotation": (
        "caliscope-before", replace("config.toml", "rotation = [[", "rotation = [[5.0, 0.0, 0.0], ["), "shape"),
    "caliscope, scaled rotation": ("caliscope-before", lambda root: _scaled(root / "config.toml"), "no rotation"),
    "caliscope, none placed": ("caliscope", lambda root: _unplaced(root / "camera_array.toml"), "no calibrated camera"),
    "qca breaks off": ("qualisys", cut(QCA, 0.7), "not valid xml"),
    "qca without intrinsics": ("qualisys", replace(QCA, "<intrinsic", "<other"), "<intrinsic>"),
    "qca without a number": ("qualisys", replace(QCA, 'r22="', 'r22="x'), "'r22'"),
    "qca without x": ("qualisys", replace(QCA, ' x="', ' ex="'), "'x'"),
    "qca with a mirrored rotation": ("qualisys", replace(QCA, 'r11="', 'r11="9'), "no rotation"),
    "qca without serial": ("qualisys", replace(QCA, 'serial="cam_1"', ""), "no serial"),
    "qca with entities": (
        "qualisys", replace(QCA, "<calibration>", '<!DOCTYPE c [<!ENTITY a "aaa">]><calibration>'), "entities"),
    "qca with infinity": ("qualisys", replace(QCA, ' x="', ' x="inf" y2="'), "NaN or infinity"),
    "easymocap without names": ("easymocap", replace(INTRI, "names:", "nomes:"), "'names'"),
    "easymocap without a camera": ("easymocap", replace(EXTRI, "T_cam_1", "T_cam_9"), "no translation"),
    "easymocap without intrinsics": ("easymocap", replace(INTRI, "K_cam_1", "K_cam_9"), "no K_cam_1"),
    "easymocap, matrix breaks off": ("easymocap", cut(EXTRI, 0.6), "extri.yml"),
    "easymocap, wrong count": ("easymocap", replace(EXTRI, "rows: 3", "rows: 4"), "does not fill"),
    "easymocap runs code": (
        "easymocap", replace(EXTRI, "names:", "evil: !!python/object/apply:os.getcwd []\nnames:"), "not valid yaml"),
    "opencv yaml without pose": ("opencv-yaml", replace("cam_1.yml", "tvec", "vec"), "no pose"),
    "opencv yaml, not yaml": ("opencv-yaml", replace("cam_1.yml", "---", "--- [}"), "not valid yaml"),
    "pickle breaks off": ("opencap", cut("cam_1/cameraIntrinsicsExtrinsics.pickle", 0.4), "no pickle of numbers"),
    "pickle is empty": ("opencap", put("cam_1/cameraIntrinsicsExtrinsics.pickle", b""), "no pickle of numbers"),
    "pickle of a list": ("opencap", put("cam_1/cameraIntrinsicsExtrinsics.pickle", pickle.dumps([1])), "no camera"),
    "pickle of objects": ("opencap", pickled(lambda r: r.update(rotation=Path("x"))), "neither number nor array"),
    "pickle of texts": ("opencap", pickled(lambda r: r.update(rotation=np.array([["a"] * 3] * 3))), "of numbers"),
    "pickle without translation": ("opencap", pickled(lambda r: r.pop("translation")), "no translation"),
    "pickle, odd size": ("opencap", pickled(lambda r: r.update(imageSize=[1])), "its size"),
    "studio, no list": ("panoptic-studio", edit(STUDIO, lambda r: r.update(cameras={"distCoef": 1})), "list"),
    "studio, no name": ("panoptic-studio", edit(STUDIO, lambda r: r["cameras"][1].pop("name")), "no name"),
    "studio, no R": ("panoptic-studio", edit(STUDIO, lambda r: r["cameras"][1].pop("R")), "no rotation"),
    "studio breaks off": ("panoptic-studio", cut(STUDIO, 0.5), "not valid json"),
    "colmap, cameras break off": ("colmap-binary", cut(f"{MODEL}/cameras.bin", 0.8), "breaks off"),
    "colmap, images break off": ("colmap-binary", cut(f"{MODEL}/images.bin", 0.5), "breaks off"),
    "colmap, last points break off": ("colmap-binary", cut(f"{MODEL}/images.bin", 0.96), "breaks off"),
    "colmap, its points break off": ("colmap-binary", cut(f"{MODEL}/points3D.bin", 0.9), "points3D.bin: breaks off"),
    "colmap text, a point's words": ("colmap-text", replace("points3D.txt", "\n9 ", "\n9\n9 "), "a point's id"),
    "nerfstudio, damaged points": ("nerfstudio", cut("sparse_pc.ply", 0.7), "cannot be read as a .ply"),
    "colmap, unknown model": (
        "colmap-binary", lambda root: _patched(root / MODEL / "cameras.bin", 12, 77), "model number 77"),
    "colmap, absurd count": ("colmap-binary", lambda root: _patched(root / MODEL / "images.bin", 4, 255), "breaks off"),
    "colmap text, unknown model": ("colmap-text", replace("cameras.txt", "FULL_OPENCV", "FISHY"), "FISHY"),
    "colmap text, a word": ("colmap-text", replace("cameras.txt", "FULL_OPENCV 48", "FULL_OPENCV x"), "a word"),
    "colmap text, no such camera": ("colmap-text", replace("images.txt", " 2 cam_1.png", " 9 cam_1.png"), "camera 9"),
    "colmap text, too few words": ("colmap-text", replace("images.txt", " 2 cam_1.png", ""), "should hold"),
    "nerfstudio, no frames": ("nerfstudio", edit(NERF, lambda r: r.update(frames={"transform_matrix": 1})), "frames"),
    "nerfstudio, scaled pose": (
        "nerfstudio", edit(NERF, lambda r: r["frames"][1]["transform_matrix"][0].__setitem__(0, 7)), "rigid"),
    "nerfstudio, no file": ("nerfstudio", edit(NERF, lambda r: r["frames"][1].pop("file_path")), "file_path"),
    "nerfstudio, other model": ("nerfstudio", edit(NERF, lambda r: r.update(camera_model="FISHY")), "FISHY"),
    "no such file": ("pose2sim", lambda root: (root / TOML).rename(root / "other.bin"), "no such file"),
}  # fmt: skip


def _scaled(path: Path) -> None:
    lines = path.read_text().splitlines()
    index = next(k for k, line in enumerate(lines) if line.startswith("rotation = [["))
    lines[index] = "rotation = " + json.dumps((1.1 * np.array(json.loads(lines[index][11:]))).tolist())
    path.write_text("\n".join(lines))


def _unplaced(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join('rotation = "null"' if line.startswith("rotation = ") else line for line in lines))


def _patched(path: Path, place: int, value: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] = value
    path.write_bytes(bytes(data))


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_videos(tmp_path_factory.mktemp("recording") / "videos")


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_ends_in_one_line(videos, tmp_path, capsys, name):
    pytest.importorskip("yaml")
    form, spoil, reason = DAMAGES[name]
    named = FORMATS[form][0](tmp_path / "calibration")
    spoil(tmp_path / "calibration")
    code = main(["import", str(named), f"--videos={videos}", f"--out={tmp_path / 'scene'}"])
    shown = capsys.readouterr()
    assert code == 2
    assert shown.out == ""
    assert shown.err.startswith("syncnerf: error: ")
    assert shown.err.count("\n") == 1
    assert len(shown.err) < 420
    assert reason in shown.err
    assert str(tmp_path / "calibration") in shown.err
    assert not (tmp_path / "scene").exists()


def test_calibrations_of_every_format_are_damaged():
    damaged = {form for form, _, _ in DAMAGES.values()}
    # Some have several layouts, as colmap-text and colmap-binary.
    assert not [name for name in IMPORTERS if not any(f"{form}-".startswith(f"{name}-") for form in damaged)]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "cam_1.mp4").write_bytes(b"nothing"), "cannot be read as a video"),
        (lambda folder: [(folder / f"cam_{k}.mp4").unlink() for k in (0, 1)], "at least two"),
        (lambda folder: (folder / "cam_0.mp4").rename(folder / "cam_1.mov"), "own name"),
        (lambda folder: [(folder / f"cam_{k}.mp4").rename(folder / f"{'abc'[k]}.mp4") for k in (0, 1, 2)] and
         (folder / "a.mp4").unlink(), "match none"),
        (lambda folder: (folder / "timestamps.csv").write_text("cam_id,when\n"), "columns"),
        (lambda folder: (folder / "timestamps.csv").write_text("cam_id,frame_time\n0,x\n"), "line 2"),
        (lambda folder: (folder / "timestamps.csv").write_text("cam_id,frame_time\n0,1.5\n"), "1 frames"),
        (lambda folder: (folder / "timestamps.csv").write_text("cam_id,frame_time\n0,1.5\n0,1.5\n"), "same time"),
    ],
)  # fmt: skip
def test_damaged_recordings(tmp_path, capsys, spoil, reason):
    videos = write_videos(tmp_path / "videos")
    spoil(videos)
    named = FORMATS["pose2sim"][0](tmp_path / "calibration")
    assert main(["import", str(named), f"--videos={videos}", f"--out={tmp_path / 'scene'}"]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert not (tmp_path / "scene").exists()


def test_the_command_shows_table_notes_and_picture(videos, tmp_path, capsys):
    named = FORMATS["anipose"][0](tmp_path / "calibration")
    arguments = ["import", str(named), f"--videos={videos}", f"--out={tmp_path / 'scene'}", "--unit=cm"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "anipose calibration: 3 cameras, 3 with a video" in shown
    for name in NAMES:
        assert name in shown
    assert "unit is not known" not in shown
    assert (tmp_path / "scene" / "rig.png").read_bytes()[:4] == b"\x89PNG"
    places = [
        entry["transform_matrix"][0][3]
        for entry in json.loads((tmp_path / "scene" / "transforms.json").read_text())["frames"]
    ]
    assert max(map(abs, places)) < 0.05


def test_a_folder_with_two_calibrations_says_which_is_taken(videos, tmp_path, capsys):
    folder = FORMATS["nerfstudio"][0](tmp_path / "calibration").parent
    shutil.copy(FORMATS["anipose"][0](tmp_path / "other"), folder / "rig.toml")
    assert main(["import", str(folder), f"--videos={videos}", f"--out={tmp_path / 'scene'}"]) == 0
    said = "transforms.json (nerfstudio) is taken, and not rig.toml beside it"
    assert said in capsys.readouterr().out
    assert said not in "".join(read_calibration(folder, "nerfstudio").notes)
    (folder / "rig.toml").unlink()
    assert said not in "".join(read_calibration(folder).notes)


@pytest.mark.parametrize("name", FORMATS)
def test_files_of_one_calibration_are_no_others(tmp_path, name):
    written = FORMATS[name][0](tmp_path / "calibration")
    folder = written if written.is_dir() else written.parent
    assert not any("is taken" in note for note in read_calibration(folder).notes)
