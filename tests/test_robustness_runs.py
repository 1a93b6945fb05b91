"""Spoilt runs end with one line that says what to do, or rightly; never with a traceback, never half-written."""

import contextlib
import json
import shutil
import signal

import pytest
from run_damages import DAMAGES, GAUSSIANS_DAMAGES, STEPS, Damage
from small_fields import GAUSSIANS_OPTIONS, KPLANES_OPTIONS

from syncnerf.cli import main

pytestmark = pytest.mark.usefixtures("undrawn")

ENDS = (
    "--render-frames=1",
    "--test-frames=2",
    "--image-every=0",
    "--test-optim",
    "--test-pixels=32",
    "--test-range=0.2",
)
ENDS += ("--test-steps=1",)


def command(scene, logs, *more: str, field=KPLANES_OPTIONS) -> list[str]:
    """`syncnerf train` on the tiny scene; later arguments win."""
    options = [f"--datadir={scene}", f"--logdir={logs}", "--offset-init=zero", *field, *ENDS]
    return ["train", *options, f"--steps={STEPS}", "--warmup-steps=0", *more]


@pytest.fixture(scope="module")
def finished(tiny_scene, tmp_path_factory):
    """A finished run, to be copied."""
    logs = tmp_path_factory.mktemp("finished")
    assert main(command(tiny_scene, logs)) == 0
    return logs / "run"


@pytest.fixture(scope="module")
def finished_gaussians(tiny_scene, tmp_path_factory):
    """Another one, of Gaussians."""
    logs = tmp_path_factory.mktemp("gaussians")
    assert main(command(tiny_scene, logs, field=GAUSSIANS_OPTIONS)) == 0
    return logs / "run"


def files(folder) -> dict:
    """What the run says of itself: its configuration and checkpoints, byte by byte."""
    kept = [*folder.glob("config.txt"), *folder.glob("checkpoints/*.pt")]
    return {path.name: path.read_bytes() for path in kept if path.is_file()}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage(finished, tiny_scene, tmp_path, capsys, name):
    meet(DAMAGES[name], finished, tiny_scene, tmp_path, capsys, KPLANES_OPTIONS)


@pytest.mark.parametrize("name", GAUSSIANS_DAMAGES)
def test_damage_of_gaussians(finished_gaussians, tiny_scene, tmp_path, capsys, name):
    meet(GAUSSIANS_DAMAGES[name], finished_gaussians, tiny_scene, tmp_path, capsys, GAUSSIANS_OPTIONS)


def meet(damage: Damage, finished, tiny_scene, tmp_path, capsys, field) -> None:
    """Spoil a copy of a finished run, give the command, and accept what the damage expects alone."""
    logs = tmp_path / "logs"
    logs.mkdir()
    run, scene = logs / "run", tiny_scene
    if not damage.fresh:
        shutil.copytree(finished, run)
    if damage.run is not None:
        damage.run(run)
    if damage.scene is not None:
        scene = shutil.copytree(tiny_scene, tmp_path / "scene", ignore=shutil.ignore_patterns(".syncnerf_cache"))
        damage.scene(scene)
    arguments = [part.format(run=run, logs=logs) for part in damage.arguments]
    before = files(run) if run.is_dir() else {}
    with damage.during(run) if damage.during else contextlib.nullcontext():
        code = main(command(scene, logs, *arguments, field=field))
    shown = capsys.readouterr().err
    errors = [line for line in shown.splitlines() if line.startswith("syncnerf: error:")]
    assert "Traceback" not in shown
    assert not list(tmp_path.rglob("*.partial*"))
    if damage.words is None or damage.words.isdigit():
        assert code == int(damage.words or 0) + (signal.SIGTERM if damage.words else 0), shown
        assert not errors
        return
    assert code == 2, shown
    assert len(errors) == 1
    assert damage.words in errors[0]
    assert len(errors[0]) < 500
    assert run.is_file() or files(run).items() >= before.items(), "the run's own words were changed"


def test_a_longer_training_goes_on_without_a_jump(tiny_scene, tmp_path):
    assert main(command(tiny_scene, tmp_path)) == 0
    assert main(command(tiny_scene, tmp_path, "--steps=8", "--resume", "--extend")) == 0
    text = (tmp_path / "run" / "config.txt").read_text()
    assert "steps = 8" in text
    assert "# from step 4 on: steps = 8 instead of 4" in text
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["step"] == 8
    assert main(command(tiny_scene, tmp_path, "--steps=8", "--resume", "--lr=0.001")) == 0
    text = (tmp_path / "run" / "config.txt").read_text()
    assert "# from step 4 on: steps = 8 instead of 4" in text
    assert "# from step 8 on: lr = 0.001 instead of 0.01" in text


def test_rates_of_the_start_are_kept_where_none_are_learned(tiny_scene, tmp_path):
    cameras = {f"cam0{k}": {"offset": 0.01 * k, "rate_ppm": 100.0 * k} for k in range(4)}
    (tmp_path / "start.json").write_text(json.dumps({"cameras": cameras}))
    assert main(command(tiny_scene, tmp_path, f"--offset-init={tmp_path / 'start.json'}", "--offset-freeze=0")) == 0
    found = json.loads((tmp_path / "run" / "offsets.json").read_text())["cameras"]
    assert found["cam03"]["rate_ppm"] == pytest.approx(200.0, rel=1e-3)
    assert found["cam03"]["offset"] == pytest.approx(0.02, rel=1e-3)


def test_one_estimate_of_a_test_camera_is_used_everywhere(tiny_scene, tmp_path, caplog, monkeypatch):
    # A field of so few steps tells nothing of the camera; what is asked here is where its word is used.
    monkeypatch.setattr("syncnerf.clock_search.explains", lambda *_: True)
    def estimate(folder) -> float:
        return json.loads((folder / "offsets.json").read_text())["cameras"]["cam00"]["offset"]

    caplog.set_level("INFO")
    assert main(command(tiny_scene, tmp_path)) == 0
    run = tmp_path / "run"
    fitted, score = estimate(run), json.loads((run / "metrics.json").read_text())
    # Without another fit the stored one is what is scored, pictured and reported.
    assert main(command(tiny_scene, tmp_path, "--validate-only", "--test-optim=0")) == 0
    again = json.loads((run / "metrics.json").read_text())
    assert (again["protocol"], estimate(run)) == ("full", fitted)
    assert again["mean"]["psnr"] == pytest.approx(score["mean"]["psnr"], abs=1e-6)
    # So it is from another folder.
    ckpt = f"--ckpt={run}/checkpoints/step_000000{STEPS}.pt"
    assert main(command(tiny_scene, tmp_path, ckpt, "--expname=other", "--test-optim=0")) == 0
    assert estimate(tmp_path / "other") == fitted
    caplog.clear()
    assert main(command(tiny_scene, tmp_path, ckpt, "--expname=videos", "--render-only")) == 0
    assert f"cam00: offset {fitted:.5f} s" in caplog.text
    assert str(run / "offsets.json") in caplog.text
    # Where none was fitted it stands at 0, and that is said.
    (run / "offsets.json").unlink()
    caplog.clear()
    assert main(command(tiny_scene, tmp_path, "--render-only")) == 0
    assert "cam00: no offset is known of this test camera; it is shown at 0" in caplog.text
