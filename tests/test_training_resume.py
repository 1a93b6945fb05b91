"""A run that stops at any step and goes on is the run that never stopped, bit for bit."""

import copy
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from training_runs import STEPS, assert_same, load, make_trainer, stop_after

from syncnerf import __version__
from syncnerf.assembly import assemble
from syncnerf.cli import main
from syncnerf.errors import UserError
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.resuming import changes, stored_options
from syncnerf.train import plan_of
from syncnerf.training.checkpoints import list_checkpoints, save_checkpoint
from syncnerf.training.interruption import Interruption
from syncnerf.training.trainer import restore_model

VARIANTS = [
    ("kplanes", "occupancy", 7),
    ("kplanes", "proposal", 1),
    ("kplanes_explicit", "proposal", 8),
]
"""Field, sampler, and the step that the first part of the run stops after (8: a checkpoint is written there anyway)."""


@pytest.mark.parametrize(("field", "sampler", "stop"), VARIANTS)
def test_resumed_run_equals_the_uninterrupted_one(tiny_arguments, tmp_path, field, sampler, stop):
    arguments = [*tiny_arguments, f"--field={field}", f"--sampler={sampler}", "--time-blur=2", "--offset-start=0.2"]
    straight = make_trainer(arguments, tmp_path / "straight")
    assert straight.fit() is None
    first = make_trainer(arguments, tmp_path / "stopped")
    stop_after(first, stop)
    assert first.fit() == signal.SIGTERM
    assert first.step == stop
    (*_, newest) = list_checkpoints(tmp_path / "stopped" / "checkpoints")
    assert newest.name == f"step_{stop:07d}.pt"
    second = make_trainer(arguments, tmp_path / "stopped", newest)
    second.restore(load(second, newest))
    assert second.fit() is None
    ends = []
    for name in ("straight", "stopped"):
        (*_, last) = list_checkpoints(tmp_path / name / "checkpoints")
        assert last.name == f"step_{STEPS:07d}.pt"
        ends.append(load(straight, last).record)
    assert_same(*ends)
    assert len(list_checkpoints(tmp_path / "straight" / "checkpoints")) == 2
    curves = [(tmp_path / name / "offsets.csv").read_text() for name in ("straight", "stopped")]
    assert curves[0] == curves[1]
    assert [line.split(",")[0] for line in curves[0].splitlines()] == ["step", "0", "3", "6", "9", "12", "13"]


def test_resuming_an_older_checkpoint_drops_the_later_lines_of_the_log(tiny_arguments, tmp_path):
    straight = make_trainer(tiny_arguments, tmp_path / "run")
    straight.fit()
    expected = (tmp_path / "run" / "offsets.csv").read_text()
    older = list_checkpoints(tmp_path / "run" / "checkpoints")[0]
    assert older.name == "step_0000012.pt"
    again = make_trainer(tiny_arguments, tmp_path / "run", older)
    again.restore(load(again, older))
    assert again.step == 12
    again.fit()
    assert (tmp_path / "run" / "offsets.csv").read_text() == expected


def test_only_changes_that_matter_are_told(tiny_arguments):
    begun = parse(tiny_arguments)
    now = parse([*tiny_arguments, "--prefetch=3", "--log-every=7", "--save-every=9", "--steps=999", "--offset-l1=0.5"])
    stored = {"step": 5, "options": stored_options(begun)}
    assert changes(now, stored) == ["from step 5 on: offset_l1 = 0.5 instead of 0.0"]
    smaller = parse([*tiny_arguments, "--downsample=2", "--camera-colours-lr=0.5"])
    assert changes(smaller, stored) == [
        "from step 5 on: camera_colours_lr = 0.5 instead of 0.001", "from step 5 on: downsample = 2.0 instead of 0.0",
    ]  # fmt: skip


def test_a_checkpoint_that_appears_while_a_run_waits_for_its_folder_is_not_written_over(tiny_arguments):
    job = Job.of(parse([*tiny_arguments, "--resume"])).begun()
    job.check_folder()
    (job.folder / "checkpoints").mkdir(parents=True)
    save_checkpoint(job.folder / "checkpoints", 3, {})
    with pytest.raises(UserError, match="another run was writing there until now"):
        job.check_folder()


