"""``syncnerf train-generator`` on a tiny data set: cached once, resumed exactly, gradients where they belong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
from tiny_scene import write_video
from tiny_wan import tiny_transformer, write_wan

from syncnerf.cli import main
from syncnerf.errors import UserError
from syncnerf.generate.adapter import ViewSyncAdapter
from syncnerf.generate.dataset import CACHE, find_scenes, prepare, read_captions
from syncnerf.generate.flow_loss import draw_levels, flow_loss, level_weights
from syncnerf.generate.pipeline import WanFolder
from syncnerf.generate.poses import read_rig
from syncnerf.generate.scene_writer import extrinsics
from syncnerf.generate.training import AngleSchedule, GeneratorTrainer
from syncnerf.generate.view_pairs import ViewPairs
from syncnerf.generate.weights import load_view_sync
from syncnerf.training.options import TrainingConfig

CPU = torch.device("cpu")


def write_data(root: Path) -> Path:
    """Two scenes of three cameras, 20 degrees apart, nine frames of 40x40 and one more."""
    generator = np.random.default_rng(0)
    for scene in ("train/f24/scene1", "train/f24/scene2"):
        folder = root / scene
        (folder / "videos").mkdir(parents=True)
        (folder / "cameras").mkdir()
        (folder / "cameras" / "camera_extrinsics.json").write_text(json.dumps(extrinsics(read_rig("arc:3,20,3"), 10)))
        for camera in range(3):
            colours = generator.integers(0, 255, (10, 5, 5, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
            write_video(folder / "videos" / f"cam{camera + 1:02d}.mp4", list(colours), 15)
    (root / "captions.csv").write_text("scene,caption\nscene1,a ball rolls\ntrain/f24/scene2,the street\nelsewhere,a\n")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_wan(tmp_path_factory.mktemp("model") / "tiny-wan")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def clips(model, data):
    captions = read_captions(data / "captions.csv", find_scenes(data))
    return prepare(data, captions, WanFolder(model, CPU, torch.float32), 9, 48, 32)


def arguments(model: Path, data: Path, logdir: Path, *more: str) -> list[str]:
    return [
        "train-generator", f"--model={model}", f"--datadir={data}", f"--captions={data / 'captions.csv'}",
        f"--logdir={logdir}", "--size=48x32", "--frames=9", "--steps=6", "--lr=1e-2", "--warmup-steps=1",
        "--device=cpu", *more,
    ]  # fmt: skip


def trainer(clips, run: Path, steps: int = 6) -> GeneratorTrainer:
    adapter = ViewSyncAdapter(tiny_transformer())
    config = TrainingConfig(steps=steps, lr=1e-2, lr_schedule="constant", warmup_steps=1, save_every=3, seed=4)
    return GeneratorTrainer(adapter, ViewPairs(clips, 0.2), config, AngleSchedule(), run, CPU)


def test_the_data_set_is_encoded_once(clips, model, data):
    assert [clip.name for clip in clips] == ["train/f24/scene1", "train/f24/scene2"]
    assert [clip.caption for clip in clips] == ["a ball rolls", "the street"]
    files = [path for clip in clips for path in (*clip.latents, clip.text)]
    assert len(set(files)) == 8
    before = {path: path.stat().st_mtime_ns for path in files}
    assert all(data / CACHE in path.parents for path in files)
    captions = read_captions(data / "captions.csv", find_scenes(data))
    again = prepare(data, captions, WanFolder(model, CPU, torch.float32), 9, 48, 32)
    assert [clip.latents for clip in again] == [clip.latents for clip in clips]
    assert {path: path.stat().st_mtime_ns for path in files} == before


def test_a_pair_is_what_the_files_hold(clips):
    pairs = ViewPairs(clips, 0.0)
    example = pairs.draw(torch.Generator().manual_seed(0), 30, 50)
    assert example.latents.shape == (2, 16, 3, 4, 6)
    assert example.poses.shape == (2, 3, 12)
    torch.testing.assert_close(example.poses[0, 0].reshape(3, 4), torch.eye(4)[:3])
    turn = example.poses[1, 0].reshape(3, 4)[:, :3]
    assert torch.rad2deg(turn[2, 2].arccos()) == pytest.approx(40, abs=0.01)  # the only pair between 30 and 50
    assert not torch.equal(example.latents[0], example.latents[1])


def test_angles_decide_the_pairs(clips):
    pairs, generator = ViewPairs(clips, 0.0), torch.Generator().manual_seed(1)

    def drawn(lowest: float, highest: float) -> set[int]:
        poses = [pairs.draw(generator, lowest, highest).poses[1, 0].reshape(3, 4) for _ in range(12)]
        return {round(float(torch.rad2deg(pose[2, 2].clamp(-1, 1).arccos()))) for pose in poses}

    assert drawn(0, 30) == {20}
    assert drawn(30, 90) == {40}
    assert drawn(0, 60) == {20, 40}
    assert drawn(60, 120) == {40}  # none there is: the nearest


def test_single_views_come_twice_from_one_place(clips):
    example = ViewPairs(clips, 1.0).draw(torch.Generator().manual_seed(0), 0, 60)
    assert torch.equal(example.latents[0], example.latents[1])
    torch.testing.assert_close(example.poses[0], example.poses[1])


def test_angles_grow_with_the_steps():
    schedule = AngleSchedule.parse("0:60,30:90,60:120")
    assert schedule == AngleSchedule()
    assert [schedule.at(step, 50_000) for step in (0, 9_999, 10_000, 19_999, 20_000, 49_999)] == [
        (0, 60), (0, 60), (30, 90), (30, 90), (60, 120), (60, 120),
    ]  # fmt: skip
    for text in ("", "60:0", "0:60,nine", "0:200", "0:1,0:2,0:3,0:4,0:5,0:6"):
        with pytest.raises(UserError, match="angles"):
            AngleSchedule.parse(text)


def test_levels_and_weights_are_the_released_ones():
    levels = draw_levels(20_000, torch.Generator().manual_seed(0))
    assert levels.min() > 0
    assert levels.max() == 1.0
    assert levels.median() == pytest.approx(5 / 6, abs=0.01)  # of evenly spread ones shifted by 5
    even = np.arange(1, 1001) / 1000
    every = 5 * even / (1 + 4 * even)
    bell = np.exp(-2 * ((1000 * every - 500) / 1000) ** 2)
    expected = (bell - bell.min()) * 1000 / (bell - bell.min()).sum()
    found = level_weights(torch.from_numpy(every).float()).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert found.mean() == pytest.approx(1, rel=1e-4)


def test_the_loss_is_that_of_the_velocity(clips):
    adapter = ViewSyncAdapter(tiny_transformer())
    example = ViewPairs(clips, 0.0).draw(torch.Generator().manual_seed(0), 0, 60)
    noise = torch.randn(1, *example.latents.shape, generator=torch.Generator().manual_seed(1))
    level = torch.tensor([0.25])
    with torch.no_grad(), adapter.cameras(example.poses[None]):
        found = flow_loss(adapter, example.latents[None], example.text[None], level, noise)
        noisy = 0.75 * example.latents + 0.25 * noise[0]
        velocity = adapter.transformer(noisy, torch.tensor([250.0, 250.0]), example.text.expand(2, -1, -1)).sample
    expected = (velocity - (noise[0] - example.latents)).square().mean()
    torch.testing.assert_close(found[0], expected)


def test_training_changes_the_module_alone_and_resumes_exactly(clips, tmp_path):
    whole = trainer(clips, tmp_path / "whole")
    before = {name: value.clone() for name, value in whole.adapter.transformer.state_dict().items()}
    assert whole.fit() is None
    after = whole.adapter.transformer.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed == set(whole.adapter.state_dict())
    half = trainer(clips, tmp_path / "half")
    for _ in range(3):
        half.train_step()
    half.save()
    rest = trainer(clips, tmp_path / "half")
    rest.resume()
    assert rest.step == 3
    assert rest.fit() is None
    ours, theirs = rest.adapter.state_dict(), whole.adapter.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_command_trains_and_what_it_leaves_can_be_used(model, data, tmp_path, capsys):
    assert main(arguments(model, data, tmp_path)) == 0
    assert "weights" in capsys.readouterr().out
    run = tmp_path / "generator"
    assert sorted(path.name for path in run.iterdir() if not path.name.startswith("events")) == [
        "checkpoints", "view_sync.safetensors",
    ]  # fmt: skip
    adapter = ViewSyncAdapter(tiny_transformer())
    load_view_sync(adapter, run / "view_sync.safetensors")
    assert all(module.out.weight.abs().max() > 0 for module in adapter.modules)
    assert main(arguments(model, data, tmp_path)) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(arguments(model, data, tmp_path, "--resume")) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "columns scene and caption"),
        ("scene,caption\nnowhere,a ball\n", "names none"),
    ],
)
def test_unfit_captions_are_named(data, tmp_path, text, message):
    path = tmp_path / "captions.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_captions(path, find_scenes(data))


def test_a_folder_without_scenes_is_named(tmp_path):
    with pytest.raises(UserError, match="camera_extrinsics"):
        find_scenes(tmp_path)
