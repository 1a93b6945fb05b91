"""``syncnerf export``: every form is read back by a reader that is not ours, or by its published layout."""

import csv
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from exported import decoded, run_script
from odd_videos import write_timed
from PIL import Image
from tiny_scene import ANGLE, FPS, FRAMES, SIDE, TRUE_OFFSETS, camera_poses, edit_json, write_video

from syncnerf.cli import main
from syncnerf.errors import UserError
from syncnerf.export.alignment import read_alignment
from syncnerf.export.copies import copy_streams
from syncnerf.export.timeline import write_final_cut
from syncnerf.offsets_file import read_rates
from syncnerf.scene import load_scene

RATES = (0.0, 0.0, 400.0, -300.0)
"""Parts per million; far more than any clock has, so that twelve frames show it."""
NAMES = [f"cam{k:02d}" for k in range(len(TRUE_OFFSETS))]
TIMES = [np.arange(FRAMES) / FPS * (1 + 1e-6 * rate) + offset for offset, rate in zip(TRUE_OFFSETS, RATES, strict=True)]
"""When each frame was exposed, seconds of scene time."""


@pytest.fixture
def offsets(tmp_path) -> Path:
    """An offsets file as sync writes it."""
    cameras = {
        name: {"offset": offset, "stderr": 0.001, "rate_ppm": rate}
        for name, offset, rate in zip(NAMES, TRUE_OFFSETS, RATES, strict=True)
    }
    path = tmp_path / "offsets.json"
    path.write_text(json.dumps({"unit": "seconds", "reference": "cam01", "cameras": cameras, "source": "sync"}))
    return path


@pytest.fixture
def export(own_scene, offsets, tmp_path):
    """Runs the command; returns the folder."""

    def run(formats: str, *more: str) -> Path:
        out = tmp_path / "exported"
        arguments = [f"--datadir={own_scene}", f"--offsets={offsets}", f"--to={formats}", f"--out={out}", *more]
        assert main(["export", *arguments]) == 0
        return out

    return run


