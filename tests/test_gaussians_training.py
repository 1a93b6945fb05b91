"""Gaussians as the command line trains them: stopped and resumed, looked at and rendered from a checkpoint."""

import json

import numpy as np
import pytest
import torch
from rank_recorder import record_steps, record_two_processes
from small_fields import GAUSSIANS_OPTIONS
from tiny_scene import BLOBS, FPS, FRAMES, SIDE, TRUE_OFFSETS, camera_poses, picture, write_video
from torch.nn.functional import normalize
from training_runs import STEPS, assert_same, load, make_trainer

from syncnerf.assembly import assemble
from syncnerf.cli import main
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.training.checkpoints import list_checkpoints, load_checkpoint
from syncnerf.training.ranks import Ranks


@pytest.mark.parametrize("motion", ["scaffold", "free"])
def test_a_resumed_run_is_the_one_that_never_stopped(tiny_scene, tmp_path, motion):
    arguments = [f"--datadir={tiny_scene}", *GAUSSIANS_OPTIONS, f"--motion={motion}"]
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


def test_two_processes_take_the_steps_of_one(tiny_scene, tmp_path):
    """Three views, so that the parts are unequal; some Gaussians are relocated on the way."""
    # Short steps: Adam makes whole ones of mere rounding, as of the turns of balls, or of rigid motion's rigidity.
    short = ["--lr=1e-5", "--turn-rate=0", "--rigidity-weight=0", f"--batch-size={3 * SIDE * SIDE}"]
    arguments = [f"--datadir={tiny_scene}", f"--logdir={tmp_path}", *GAUSSIANS_OPTIONS, *short]
    alone = record_steps(tmp_path / "alone", 6, arguments, Ranks())
    first, second = record_two_processes(tmp_path, 6, arguments)
    assert (alone["rays"], first["rays"], second["rays"]) == (3 * SIDE**2, 2 * SIDE**2, SIDE**2)
    assert_same(first, second | {"rays": first["rays"]})
    for found, expected in zip(first["gradients"], alone["gradients"], strict=True):
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            # The pictures' sums in another order.
            atol = 1e-3 * float(gradient.abs().max()) + 1e-7
            torch.testing.assert_close(found[name], gradient, atol=atol, rtol=0)
    for name, value in alone["state"].items():
        torch.testing.assert_close(first["state"][name], value, atol=1e-5, rtol=0, equal_nan=True)
    start = make_trainer(arguments, tmp_path / "start").synced.state_dict()
    moved = (alone["state"]["backend.cloud.means"] - start["backend.cloud.means"]).norm(dim=1) > 1e-2
    assert bool(moved.any())


def test_it_trains_fits_and_renders_at_the_command_line(tiny_scene, tmp_path):
    arguments = ["train", f"--datadir={tiny_scene}", f"--logdir={tmp_path}", "--expname=run", *GAUSSIANS_OPTIONS]
    short = ["--steps=40", "--render-frames=2", "--test-optim", "--image-every=0", "--test-frames=3"]
    assert main([*arguments, *short]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 5.0 < metrics["mean"]["psnr"] < 60.0
    report = (tmp_path / "run" / "report.html").read_text()
    assert "gaussians" in report
    assert f"{metrics['mean']['psnr']:.2f}" in report
    videos = sorted(path.name for path in (tmp_path / "run" / "renders").glob("*.mp4"))
    for path in (tmp_path / "run" / "renders").glob("*.mp4"):
        path.unlink()
    assert main([*arguments, *short, "--render-only"]) == 0
    assert sorted(path.name for path in (tmp_path / "run" / "renders").glob("*.mp4")) == videos


@pytest.mark.parametrize("seen", [True, False])
def test_of_a_scene_without_motion_or_points_one_line_says_so(own_scene, tmp_path, caplog, seen):
    """It trains all the same: on still points, or on what lies anywhere."""
    for number, pose in enumerate(camera_poses()):
        still = picture(pose.numpy(), 0.4)
        write_video(own_scene / f"cam{number:02d}.mp4", [still if seen else np.full_like(still, 255)] * FRAMES)
    arguments = ["train", f"--datadir={own_scene}", f"--logdir={tmp_path}", *GAUSSIANS_OPTIONS, "--steps=8"]
    assert main([*arguments, "--render-frames=2", "--image-every=0", "--test-frames=1"]) == 0
    (said,) = [record.getMessage() for record in caplog.records if record.name == "syncnerf.starting.start"]
    words = "nothing is found to move in it" if seen else "no points to start from"
    assert said.startswith(f"{own_scene}: {words}; the field starts")


def test_nodes_follow_tracks_in_space_that_are_given(tiny_scene, tmp_path):
    """Tracks on the first blob, by one camera's clock: nodes begin on it, and go as it goes."""
    _, radius, orbit, speed, phase, height = BLOBS[0]
    around = radius * normalize(torch.randn(60, 3, generator=torch.Generator().manual_seed(0)), dim=-1)

    def centres(times: torch.Tensor) -> torch.Tensor:
        angle = speed * times + phase
        return torch.stack([orbit * angle.cos(), orbit * angle.sin(), torch.full_like(angle, height)], dim=-1)

    places = centres(torch.arange(FRAMES) / FPS + TRUE_OFFSETS[2])[:, None] + around
    name = "cam02"
    known = {f"{name}/points": places.numpy(), f"{name}/visibility": np.ones(places.shape[:2])}
    np.savez(tmp_path / "tracks.npz", **known)
    start = ["--nodes=100", f"--offset-init={tiny_scene / 'offsets.json'}", f"--tracks={tmp_path / 'tracks.npz'}"]
    job = Job.of(parse([f"--datadir={tiny_scene}", f"--logdir={tmp_path}", *GAUSSIANS_OPTIONS, *start]))
    job.scene.frame_cache.prepare(job.scene.cameras)
    field = assemble(job)
    times = torch.linspace(0.2, 0.8, 6, dtype=torch.float64)
    paths = field.backend.scaffold.poses(field.clock.moments(times)).positions.detach()
    away = paths - centres(times).float()[:, None]
    on_it = (away[3].norm(dim=-1) - radius).abs() < 0.01
    assert int(on_it.sum()) >= 4
    travelled = (centres(times) - centres(times[3:4])).norm(dim=-1)
    left = (away[:, on_it] - away[3, on_it]).norm(dim=-1).median(dim=1).values
    assert float(travelled.max()) > 0.4
    assert (3.0 * left <= travelled).all()
