"""MixVoxels through the shared trainer: stopped and resumed across its schedule, trained, fitted, scored, rendered."""

import json
import signal
from dataclasses import replace

import pytest
import torch
from small_fields import MIXVOXELS_OPTIONS
from training_runs import assert_same, load, make_trainer, stop_after

from syncnerf.assembly import assemble
from syncnerf.cli import main
from syncnerf.held_out import HeldOutOptimizer
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.training.checkpoints import list_checkpoints, load_checkpoint
from syncnerf.training.trainer import restore_model

STEPS = 14


@pytest.fixture
def arguments(tiny_scene, tmp_path) -> list[str]:
    """Command line of a MixVoxels training on the tiny scene, offsets from zero."""
    return [f"--datadir={tiny_scene}", f"--logdir={tmp_path / 'runs'}", "--offset-init=zero", *MIXVOXELS_OPTIONS]


@pytest.mark.parametrize("field", ["mixvoxels", "mixvoxels_latents"])
@pytest.mark.parametrize("stop", [1, 6, 8, 9])
def test_resumed_run_equals_the_uninterrupted_one(arguments, tmp_path, field, stop):
    """Stopped while the variation field learns, and right after each replacement of the grids."""
    arguments = [*arguments, f"--field={field}", "--time-waves-start=1"]
    straight = make_trainer(arguments, tmp_path / "straight")
    assert straight.fit() is None
    first = make_trainer(arguments, tmp_path / "stopped")
    stop_after(first, stop)
    assert first.fit() == signal.SIGTERM
    newest = list_checkpoints(tmp_path / "stopped" / "checkpoints")[-1]
    second = make_trainer(arguments, tmp_path / "stopped", newest)
    second.restore(load(second, newest))
    assert second.step == stop
    assert second.fit() is None
    ends = [
        load_checkpoint(list_checkpoints(tmp_path / name / "checkpoints")[-1], "mixvoxels", straight.plan.names).record
        for name in ("straight", "stopped")
    ]
    assert ends[0]["step"] == STEPS
    assert_same(*ends)
    cells = [len(line) for line in straight.synced.backend.static_field.density_grid.lines]
    assert sum(cells) > 3 * 8, "the schedule was not reached"


def test_the_optimizer_is_made_anew_for_the_new_grids(arguments, tmp_path):
    trainer = make_trainer(arguments, tmp_path / "run")
    for step in range(STEPS):
        before = {id(parameter) for parameter in trainer.synced.backend.parameters()}
        trainer.train_step()
        assert (before != {id(parameter) for parameter in trainer.synced.backend.parameters()}) == (step in (5, 7, 8))
        held = {id(parameter) for group in trainer.work.optimizer.param_groups for parameter in group["params"]}
        assert held == {id(parameter) for parameter in trainer.synced.parameters()}


def test_offsets_are_learned_through_the_time_query(arguments, tmp_path):
    trainer = make_trainer([*arguments, "--variation-steps=0"], tmp_path / "run")
    trainer.train_step()
    gradient = trainer.synced.clock.shifts.grad
    trained = trainer.synced.clock.is_trained.nonzero()[:, 0].tolist()
    assert torch.isfinite(gradient).all()
    assert (gradient[trained] != 0).all()
    assert (trainer.synced.clock.offsets()[trained[1:]] != 0).all()


@pytest.fixture(scope="module")
def finished(tiny_scene, tmp_path_factory):
    """The folder of a short finished run, with the test-time fit."""
    logs = tmp_path_factory.mktemp("runs")
    arguments = [f"--datadir={tiny_scene}", f"--logdir={logs}", "--expname=mix", "--offset-init=zero"]
    arguments += [*MIXVOXELS_OPTIONS, "--render-frames=2", "--test-pixels=64", "--test-steps=2"]
    assert main(["train", *arguments, "--steps=60", "--test-optim", "--image-every=50"]) == 0
    return logs / "mix", arguments


def test_a_run_leaves_everything_that_a_run_leaves(finished):
    folder, _ = finished
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["step"] == 60
    assert metrics["mean"]["psnr"] > 10
    assert set(metrics["offsets"]["cameras"]) == {"cam01", "cam02", "cam03"}
    offsets = json.loads((folder / "offsets.json").read_text())
    assert offsets["source"] == "test-optim"
    assert offsets["cameras"]["cam01"]["offset"] == 0.0
    assert (folder / "report.html").stat().st_size > 1000
    assert {path.name for path in (folder / "renders").glob("*.mp4")} >= {"test_cam00.mp4", "path_moving.mp4"}


def test_candidate_offsets_are_answered_together_as_one_by_one(finished):
    folder, arguments = finished
    # Samples without colour are chosen by all moments that are asked for together.
    config = parse([*arguments, "--steps=60", "--colour-threshold=0"])
    job = Job.of(config)
    newest = list_checkpoints(folder / "checkpoints")[-1]
    job = replace(job, checkpoint=load_checkpoint(newest, "mixvoxels", job.scene.names))
    synced = assemble(job)
    restore_model(synced, job.checkpoint)
    mask = torch.ones(32, 32, dtype=torch.bool)
    liked, fits = synced.backend.times_at_once, []
    assert liked > 8
    for at_once in (liked, 1):
        synced.backend.times_at_once = at_once
        fits.append(HeldOutOptimizer(synced, job.scene, config.held_out).fit(0, mask))
    together, alone = fits
    torch.testing.assert_close(together.errors, alone.errors, rtol=1e-5, atol=1e-7, equal_nan=True)
    assert together.errors.isfinite().sum() > 5
    assert together.seconds == pytest.approx(alone.seconds, abs=1e-6)


def test_it_is_evaluated_and_rendered_without_training(finished):
    folder, arguments = finished
    before = json.loads((folder / "metrics.json").read_text())
    assert main(["train", *arguments, "--steps=60", "--validate-only", "--test-optim"]) == 0
    after = json.loads((folder / "metrics.json").read_text())
    assert after["mean"]["psnr"] == pytest.approx(before["mean"]["psnr"], abs=1e-6)
    (folder / "renders" / "test_cam00.mp4").unlink()
    assert main(["train", *arguments, "--steps=60", "--render-only"]) == 0
    assert (folder / "renders" / "test_cam00.mp4").exists()
