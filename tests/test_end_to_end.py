"""The demo through the command line, in small: a run's folder, everything that can be done with it, exit codes."""

import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import av
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import syncnerf.data
from syncnerf.cli import main
from syncnerf.options import parse

DEMO = Path(syncnerf.data.__file__).parent / "demo"
CONFIG = Path(__file__).parent.parent / "configs" / "kplanes" / "demo.txt"
SMALL = [
    "--batch-size=128", "--plane-resolution=16", "--plane-scales=1,2", "--plane-channels=8", "--occupancy-steps=32",
    "--occupancy-start=20", "--occupancy-every=20", "--test-frames=2", "--render-frames=2", "--test-pixels=64",
    "--test-range=0.1", "--image-every=30", "--save-every=30", "--log-every=20", "--offset-init=zero", "--downsample=4",
    "--device=cpu",
]  # fmt: skip
NAMES = [f"cam{index:02d}" for index in range(14)]


def command(workplace: Path, *more: str) -> list[str]:
    return [
        "train", f"--config={CONFIG}", f"--datadir={DEMO}", f"--logdir={workplace / 'runs'}",
        f"--cache-dir={workplace / 'cache'}", *SMALL, *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A workplace with a finished run of the demo; not to be changed."""
    workplace = tmp_path_factory.mktemp("workplace")
    assert main(command(workplace, "--steps=60")) == 0
    return workplace


@pytest.fixture
def workplace(finished, tmp_path) -> Path:
    """A copy of the workplace that a test may go on with."""
    shutil.copytree(finished / "runs", tmp_path / "runs")
    (tmp_path / "cache").symlink_to(finished / "cache")
    return tmp_path


def read(path: Path):
    return json.loads(path.read_text())


def test_run_folder_holds_what_was_promised(finished):
    run = finished / "runs" / "demo"
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step_0000030.pt", "step_0000060.pt"]
    assert parse([f"--config={run / 'config.txt'}"]) == parse(command(finished, "--steps=60")[1:])
    assert not list(run.rglob("*.partial*"))
    with (run / "offsets.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["step", *NAMES]
    assert [row[0] for row in rows[1:]] == ["0", "20", "40", "59"]
    assert all(float(row[2]) == 0.0 for row in rows[1:]), "cam01 is the reference"
    assert any(float(value) != 0.0 for value in rows[-1][3:])


def test_offsets_and_metrics_say_what_they_are(finished):
    run = finished / "runs" / "demo"
    offsets = read(run / "offsets.json")
    assert (offsets["unit"], offsets["reference"], offsets["source"]) == ("seconds", "cam01", "test-optim")
    assert list(offsets["cameras"]) == NAMES
    assert offsets["cameras"]["cam01"] == {"offset": 0.0, "stderr": 0.0}
    # A field of 60 steps explains nothing yet, and its word on a camera that it has not seen is not given as a number.
    assert offsets["cameras"]["cam00"]["offset"] is None
    assert "hardly better than a still picture" in offsets["cameras"]["cam00"]["reason"]
    metrics = read(run / "metrics.json")
    assert (metrics["protocol"], metrics["step"], metrics["none"]["protocol"]) == ("full", 60, "none")
    assert [(frame["camera"], frame["frame"]) for frame in metrics["frames"]] == [("cam00", 0), ("cam00", 59)]
    seen = [frame["psnr"] for frame in metrics["frames"] if frame["seen"]]
    assert metrics["mean"]["psnr"] == pytest.approx(sum(seen) / len(seen))
    assert metrics["mean"]["dssim"] == pytest.approx((1 - metrics["mean"]["ssim"]) / 2)
    # The table's offsets are the file's, against the truth that the scene folder brings.
    truth = torch.tensor(read(DEMO / "offsets.json")["seconds"], dtype=torch.float64)[1:]
    found = torch.tensor([offsets["cameras"][name]["offset"] for name in NAMES[1:]], dtype=torch.float64)
    errors = (found - truth) - (found - truth).quantile(0.5)
    assert metrics["offsets"]["mae_frames"] == pytest.approx(errors.abs().mean().item() * 30, rel=1e-6)


def test_videos_report_and_curves(finished):
    run = finished / "runs" / "demo"
    for name in ("test_cam00", "path_fixed_moment", "path_moving"):
        with av.open(str(run / "renders" / f"{name}.mp4")) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 2
        assert frames[0].shape == (32, 32, 3)
        assert frames[0].std() > 2
    report = (run / "report.html").read_text()
    assert "cam13" in report
    assert "http://" not in report.replace("http://www.w3.org", "")
    events = EventAccumulator(str(run)).Reload()
    tags = events.Tags()
    curves = {tag.removeprefix("offset_frames/") for tag in tags["scalars"] if tag.startswith("offset_frames/")}
    assert curves == set(NAMES[1:])  # every training camera, and not the test camera, which is not learned
    assert {"loss/photometric", "learning_rate/clock_shifts", "training/psnr", "training/rays_per_second"} <= set(
        tags["scalars"]
    )
    assert {f"test_view/{name}" for name in ("truth", "rendering", "error", "depth")} == set(tags["images"])
    assert [event.step for event in events.Scalars("loss/photometric")] == [0, 20, 40, 59]


def test_training_helped(finished):
    """Sixty tiny steps are no masterpiece, but far from a white page (11.5 dB here) or a frozen start."""
    psnr = read(finished / "runs" / "demo" / "metrics.json")["mean"]["psnr"]
    assert psnr > 14, psnr


def test_a_finished_run_is_not_trained_over(workplace, capsys):
    before = {path: path.stat().st_mtime_ns for path in (workplace / "runs").rglob("*") if path.is_file()}
    assert main(command(workplace, "--steps=60")) == 2
    assert "--resume" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (workplace / "runs").rglob("*") if path.is_file()} == before


def test_validate_only_scores_the_newest_checkpoint_again(workplace, capsys):
    run = workplace / "runs" / "demo"
    expected = read(run / "metrics.json")
    (run / "metrics.json").unlink()
    newest = (run / "checkpoints" / "step_0000060.pt").read_bytes()
    assert main(command(workplace, "--steps=60", "--validate-only")) == 0
    again = read(run / "metrics.json")
    assert again["mean"]["psnr"] == pytest.approx(expected["mean"]["psnr"], abs=1e-3)
    assert (run / "checkpoints" / "step_0000060.pt").read_bytes() == newest
    assert "PSNR" in capsys.readouterr().out


@pytest.mark.parametrize("spelling", [["--render-only"], ["--render_only", "1"]])
def test_render_only_makes_the_videos_and_nothing_else(workplace, spelling):
    run = workplace / "runs" / "demo"
    shutil.rmtree(run / "renders")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(command(workplace, "--steps=60", *spelling)) == 0
    videos = sorted(path.name for path in (run / "renders").iterdir())
    assert videos == ["path_fixed_moment.mp4", "path_moving.mp4", "test_cam00.mp4"]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.suffix != ".mp4"} == before


@pytest.mark.parametrize("wish", [["--resume", "--extend", "--steps=62"], ["--validate-only"], ["--render-only"]])
def test_what_a_run_is_made_of_is_looked_up_once(workplace, monkeypatch, wish):
    counted = Counter()
    looks = ("open_scene", "choose_device", "find_backend", "choose_engine", "load_checkpoint", "settled")
    for module in [module for name, module in sys.modules.items() if name.startswith("syncnerf.")]:
        for look in looks:
            if (found := getattr(module, look, None)) is not None:

                def counting(*arguments, look=look, found=found, **named):
                    counted[look] += 1
                    return found(*arguments, **named)

                monkeypatch.setattr(module, look, counting)
    assert main(command(workplace, "--steps=60", *wish)) == 0
    assert counted == dict.fromkeys(looks, 1)


def test_resume_goes_on_where_the_run_stopped(workplace):
    run = workplace / "runs" / "demo"
    assert main(command(workplace, "--steps=70", "--resume", "--extend")) == 0
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step_0000060.pt", "step_0000070.pt"]
    assert read(run / "metrics.json")["step"] == 70
    steps = [line.split(",")[0] for line in (run / "offsets.csv").read_text().splitlines()[1:]]
    assert steps == ["0", "20", "40", "59", "60", "69"]


def test_test_optim_with_a_checkpoint_fits_and_scores_elsewhere(workplace):
    older = workplace / "runs" / "demo" / "checkpoints" / "step_0000030.pt"
    more = [f"--ckpt={older}", "--test-optim", "--expname=fitted", "--protocol=holdout"]
    assert main(command(workplace, "--steps=60", *more)) == 0
    fitted = workplace / "runs" / "fitted"
    metrics = read(fitted / "metrics.json")
    assert (metrics["step"], metrics["protocol"], metrics["none"]["step"]) == (30, "holdout", 30)
    assert read(fitted / "offsets.json")["source"] == "test-optim"
    assert not (fitted / "checkpoints").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--datadir=/nowhere/at/all"], "/nowhere/at/all"),
        (["--batchsize=3"], "did you mean 'batch_size'?"),
        (["--steps=many"], "'many'"),
        (["--device=gpu"], "device = gpu"),
        (["--backend=kplain"], "did you mean 'kplanes'?"),
        (["--test-cameras=cam99"], "cam99"),
        (["--ckpt=/nowhere/step.pt", "--test-optim"], "/nowhere/step.pt"),
        (["--validate-only"], "--ckpt"),
        (["--offset-init=/nowhere/offsets.json"], "/nowhere/offsets.json"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_no_folder(finished, tmp_path, capfd, more, words):
    arguments = [*command(tmp_path, f"--cache-dir={finished / 'cache'}"), *more]
    assert main(arguments) == 2
    out, errors = capfd.readouterr()
    assert out == ""
    lines = [line for line in errors.replace("\r", "\n").splitlines() if line.strip() and "carving" not in line]
    assert len(lines) == 1, errors
    assert lines[0].startswith("syncnerf: error: ")
    assert words in lines[0]
    assert not (tmp_path / "runs").exists()


def test_the_commands_exit_codes_in_a_process_of_their_own(tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "syncnerf", *arguments], capture_output=True, text=True, cwd=tmp_path
        )

    refused = run("train", f"--datadir={DEMO}", "--sampler=magic")
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
    assert run("--version").returncode == 0
    assert list(tmp_path.iterdir()) == []