def test_checkpoint_of_another_configuration_is_refused_in_one_line(tiny_arguments, tmp_path):
    trainer = make_trainer(tiny_arguments, tmp_path / "run", **{"steps": 1})
    trainer.fit()
    (path,) = list_checkpoints(tmp_path / "run" / "checkpoints")
    for change in (
        {"plane-channels": 16},
        {"plane-scales": "1"},
        {"field": "kplanes_explicit"},
        {"offset-mode": "off"},
    ):
        other = make_trainer(tiny_arguments, tmp_path / "other", path, **change)
        with pytest.raises(UserError) as caught:
            other.restore(load(other, path))
        assert "does not fit this configuration" in str(caught.value)
        assert f"the version of syncnerf that wrote it ({__version__})" in str(caught.value)
        assert "\n" not in str(caught.value)
    trainer.plan = replace(trainer.plan, names=["a", "b", "c", "d"])
    with pytest.raises(UserError, match="trained on other cameras"):
        trainer.restore(load(trainer, path))


def test_what_an_earlier_version_left_goes_on_or_its_version_is_told(tiny_arguments, tmp_path):
    """Options that all backends share may be new; what a field is made of, and what a run needs, may not."""
    trainer = make_trainer(tiny_arguments, tmp_path / "run", **{"steps": 1})
    trainer.plan = plan_of(Job.of(parse([*tiny_arguments, "--steps=1"])))
    trainer.save()
    folder = trainer.plan.folder / "checkpoints"
    (path,) = list_checkpoints(folder)
    whole = torch.load(path, weights_only=True)

    def told_of(change) -> str:
        record = copy.deepcopy(whole) | {"version": "0.0.7"}
        change(record)
        torch.save(record, path)
        told = ""
        try:
            job = Job.of(parse([*tiny_arguments, "--steps=1", "--resume"])).begun()
            restore_model(assemble(job), job.checkpoint)
        except UserError as error:
            told = str(error)
        assert "\n" not in told
        return told

    assert told_of(lambda record: record["options"]["training"].pop("prefetch")) == ""
    assert told_of(lambda record: record["options"].pop("colours")) == ""
    assert told_of(lambda record: record["options"].update(field=record["options"].pop("backend_options"))) == ""
    for change in (
        lambda record: record.pop("course"),
        lambda record: record["options"]["backend_options"].pop("plane_channels"),
        lambda record: record["options"]["backend_options"].update(no_longer=1),
        lambda record: record["model"].pop("clock.range"),
        lambda record: record["model"].update({"backend.no_longer": torch.zeros(1)}),
        lambda record: record.update(format=1),
    ):
        assert "0.0.7" in told_of(change)


@pytest.fixture
def listening():
    """Whatever started the tests may have had Ctrl-C ignored, as shells do for what runs in the background."""
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, found)


@pytest.mark.usefixtures("listening")
def test_only_the_first_signal_is_taken_and_handlers_come_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interruption() as interruption:
        assert interruption.signal_number is None
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.signal_number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with Interruption():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_terminated_process_saves_and_its_run_goes_on(tiny_arguments, tmp_path):
    """The command itself, ended from outside, then continued with --resume."""
    steps = ["--steps=100000", "--save-every=0", "--log-every=5", "--image-every=0"]
    command = [sys.executable, "-m", "syncnerf", "train", *tiny_arguments, "--expname=ended"]
    process = subprocess.Popen([*command, *steps], stderr=subprocess.PIPE, text=True)
    log = tmp_path / "runs" / "ended" / "offsets.csv"
    deadline = time.monotonic() + 60
    while not (log.exists() and len(log.read_text().splitlines()) > 2):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "Traceback" not in errors
    (checkpoint,) = list_checkpoints(log.parent / "checkpoints")
    stopped = torch.load(checkpoint, weights_only=True)["step"]
    assert stopped > 5
    assert (log.parent / "offsets.json").exists()
    more = [f"--steps={stopped + 3}", "--test-frames=1", "--render-frames=2", "--image-every=0"]
    assert main([*command[3:], *more, "--resume", "--extend"]) == 0
    assert [path.name for path in list_checkpoints(log.parent / "checkpoints")][-1] == f"step_{stopped + 3:07d}.pt"
    assert (log.parent / "metrics.json").exists()