def test_caliscope_reads_every_frames_time(export, own_scene):
    folder = export("caliscope") / "caliscope"
    with (folder / "timestamps.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    begin = min(times[0] for times in TIMES)
    for index, name in enumerate(NAMES):
        own = [float(row["frame_time"]) for row in rows if row["cam_id"] == str(index)]
        np.testing.assert_allclose(own, TIMES[index] - begin, atol=2e-9)
        assert (folder / f"cam_{index}.mp4").resolve() == (own_scene / f"{name}.mp4").resolve()


def write_poses(folder: Path, people: int, missing: tuple[int, int] | None = None) -> None:
    """Keypoints that move evenly: their places say the time. One point is never found; a frame may have no file."""
    for index, name in enumerate(NAMES):
        (folder / f"{name}_json").mkdir(parents=True)
        for frame, time in enumerate(TIMES[index]):
            if (index, frame) == missing:
                continue
            points = [100 + 50 * time, 200 - 30 * time, 0.5 + 0.01 * frame, 0, 0, 0]
            record = {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": points}] * people}
            (folder / f"{name}_json" / f"{name}_{frame:06d}.json").write_text(json.dumps(record))


def poses_of(folder: Path, name: str) -> list[dict]:
    files = sorted((folder / f"{name}_json").iterdir())
    assert [file.name for file in files] == [f"{name}_{number:06d}.json" for number in range(len(files))]
    return [json.loads(file.read_text()) for file in files]


def test_pose2sim_gets_keypoints_of_the_same_moments(export, tmp_path, capsys):
    write_poses(tmp_path / "pose", people=1)
    folder = export("pose2sim", f"--poses={tmp_path / 'pose'}") / "pose-sync"
    begin, end = max(times[0] for times in TIMES), min(times[-1] for times in TIMES)
    moments = begin + np.arange(int((end - begin) * FPS) + 1) / FPS
    for index, name in enumerate(NAMES):
        records = poses_of(folder, name)
        assert len(records) == len(moments)
        points = np.array([record["people"][0]["pose_keypoints_2d"] for record in records])
        np.testing.assert_allclose(points[:, 0], 100 + 50 * moments, atol=1e-9)
        np.testing.assert_allclose(points[:, 1], 200 - 30 * moments, atol=1e-9)
        assert (points[:, 3:] == 0).all()
        before = np.array([TIMES[index][TIMES[index] <= moment + 1e-12].size - 1 for moment in moments])
        np.testing.assert_allclose(points[:, 2], 0.5 + 0.01 * before, atol=1e-9)  # the lower confidence
    assert "nearest" not in capsys.readouterr().out


def test_pose2sim_takes_the_nearest_frame_of_several_people(export, tmp_path, capsys):
    write_poses(tmp_path / "pose", people=2)
    folder = export("pose2sim", f"--poses={tmp_path / 'pose'}") / "pose-sync"
    begin = max(times[0] for times in TIMES)
    for index, name in enumerate(NAMES):
        for number, record in enumerate(poses_of(folder, name)):
            nearest = np.abs(TIMES[index] - begin - number / FPS).argmin()
            assert record["people"][1]["pose_keypoints_2d"][0] == pytest.approx(100 + 50 * TIMES[index][nearest])
    assert "nearest frames taken" in capsys.readouterr().out


def test_pose2sim_invents_nothing_where_a_frame_has_no_person(export, tmp_path):
    write_poses(tmp_path / "pose", people=1, missing=(1, 5))
    folder = export("pose2sim", f"--poses={tmp_path / 'pose'}") / "pose-sync"
    missing = [number for number, record in enumerate(poses_of(folder, "cam01")) if not record["people"]]
    # The common time begins at 0.18 s; frame 5 (0.5 s) is nearest to its fourth moment, 0.48 s.
    assert missing == [3]


def test_transforms_hold_exact_times_and_undistorted_images(export, own_scene):
    folder = export("transforms") / "transforms"
    begin, end = min(times[0] for times in TIMES), max(times[-1] for times in TIMES)
    scene = load_scene(own_scene)
    seen = 0
    for split in ("train", "test"):
        record = json.loads((folder / f"transforms_{split}.json").read_text())
        assert record["camera_angle_x"] == pytest.approx(ANGLE)
        for entry in record["frames"]:
            name, number = Path(entry["file_path"]).name.split("_")
            index, frame = NAMES.index(name), int(number)
            assert (split == "test") == (index == 0)
            assert entry["time"] == pytest.approx((TIMES[index][frame] - begin) / (end - begin), abs=1e-12)
            assert entry["time_seconds"] == pytest.approx(TIMES[index][frame] - begin, abs=1e-12)
            np.testing.assert_allclose(entry["transform_matrix"], camera_poses()[index].numpy(), atol=1e-12)
            assert (entry["w"], entry["h"], entry["cx"]) == (SIDE, SIDE, SIDE / 2)
            with Image.open(folder / f"{entry['file_path']}.png") as image:
                assert (np.asarray(image) == scene.frames(index)[frame]).all()
            seen += 1
    assert seen == len(NAMES) * FRAMES
    assert (folder / "transforms_val.json").read_text() == (folder / "transforms_test.json").read_text()


def nearest_frames(index: int) -> list[int]:
    """Frames of a camera nearest to each moment of the common time."""
    begin, end = max(times[0] for times in TIMES), min(times[-1] for times in TIMES)
    moments = begin + np.arange(round((end - begin) * FPS) + 1) / FPS
    return [int(np.abs(TIMES[index] - moment).argmin()) for moment in moments]


def test_n3v_table_and_videos(export, own_scene):
    folder = export("n3v") / "n3v"
    table = np.load(folder / "poses_bounds.npy")
    assert table.shape == (len(NAMES), 17)
    scene = load_scene(own_scene)
    counts = set()
    for index, row in enumerate(table):
        down, right, backward, place, size = row[:15].reshape(3, 5).T
        pose = camera_poses()[index].numpy()
        np.testing.assert_allclose(np.stack([right, -down, backward, place], axis=1), pose[:3], atol=1e-12)
        np.testing.assert_allclose(size, [SIDE, SIDE, 0.5 * SIDE / np.tan(ANGLE / 2)], atol=1e-9)
        copy = decoded(folder / f"cam{index:02d}.mp4")
        counts.add(len(copy))
        for number, frame in enumerate(nearest_frames(index)[: len(copy)]):
            distance = [np.abs(copy[number] - image.astype(int)).mean() for image in scene.frames(index)]
            assert int(np.argmin(distance)) == frame
    assert len(counts) == 1
    assert table[0, 15] < table[0, 16]


def test_what_n3v_cannot_say_is_told(export, own_scene, capsys):
    images = list(decoded(own_scene / "cam02.mp4").astype(np.uint8))
    write_timed(own_scene / "cam02.mp4", images[::2], [2 * k / FPS for k in range(FRAMES // 2)], rate=Fraction(FPS) / 2)
    edit_json(own_scene / "transforms.json", lambda record: record["frames"][3].update(camera_angle_x=0.5))
    folder = export("n3v") / "n3v"
    own, others = (len(decoded(folder / f"cam0{index}.mp4")) for index in (2, 1))
    told = capsys.readouterr()
    assert f"the videos have {own} to {others} frames; N3V's" in told.out + told.err
    assert "camera cam03: N3V's readers give it the first one's size and focal length" in told.out + told.err
    assert "camera cam01" not in told.out + told.err


def test_timeline_is_read_by_opentimelineio(export, own_scene):
    otio = pytest.importorskip("opentimelineio")
    timeline = otio.adapters.read_from_file(str(export("otio") / "timeline.otio"))
    begin = min(times[0] for times in TIMES)
    assert [track.name for track in timeline.tracks] == NAMES
    for index, track in enumerate(timeline.tracks):
        (clip,) = track.find_clips()
        start = clip.range_in_parent().start_time
        note = clip.metadata["syncnerf"]
        assert start.value == round((TIMES[index][0] - begin) * FPS)
        assert start.to_seconds() + note["remainder"] == pytest.approx(TIMES[index][0] - begin, abs=1e-9)
        assert note["rate_ppm"] == pytest.approx(RATES[index])
        assert clip.available_range().duration.value == FRAMES
        path = otio.url_utils.filepath_from_url(clip.media_reference.target_url)
        assert Path(path) == (own_scene / f"{NAMES[index]}.mp4").resolve()


def test_final_cut_xml_places_the_clips(own_scene, offsets, tmp_path):
    pytest.importorskip("opentimelineio")
    pytest.importorskip("otio_fcp_adapter")
    alignment = read_alignment(load_scene(own_scene), offsets)
    with pytest.raises(UserError, match="10 frames per second"):
        write_final_cut(alignment, tmp_path / "timeline.xml")
    cameras = tuple(replace(camera, fps=30.0) for camera in alignment.scene.cameras)
    write_final_cut(replace(alignment, scene=replace(alignment.scene, cameras=cameras)), tmp_path / "timeline.xml")
    root = ElementTree.parse(tmp_path / "timeline.xml").getroot()
    starts = {item.findtext("name"): int(item.findtext("start")) for item in root.iter("clipitem")}
    assert starts == {name: round((offset + 0.13) * 30) for name, offset in zip(NAMES, TRUE_OFFSETS, strict=True)}
    rates = {int(item.findtext("rate/timebase")) for item in root.iter("clipitem")}
    assert rates == {30}


def test_script_of_ffmpeg_makes_the_same_cut(export, own_scene):
    folder = export("ffmpeg")
    run_script(folder)
    counts = set()
    for index, name in enumerate(NAMES):
        copy, source = decoded(folder / "aligned" / f"{name}.mp4"), decoded(own_scene / f"{name}.mp4")
        counts.add(len(copy))
        for number, frame in enumerate(nearest_frames(index)[: len(copy)]):
            distance = np.abs(source - copy[number]).mean((1, 2, 3))
            assert int(distance.argmin()) == frame
    assert len(counts) == 1


def test_freemocap_gets_equally_many_frames_and_a_timecode(export):
    folder = export("freemocap") / "synchronized_videos"
    counts = set()
    for index, name in enumerate(NAMES):
        with av.open(str(folder / f"{name}.mp4")) as container:
            assert container.streams.video[0].metadata["timecode"].startswith("00:00:00:0")
        copy = decoded(folder / f"{name}.mp4")
        counts.add(len(copy))
        assert (
            nearest_frames(index)[0]
            == json.loads((folder / "alignment.json").read_text())["cameras"][name]["first_frame"]
        )
    assert len(counts) == 1
    assert not list(folder.glob(".*"))


def test_copies_begin_at_the_sources_own_timecode(own_scene, offsets, tmp_path):
    """The reference's (frame 0 is its 10:00:00:05): the common time begins 1.8 frames later, at 10 frames a second."""
    for name, start in (("cam00", "23:00:00:00"), ("cam01", "10:00:00:05"), ("cam03", "23:00:00:00")):
        copy_streams([own_scene / f"{name}.mp4"], own_scene / f"{name}.mp4", start)
    out = tmp_path / "exported"
    assert main(["export", f"--datadir={own_scene}", f"--offsets={offsets}", "--to=aligned", f"--out={out}"]) == 0
    for name in NAMES:
        with av.open(str(out / "aligned" / f"{name}.mp4")) as container:
            text = container.streams.video[0].metadata["timecode"]
        assert [int(number) for number in text.split(":")] == [10, 0, 0, 7]


def test_a_start_timecode_is_that_of_the_common_beginning(own_scene, offsets, tmp_path):
    """It begins at 0.18 s, 0.02 s before the reference's nearest frame: 36000.68 s, frame 34 of a faster camera."""
    write_video(own_scene / "cam02.mp4", [np.full((SIDE, SIDE, 3), 90, np.uint8)] * 60, fps=50)
    copy_streams([own_scene / "cam01.mp4"], own_scene / "cam01.mp4", "10:00:00:05")
    out = tmp_path / "exported"
    assert main(["export", f"--datadir={own_scene}", f"--offsets={offsets}", "--to=aligned", f"--out={out}"]) == 0
    texts = {}
    for name in NAMES:
        with av.open(str(out / "aligned" / f"{name}.mp4")) as container:
            texts[name] = [int(number) for number in container.streams.video[0].metadata["timecode"].split(":")]
    assert texts == {name: [10, 0, 0, 34 if name == "cam02" else 7] for name in NAMES}


def test_videos_that_are_called_alike_are_all_copied(own_scene, offsets, tmp_path):
    """A folder per camera: the copies lie in one, and each is its own camera's."""
    record = json.loads((own_scene / "transforms.json").read_text())
    for name, entry in zip(NAMES, record["frames"], strict=True):
        (own_scene / name).mkdir()
        (own_scene / entry["file_path"]).rename(own_scene / name / "video.mp4")
        entry["file_path"] = f"{name}/video.mp4"
    (own_scene / "transforms.json").write_text(json.dumps(record))
    out = tmp_path / "exported"
    assert main(["export", f"--datadir={own_scene}", f"--offsets={offsets}", "--to=aligned", f"--out={out}"]) == 0
    cameras = json.loads((out / "aligned" / "alignment.json").read_text())["cameras"]
    assert {name: entry["file"] for name, entry in cameras.items()} == {name: f"{name}.mp4" for name in NAMES}
    for name, entry in cameras.items():
        source = decoded(own_scene / name / "video.mp4")[entry["first_frame"]]
        assert np.abs(decoded(out / "aligned" / entry["file"])[0] - source).mean() < 3


def test_cuts_go_by_the_frames_own_times(own_scene, offsets):
    """A camera that lost frames, and one whose rate wanders: brute force over all their frames."""
    alignment = read_alignment(load_scene(own_scene), offsets)
    lost = np.delete(np.arange(FRAMES + 3) / FPS, [4, 5, 9])
    wandering = np.cumsum(np.random.default_rng(2).uniform(0.05, 0.15, FRAMES))
    cameras = list(alignment.scene.cameras)
    for index, times in ((1, lost), (2, wandering)):
        cameras[index] = replace(cameras[index], given_times=torch.from_numpy(times))
    alignment = replace(alignment, scene=replace(alignment.scene, cameras=tuple(cameras)))
    times = [alignment.times(camera).numpy() for camera in range(len(cameras))]
    begin, end = max(own[0] for own in times), min(own[-1] for own in times)
    moments = begin + np.arange(int((end - begin) * FPS + 1e-6) + 1) / FPS
    for part in alignment.cuts():
        expected = [int(np.abs(times[part.camera] - moment).argmin()) for moment in moments]
        assert list(part.frames) == expected
        assert part.remainder == pytest.approx(times[part.camera][expected[0]] - begin)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--to=calliscope"], "did you mean 'caliscope'"),
        (["--to="], "names no format"),
        (["--to=pose2sim"], "--poses"),
        (["--to=otio", "--poses=."], "--poses"),
        (["--to=otio", "--moments=3"], "--moments is for --splats"),
        (["--to=otio", "--downsample=2"], "--downsample is for --to transforms"),
        (["--to=pose2sim", "--poses=."], "no such folder"),
        (["--to=otio", "--offsets=nowhere.json"], "nowhere.json: no such file"),
    ],
)
def test_mistakes_take_one_line_and_write_nothing(own_scene, offsets, tmp_path, capsys, arguments, reason):
    out = tmp_path / "exported"
    assert main(["export", f"--datadir={own_scene}", f"--offsets={offsets}", f"--out={out}", *arguments]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert not out.exists()
    assert not list(tmp_path.glob(".*partial*"))


def test_undetermined_cameras_are_left_out(own_scene, offsets, tmp_path, capsys):
    record = json.loads(offsets.read_text())
    record["cameras"]["cam03"] = {"offset": None, "stderr": None, "reason": "nothing moves"}
    offsets.write_text(json.dumps(record))
    out = tmp_path / "exported"
    assert main(["export", f"--datadir={own_scene}", f"--offsets={offsets}", "--to=caliscope", f"--out={out}"]) == 0
    assert "camera cam03 is left out" in capsys.readouterr().out
    assert sorted(path.name for path in (out / "caliscope").glob("*.mp4")) == ["cam_0.mp4", "cam_1.mp4", "cam_2.mp4"]


def test_rates_of_an_offsets_file(offsets):
    torch.testing.assert_close(read_rates(offsets, NAMES), 1e-6 * torch.tensor(RATES, dtype=torch.float64))
