"""Gaussians as the command line trains them: stopped and resumed, looked at and rendered from a checkpoint."""

import json

import pytest
from test_training_resume import STEPS, assert_same, load, make_trainer

from syncnerf.cli import main
from syncnerf.training.checkpoints import list_checkpoints, load_checkpoint

SMALL = [
    "--backend=gaussians", "--gaussians=400", "--nodes=20", "--moments=3", "--batch-size=256", "--offset-init=zero",
    "--relocate-every=4", "--relocate-start=3", "--look-every=2", "--idle-share=0.5",
]  # fmt: skip


@pytest.mark.parametrize("motion", ["scaffold", "free"])
def test_a_resumed_run_is_the_one_that_never_stopped(tiny_scene, tmp_path, motion):
    arguments = [f"--datadir={tiny_scene}", *SMALL, f"--motion={motion}"]
    whole = make_trainer(arguments, tmp_path / "whole")
    whole.fit()
    part = make_trainer(arguments, tmp_path / "part")
    while part.step < 6:  # between two looks and two moves
        part.train_step()
    part.save()
    stored = list_checkpoints(tmp_path / "part" / "checkpoints")[-1]
    part = make_trainer(arguments, tmp_path / "part", stored)
    part.restore(load(part, stored))
    part.fit()
    last = [load_checkpoint(list_checkpoints(tmp_path / name / "checkpoints")[-1], "gaussians", whole.plan.names)
            for name in ("whole", "part")]  # fmt: skip
    assert last[0].record["step"] == last[1].record["step"] == STEPS
    assert_same(last[0].record, last[1].record)


def test_it_trains_fits_and_renders_at_the_command_line(tiny_scene, tmp_path):
    arguments = ["train", f"--datadir={tiny_scene}", f"--logdir={tmp_path}", "--expname=run", *SMALL]
    short = ["--steps=40", "--render-frames=2", "--test-optim", "--image-every=0", "--test-frames=3"]
    assert main([*arguments, *short]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 5.0 < metrics["mean"]["psnr"] < 60.0
    videos = sorted(path.name for path in (tmp_path / "run" / "renders").glob("*.mp4"))
    for path in (tmp_path / "run" / "renders").glob("*.mp4"):
        path.unlink()
    assert main([*arguments, *short, "--render-only"]) == 0
    assert sorted(path.name for path in (tmp_path / "run" / "renders").glob("*.mp4")) == videos
