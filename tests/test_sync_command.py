"""``syncnerf sync`` from end to end: table, offsets.json, pictures, aligned copies."""

import argparse
import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from moving_spheres import FIELD_OF_VIEW, Spheres, sphere_scene
from odd_videos import write_timed

from syncnerf import assembly
from syncnerf.assembly import make_clock, starting_clock
from syncnerf.errors import UserError
from syncnerf.lost_clocks import lost_cameras
from syncnerf.offsets_file import Estimates, read_offsets, read_rates, write_offsets
from syncnerf.options import parse
from syncnerf.scene import load_scene
from syncnerf.scene.true_offsets import read_true_clocks
from syncnerf.sync import Check, SyncResult, command, synchronize
from syncnerf.sync.command import add_parser
from syncnerf.sync.plots import DOUBTFUL, timeline

OFFSETS = [0.0, 0.11, -0.153, 0.07]
FRAMES = 50


def run(*arguments: str) -> int:
    """The subcommand, as the command line calls it."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["sync", *arguments])
    return parsed.run(parsed)


def write_video(path: Path, frames: np.ndarray, sound: bool = False) -> None:
    """H.264 at 30 frames per second, and a tone if asked for."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        tone = container.add_stream("aac", rate=48000) if sound else None
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
        if tone is not None:
            samples = np.sin(np.arange(48000 * len(frames) // 30) * 0.05).astype(np.float32)
            for first in range(0, len(samples) - 1024, 1024):
                frame = av.AudioFrame.from_ndarray(samples[None, first : first + 1024], format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 48000, first, Fraction(1, 48000)
                container.mux(tone.encode(frame))
            container.mux(tone.encode(None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A scene folder with videos; the third has sound."""
    root = tmp_path_factory.mktemp("scene")
    scene = sphere_scene(tmp_path_factory.mktemp("frames"), OFFSETS, frames=FRAMES, spheres=Spheres(6, 3))
    entries = []
    for index, camera in enumerate(scene.cameras):
        write_video(root / f"{camera.name}.mp4", scene.frames(index), sound=index == 2)
        entries.append({"file_path": f"{camera.name}.mp4", "transform_matrix": camera.pose(0).tolist()})
    record = {"camera_angle_x": FIELD_OF_VIEW, "frames": entries}
    (root / "transforms.json").write_text(json.dumps(record), encoding="utf-8")
    return root


def decoded(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_everything_at_once(folder, tmp_path, capsys):
    out, plots, export = tmp_path / "new" / "offsets.json", tmp_path / "plots", tmp_path / "aligned"
    assert run(f"--datadir={folder}", f"--out={out}", f"--plots={plots}", f"--export={export}") == 0

    table = capsys.readouterr().out
    assert "cam01" in table
    assert "(reference)" in table

    record = json.loads(out.read_text())
    assert record["unit"] == "seconds"
    assert record["source"] == "sync"
    assert record["reference"] == "cam01"
    assert record["cameras"]["cam01"]["offset"] == 0.0
    offsets = read_offsets(out, ["cam00", "cam01", "cam02", "cam03"])
    error = offsets - torch.tensor(OFFSETS, dtype=torch.float64) + OFFSETS[1]
    assert float(error.abs().max()) * 30 < 0.3

    for picture in ("landscapes.png", "timeline.png", "frames.png"):
        assert (plots / picture).read_bytes()[:4] == b"\x89PNG"

    alignment = json.loads((export / "alignment.json").read_text())["cameras"]
    assert {entry["frames"] for entry in alignment.values()} == {FRAMES - 8}  # 0.264 s are not common: 7.9 frames
    for name, entry in alignment.items():
        own, first = offsets[int(name[-2:])], entry["first_frame"]
        begin = float(offsets.max())
        assert first == round((begin - float(own)) * 30)
        assert entry["remainder"] == pytest.approx(first / 30 + float(own) - begin)
        assert abs(entry["remainder"]) <= 0.5 / 30
        copy, source = decoded(export / entry["file"]), decoded(folder / entry["file"])
        assert len(copy) == entry["frames"]
        kept = source[first : first + entry["frames"]]
        # Each frame is nearest to its own source frame: none is lost, doubled or moved.
        for index in range(0, len(kept), 7):
            distance = np.abs(source.astype(int) - copy[index]).mean((1, 2, 3))
            assert distance.argmin() == first + index
            assert distance[first + index] < 3
    with av.open(str(export / "cam02.mp4")) as container, av.open(str(folder / "cam02.mp4")) as source:
        assert container.streams.audio[0].codec_context.name == "aac"
        assert container.streams.video[0].codec_context.name == "h264"
        length = float(container.streams.audio[0].duration * container.streams.audio[0].time_base)
        assert length == pytest.approx((FRAMES - 8) / 30, abs=0.05)
        assert source.streams.audio
    with av.open(str(export / "cam01.mp4")) as container:
        assert not container.streams.audio
        assert container.streams.video[0].average_rate == 30


def test_export_does_not_overwrite(tmp_path):
    """Said before anything is looked at: there is no scene."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        run(f"--datadir={tmp_path / 'none'}", f"--out={tmp_path / 'o.json'}", f"--export={tmp_path / 'kept'}")
    assert (tmp_path / "kept" / "file").read_text() == "mine"


def test_too_short_for_drift(folder, tmp_path):
    with pytest.raises(UserError, match="--drift"):
        run(f"--datadir={folder}", f"--out={tmp_path / 'o.json'}", "--drift")
    assert not (tmp_path / "o.json").exists()


def test_tracks_that_would_not_be_looked_at_are_refused(tmp_path):
    with pytest.raises(UserError, match="looks at no tracks"):
        run(f"--datadir={tmp_path}", "--method=epipolar", f"--tracks={tmp_path}")


def test_strict_fails_where_a_camera_is_not_sure(folder, tmp_path, capsys, monkeypatch):
    out = tmp_path / "o.json"
    assert run(f"--datadir={folder}", f"--out={out}", "--strict") == 0
    assert {entry["verdict"] for entry in json.loads(out.read_text())["cameras"].values()} == {"sure"}
    doubt = Check("check", alternatives=(0.5,), reason="its motion repeats", advice="give --max-offset")
    monkeypatch.setattr(
        command,
        "synchronize",
        lambda *arguments: replace(r := synchronize(*arguments), checks={**r.checks, "cam02": doubt}),
    )
    assert run(f"--datadir={folder}", f"--out={out}") == 0
    assert "its motion repeats: give --max-offset" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"not sure: cam02 \(cam02: its motion repeats\)"):
        run(f"--datadir={folder}", f"--out={out}", "--strict")
    entry = json.loads(out.read_text())["cameras"]["cam02"]
    assert (entry["verdict"], entry["alternatives"], entry["reason"]) == ("check", [0.5], "its motion repeats")


def test_a_doubt_without_advice_ends_with_its_reason(folder):
    scene = load_scene(folder)
    checks = {name: Check("check", reason="two stand alone") for name in scene.names}
    offsets = torch.zeros(4, dtype=torch.float64)
    result = SyncResult(scene.names, 1, "epipolar", offsets, offsets + 1e-3, [], [], checks=checks)
    assert command.table(scene, result).splitlines()[2].strip() == "two stand alone"


def test_trainings_start_from_what_is_sure(folder, caplog, monkeypatch):
    """What is to be checked starts at nothing, free, and is named; where most is, motion is not believed at all."""
    scene = load_scene(folder)
    config = parse([f"--datadir={folder}"])
    offsets = torch.tensor(OFFSETS, dtype=torch.float64) - OFFSETS[1]
    doubt = Check("check", reason="its motion repeats")

    def told(doubtful):
        checks = {name: doubt if name in doubtful else Check("sure") for name in scene.names}
        return SyncResult(scene.names, 1, "epipolar", offsets, torch.full((4,), 1e-3).double(), [], [], checks=checks)

    monkeypatch.setattr(assembly, "synchronize", lambda scene: told(["cam02"]))
    start = starting_clock(config, scene)
    assert start.offsets.isnan().tolist() == [False, False, True, False]
    torch.testing.assert_close(start.offsets[[0, 1, 3]], offsets[[0, 1, 3]])
    clock = make_clock(config, scene, start)
    assert clock.prior.variances.isinf().tolist() == [False, False, True, False]
    # Wherever it goes from there, the field has a time for it.
    room = 0.125 * max(camera.duration for camera in scene.cameras)
    begun = start.offsets.nan_to_num()
    ends = torch.stack([camera.frame_times[[0, -1]] + own for camera, own in zip(scene.cameras, begun, strict=True)])
    assert clock.range[0] <= ends.min() - 0.9 * room
    assert clock.range[1] >= ends.max() + 0.9 * room
    assert "cam02" in caplog.text
    assert "its motion repeats; its offset starts at 0" in caplog.text
    caplog.clear()
    monkeypatch.setattr(assembly, "synchronize", lambda scene: told(["cam00", "cam02", "cam03"]))
    assert starting_clock(config, scene) is None
    assert "cam03: its motion repeats (offset_init sync" in caplog.text
    assert "sought" not in caplog.text, "where all start from zero, none is"


def test_a_training_starts_from_a_file_of_sync_as_from_sync_itself(folder, tmp_path, caplog):
    """With its errors, and what it leaves open is sought; so does none that says nothing of its errors."""
    scene, path = load_scene(folder), tmp_path / "sync.json"
    names, offsets = scene.names, torch.tensor([0.2, 0.0, torch.nan, 0.5], dtype=torch.float64)
    errors = torch.tensor([0.003, 0.001, torch.nan, 0.002], dtype=torch.float64)
    reasons = {"cam02": "nothing moves in its video"}
    write_offsets(path, Estimates(names, "cam01", offsets, errors, "sync", reasons))
    config = parse([f"--datadir={folder}", f"--offset-init={path}"])
    clock = make_clock(config, scene, starting_clock(config, scene))
    assert clock.reckoned
    found = clock.prior.variances.sqrt().nan_to_num(posinf=9.0)
    torch.testing.assert_close(found, errors.nan_to_num(9.0), rtol=1e-3, atol=0)
    assert clock.prior.offset_of(0, 1) == (pytest.approx(0.2), pytest.approx(10**0.5 * 1e-3, rel=1e-3))
    assert lost_cameras(clock, scene) == [2]
    assert "cam02 is not determined by" in caplog.text
    assert "(nothing moves in its video); its offset starts at 0, and is sought" in caplog.text
    write_offsets(path, Estimates(names, "cam01", offsets, errors, "joint", reasons, began_known=True))
    again = make_clock(config, scene, starting_clock(config, scene))
    assert torch.equal(again.prior.covariance, clock.prior.covariance)
    # The errors of a training that began with nothing are those of the valley that it is in.
    write_offsets(path, Estimates(names, "cam01", offsets, errors, "joint", reasons))
    clock = make_clock(config, scene, starting_clock(config, scene))
    assert not clock.reckoned
    torch.testing.assert_close(clock.offsets().detach(), offsets.nan_to_num(0.0))
    assert "hardly moves" in caplog.text
    write_offsets(path, Estimates(names, "cam01", torch.full_like(offsets, torch.nan), errors, "sync", reasons))
    assert starting_clock(config, scene) is None
    assert "offsets start from zero" in caplog.text


def test_offsets_by_which_cameras_never_filmed_together_are_told(folder, tmp_path, caplog):
    """Most are milliseconds. The videos are 1.6 s long, cam00 is not trained."""
    scene, path = load_scene(folder), tmp_path / "sync.json"

    def start(*offsets):
        path.write_text(json.dumps({"cameras": dict(zip(scene.names, offsets, strict=True))}))
        return starting_clock(parse([f"--datadir={folder}", f"--offset-init={path}"]), scene)

    with pytest.raises(UserError, match="no two training cameras filmed at the same time; are its offsets in seconds"):
        start(0.0, 110.0, -153.0, 70.0)
    assert start(50.0, 110.0, 111.0, 109.0) is not None
    assert "no other training camera" not in caplog.text
    assert start(0.0, 0.11, -0.153, 1.8) is not None
    assert "by it cam03 filmed while no other training camera did" in caplog.text


def test_rates_of_a_file_come_with_their_errors(folder, tmp_path):
    scene, path = load_scene(folder), tmp_path / "sync.json"
    further = {name: {"rate_ppm": 100.0 * k, "rate_ppm_stderr": 20.0} for k, name in enumerate(scene.names)}
    zeros = torch.zeros(4, dtype=torch.float64)
    write_offsets(path, Estimates(scene.names, "cam00", zeros, zeros + 0.001, "sync", {}, further))
    config = parse([f"--datadir={folder}", f"--offset-init={path}", "--offset-rates=learn"])
    clock = make_clock(config, scene, starting_clock(config, scene))
    torch.testing.assert_close(clock.rates().detach(), (1e-4 * torch.tensor([-1, 0, 1, 2])).double(), rtol=1e-3, atol=0)
    torch.testing.assert_close(clock.prior.skews_stderr, 20e-6 * clock.halves)


def test_doubts_are_in_the_timeline(folder):
    scene = load_scene(folder)
    scene.frame_cache.prepare(scene.cameras)
    sure = synchronize(scene)
    assert not {DOUBTFUL} & bar_colours(timeline(scene, sure))
    doubt = Check("check", reason="its motion repeats")
    figure = timeline(scene, replace(sure, checks=sure.checks | {"cam02": doubt}))
    assert DOUBTFUL in bar_colours(figure)
    assert any("its motion repeats" in text.get_text() for text in figure.axes[1].texts)


def bar_colours(figure) -> set[str]:
    """Of the bars after synchronisation."""
    return {to_hex(bar.get_facecolor()) for bar in figure.axes[1].patches}


@pytest.mark.parametrize("marked", [{"x264-params": "tff=1"}, {}], ids=["marked", "not marked"])
def test_an_interlaced_video_among_others_is_in_doubt(folder, tmp_path, marked):
    """Rows of two moments in one frame: motion may be seen a quarter of a frame late, and sync says so.

    Where all are interlaced, all see it alike, and all are sure.
    """
    scene, true = tmp_path / "scene", torch.tensor(OFFSETS, dtype=torch.float64) - OFFSETS[1]
    shutil.copytree(folder, scene)

    def weave(name: str, **options: str) -> None:
        frames = decoded(folder / f"{name}.mp4")
        woven = frames[::2].copy()
        woven[:, 1::2] = frames[1::2, 1::2]
        write_timed(scene / f"{name}.mp4", woven, [k / 15 for k in range(len(woven))], rate=15, **options)

    weave("cam03", **marked)
    result = synchronize(load_scene(scene))
    assert abs(float(result.offsets[3] - true[3])) < 1.5 * float(result.stderr[3])
    assert float(result.stderr[3]) > 0.25 / 15 > float(result.stderr[:3].max())
    assert [name for name, verdict in result.verdicts.items() if verdict != "sure"] == ["cam03"]
    assert "interlaced" in result.checks["cam03"].reason
    for name in ("cam00", "cam01", "cam02"):
        weave(name, **{"x264-params": "tff=1"})
    result = synchronize(load_scene(scene))
    assert set(result.verdicts.values()) == {"sure"}
    assert bool(((result.offsets - true).abs() < 3 * result.stderr).all())


def test_whole_frames_that_are_marked_as_interlaced_leave_no_doubt_beside_others(folder, tmp_path):
    scene = tmp_path / "scene"
    shutil.copytree(folder, scene)
    for name in ("cam00", "cam01", "cam02", "cam03"):
        frames = decoded(folder / f"{name}.mp4")
        write_timed(scene / f"{name}.mp4", frames, [k / 30 for k in range(len(frames))], **{"x264-params": "tff=1"})
    assert set(synchronize(load_scene(scene)).verdicts.values()) == {"sure"}


def test_true_offsets_are_never_overwritten(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    truth = '{"seconds": [0.0, 0.11, -0.153, 0.07]}'
    (tmp_path / "offsets.json").write_text(truth)
    assert run(f"--datadir={folder}") == 0
    assert (tmp_path / "offsets.json").read_text() == truth
    assert json.loads((tmp_path / "sync.json").read_text())["source"] == "sync"
    with pytest.raises(UserError, match="true offsets, which are never overwritten"):
        run(f"--datadir={folder}", "--out=offsets.json")
    assert (tmp_path / "offsets.json").read_text() == truth
    names = [f"cam{k:02d}" for k in range(4)]
    assert read_true_clocks(tmp_path, names, range(4))["true_offsets"].tolist() == OFFSETS
    (tmp_path / "sync.json").replace(tmp_path / "offsets.json")
    assert read_true_clocks(tmp_path, names, range(4))["true_offsets"] is None


@pytest.mark.parametrize("way", ["sub/../offsets.json", "link.json", "transforms.json", "cam00.mp4"])
def test_nothing_of_a_scene_is_overwritten(folder, tmp_path, monkeypatch, way):
    scene = tmp_path / "scene"
    shutil.copytree(folder, scene)
    (scene / "offsets.json").write_text('{"seconds": [0.0, 0.11, -0.153, 0.07]}')
    (scene / "link.json").symlink_to("offsets.json")
    before = {path.name: path.read_bytes() for path in scene.iterdir() if path.is_file()}
    monkeypatch.setattr("syncnerf.sync.command.synchronize", lambda *_: pytest.fail("refused only afterwards"))
    with pytest.raises(UserError, match=r"name another file \(--out\)"):
        run(f"--datadir={scene}", f"--out={scene / way}")
    assert {path.name: path.read_bytes() for path in scene.iterdir() if path.is_file()} == before


def test_true_rates_and_readout_times_are_read(tmp_path):
    path, names = tmp_path / "offsets.json", ["a", "b", "c"]
    record = {"seconds": [0.0, 0.1, 0.2], "rates_ppm": [0.0, 250.0, -40.0]}
    path.write_text(json.dumps(record))
    truth = read_true_clocks(tmp_path, names, [0, 2])
    assert truth["true_offsets"].tolist() == [0.0, 0.2]
    assert truth["true_rates"].tolist() == pytest.approx([0.0, -4e-5])
    assert truth["true_row_times"] is None
    assert read_rates(path, names).tolist() == pytest.approx([0.0, 2.5e-4, -4e-5])
    path.write_text(json.dumps(record | {"rates_ppm": [1.0], "row_times": {"c": 0.01, "a": 0.0, "b": 0.02}}))
    with pytest.raises(UserError, match="'rates_ppm' should hold one number per camera"):
        read_true_clocks(tmp_path, names, [0, 2])
    path.write_text(json.dumps({"seconds": [0.0, 0.1, 0.2], "row_times": {"c": 0.01, "a": 0.0, "b": 0.02}}))
    assert read_true_clocks(tmp_path, names, [1, 2])["true_row_times"].tolist() == [0.02, 0.01]
    (tmp_path / "offsets.json").unlink()
    assert set(read_true_clocks(tmp_path, names, [0]).values()) == {None}


def test_nothing_determined_writes_nothing(folder, tmp_path):
    with pytest.raises(UserError, match="no camera's offset can be determined"):
        run(f"--datadir={folder}", f"--out={tmp_path / 'o.json'}", "--max-offset=0.01")
    assert not (tmp_path / "o.json").exists()
