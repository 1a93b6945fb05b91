"""Two processes train the field that one process would have trained; one of them writes; both stop together."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from rank_recorder import TORCHRUN, record_steps, record_two_processes
from training_runs import assert_same

from syncnerf.batch import RayBatch
from syncnerf.cli import main
from syncnerf.errors import UserError
from syncnerf.scene.rays import Rays
from syncnerf.training.checkpoints import list_checkpoints
from syncnerf.training.ranks import Ranks

STEPS = 6


@pytest.mark.parametrize("sampler", ["proposal", "occupancy"])
def test_two_processes_take_the_steps_of_one(tiny_arguments, tmp_path, sampler):
    """An odd batch, so that the parts are unequal; the occupied cells are looked at in the third step."""
    arguments = [*tiny_arguments, f"--sampler={sampler}", "--batch-size=65", "--offset-l1=0.01", "--prefetch=0"]
    alone = record_steps(tmp_path / "alone", STEPS, arguments, Ranks())
    # The other process draws ahead, which must not matter.
    first, second = record_two_processes(tmp_path, STEPS, [*arguments[:-1], "--prefetch=2"])
    assert (alone["rays"], first["rays"], second["rays"]) == (65, 33, 32)
    for name in ("gradients", "losses", "state"):
        assert_same(first[name], second[name], name)
    for step, (found, expected) in enumerate(zip(first["gradients"], alone["gradients"], strict=True)):
        assert found.keys() == expected.keys()
        assert "clock.shifts" in found
        for name, gradient in expected.items():
            # Sums of 65 rays in another order: rounding, which grows a little from step to step.
            scale = gradient.abs().max().item()
            torch.testing.assert_close(found[name], gradient, rtol=0, atol=2e-5 * (step + 1) * scale + 1e-12)
    for name, value in alone["state"].items():
        torch.testing.assert_close(first["state"][name], value, rtol=0, atol=1e-5)
    for found, expected in zip(first["losses"], alone["losses"], strict=True):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-9)


def start_training(arguments: list[str], *more: str) -> subprocess.Popen:
    options = ["--image-every=2", "--log-every=2", "--test-frames=1", "--render-frames=2", "--lr-schedule=constant"]
    command = [*TORCHRUN, "-m", "syncnerf", "train", *arguments, *options, *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


LEAVING = """
import atexit
from syncnerf.training.ranks import leave
atexit.register(print, "torn down")
print("said", end="")
leave(3)
"""


def test_a_process_that_leaves_says_what_it_has_to_say_and_is_not_torn_down():
    done = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "said", "")


def test_command_trains_stops_and_resumes_in_two_processes(tiny_arguments, tmp_path):
    """The run that was ended by a signal and resumed is the run that never stopped, jitter included."""
    stopped = start_training(tiny_arguments, "--expname=stopped", "--steps=100000")
    log = tmp_path / "runs" / "stopped" / "offsets.csv"
    deadline = time.monotonic() + 120
    while not (log.exists() and len(log.read_text().splitlines()) > 2):
        assert stopped.poll() is None, stopped.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stopped.send_signal(signal.SIGTERM)
    _, errors = stopped.communicate(timeout=60)
    assert errors.count("stopped at step") == 1
    folder = log.parent / "checkpoints"
    (checkpoint,) = list_checkpoints(folder)
    step = torch.load(checkpoint, weights_only=True)["step"]
    assert checkpoint.name == f"step_{step:07d}.pt"
    ends = []
    for name, more in (("stopped", ["--resume", "--extend"]), ("straight", [])):
        process = start_training(tiny_arguments, f"--expname={name}", f"--steps={step + 3}", *more)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        run = tmp_path / "runs" / name
        assert (run / "metrics.json").exists()
        ends.append(torch.load(list_checkpoints(run / "checkpoints")[-1], weights_only=True))
    assert len(list((tmp_path / "runs" / "straight").glob("events.*"))) == 1, "one writer"
    assert ends[0]["step"] == step + 3
    # Of the one it is known that it was to be longer.
    assert [end.pop("course")["steps"] for end in ends] == [step + 3] * 2
    assert [end["options"]["training"].pop("steps") for end in ends] == [100_000, step + 3]
    assert_same(*ends)


def test_only_the_first_process_does_what_is_no_training(tiny_arguments, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for action in ("--dry-run", "--validate-only", "--render-only"):
        assert main(["train", *tiny_arguments, action]) == 0
    assert capsys.readouterr().out == ""
    assert os.environ.pop("TQDM_DISABLE") == "1"


def some_batch(count: int) -> RayBatch:
    rows = torch.arange(count, dtype=torch.float32)
    rays = Rays(rows[:, None].expand(-1, 3), rows[:, None].expand(-1, 3), rows, rows)
    return RayBatch(rays, rows.long(), rows.double(), rows, rows[:, None].expand(-1, 3), {"mean": rows})


def test_parts_make_up_the_batch():
    parts = [Ranks(rank, 3).part(some_batch(10)) for rank in range(3)]
    assert sum(share for _, share in parts) == pytest.approx(1.0)
    assert sorted(torch.cat([part.cameras for part, _ in parts]).tolist()) == list(range(10))
    for part, share in parts:
        assert share == len(part.rays) / 10
        for tensor in (
            part.rays.near,
            part.rays.origins[:, 1],
            part.frame_times,
            part.rgb[:, 2],
            part.statistics["mean"],
        ):
            assert tensor.tolist() == part.cameras.tolist()
    with pytest.raises(UserError, match="batch_size = 2: gives a step 2 to render, fewer than the 3 processes"):
        Ranks(0, 3).part(some_batch(2))
