"""Every shipped configuration builds a field for the tiny scene, takes steps on the CPU, and can be looked at."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_scene import edit_json, write_scene

from syncnerf.assembly import assemble, make_batches, scene_to_synchronize
from syncnerf.cli import main
from syncnerf.combinations import warn_of_idle
from syncnerf.config import SceneConfig
from syncnerf.job import Job, open_scene
from syncnerf.options import parse
from syncnerf.train import plan_of
from syncnerf.training.trainer import Trainer

CONFIGS = sorted((Path(__file__).parent.parent / "configs").rglob("*.txt"))
OVERRIDES = ["--batch-size=64", "--device=cpu", "--offset-init=zero", "--downsample=1"]
"""What no test can wait for, or what the tiny scene is too small for; all sizes of the field stay as shipped."""


def ids() -> list[str]:
    return [f"{path.parent.name}-{path.stem}" for path in CONFIGS]


def test_the_promised_configurations_are_there():
    assert {"demo", "blender", "blender_explicit", "n3v", "n3v_explicit", "blender_hash", "n3v_hash", "demo_hash"} <= {
        path.stem for path in CONFIGS if path.parent.name == "kplanes"
    }
    assert {"demo", "blender", "n3v_t", "n3v_s", "n3v_m", "n3v_l"} <= {
        path.stem for path in CONFIGS if path.parent.name == "mixvoxels"
    }


@pytest.mark.parametrize("path", CONFIGS, ids=ids())
def test_it_builds_and_takes_two_steps(path, tiny_scene, tmp_path):
    config = parse([f"--config={path}", f"--datadir={tiny_scene}", *OVERRIDES])
    job = Job.of(config)
    synced = assemble(job)
    batches = make_batches(job)
    trainer = Trainer(synced, batches, replace(plan_of(job), folder=tmp_path))
    before = {name: value.detach().clone() for name, value in synced.named_parameters()}
    for _ in range(2):
        losses, rays = trainer.train_step()
        assert rays == (batches.width * batches.height if job.spec.trains_on == "views" else 64)
        assert all(torch.isfinite(value) for value in losses.values())
    assert losses["photometric"] > 0
    moved = [name for name, value in synced.named_parameters() if not torch.equal(before[name], value)]
    # Space-time planes move only once their neighbours differ; everything else has a gradient from the first step.
    waits = config.offsets.offset_start > 0 or config.values().get("variation_steps", 0) > 0
    assert {name.split(".")[0] for name in moved} == ({"backend"} if waits else {"backend", "clock"})
    assert any("decoder" in name or "cloud.colours" in name for name in moved)


@pytest.mark.parametrize("path", CONFIGS, ids=ids())
def test_dry_run_shows_its_values_and_writes_nothing(path, tiny_scene, tmp_path, capsys):
    arguments = [f"--config={path}", f"--datadir={tiny_scene}", *OVERRIDES, f"--logdir={tmp_path / 'runs'}"]
    assert main(["train", *arguments, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    values = dict(line.split(" = ", 1) for line in shown.splitlines() if " = " in line)
    effective = parse(arguments).values()
    for line in path.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key = line.split("=")[0].strip()
            assert values[key] == str(effective[key]).lower() or values[key] == str(effective[key])
    assert "4 (3 train; test: cam00)" in shown
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("path", CONFIGS, ids=ids())
def test_its_keys_are_spelled_once_each(path):
    keys = [line.split("=")[0].strip() for line in path.read_text().splitlines() if "=" in line and line[0] != "#"]
    assert len(keys) == len(set(keys))
    assert {"datadir", "logdir", "device", "cache_dir"}.isdisjoint(keys), "a machine's own matters"


@pytest.mark.parametrize("path", CONFIGS, ids=ids())
def test_none_of_its_options_is_without_effect(path, caplog):
    warn_of_idle(parse([f"--config={path}"]))
    assert not caplog.messages


def test_synchronisation_before_training_sees_larger_images_than_training(tmp_path):
    """Offsets from images that were made small for the training would be worse than they need be."""
    folder = write_scene(tmp_path / "scene", frames=4, side=96)
    settings = SceneConfig(datadir=str(folder), downsample=4)
    scene = open_scene(settings)
    larger = scene_to_synchronize(settings, scene)
    assert [scene.cameras[0].intrinsics.width, larger.cameras[0].intrinsics.width] == [24, 96]
    assert larger.names == scene.names
    assert larger.test == scene.test
    assert scene_to_synchronize(SceneConfig(datadir=str(folder)), larger) is larger


def test_what_is_said_of_the_files_is_said_once(tmp_path, caplog):
    folder = write_scene(tmp_path / "scene", frames=4, side=96)
    edit_json(folder / "transforms.json", lambda record: record.update(fps=25))
    settings = SceneConfig(datadir=str(folder), downsample=4)
    scene = open_scene(settings)
    assert caplog.text.count("cam01.mp4: its timestamps say 10 frames per second") == 1
    assert scene_to_synchronize(settings, scene) is not scene
    assert caplog.text.count("cam01.mp4: its timestamps say 10 frames per second") == 1
    open_scene(settings)  # another command's reading tells again
    assert caplog.text.count("cam01.mp4: its timestamps say 10 frames per second") == 2
