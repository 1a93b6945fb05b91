"""Footage in other units, moved and turned, is trained to the same quality: from its files to its metrics."""

import json
import math
from pathlib import Path

import pytest
import torch
from small_fields import KPLANES_OPTIONS
from tiny_scene import ANGLE, TRUE_OFFSETS, edit_json, write_scene

from syncnerf.cli import main

CAMERAS, SIDE = 4, 32
PLACE = (310.0, -40.0, 2000.0)
"""Where the scene is moved to, in metres."""


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    """A folder of calibrated footage: nothing says where the scene is, or what lies behind it."""
    folder = write_scene(tmp_path_factory.mktemp("footage") / "metres", cameras=CAMERAS, side=SIDE)
    focal = 0.5 * SIDE / math.tan(0.5 * ANGLE)

    def as_footage(record: dict) -> None:
        del record["camera_angle_x"]
        record |= {"fl_x": focal, "fl_y": focal, "cx": SIDE / 2, "cy": SIDE / 2, "w": SIDE, "h": SIDE}

    edit_json(folder / "transforms.json", as_footage)
    return folder


def changed(footage: Path, folder: Path, unit: float = 1.0, move: tuple = (0.0, 0.0, 0.0), turn: float = 0.0) -> Path:
    """The same videos with poses turned (degrees, about the vertical axis), moved (metres), in another unit."""
    folder.mkdir()
    for path in footage.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    rotation = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)

    def elsewhere(record: dict) -> None:
        for entry in record["frames"]:
            pose = torch.tensor(entry["transform_matrix"], dtype=torch.float64)
            pose[:3] = rotation @ pose[:3]
            pose[:3, 3] = unit * (pose[:3, 3] + torch.tensor(move, dtype=torch.float64))
            entry["transform_matrix"] = pose.tolist()

    edit_json(folder / "transforms.json", elsewhere)
    return folder


def quality(folder: Path, steps: int, *more: str) -> float:
    """PSNR in decibels of the test camera after a training."""
    offsets = folder / "start.json"
    names = [f"cam{index:02d}" for index in range(CAMERAS)]
    offsets.write_text(json.dumps({"offsets": dict(zip(names, TRUE_OFFSETS, strict=True))}))
    options = [
        f"--datadir={folder}", f"--cache-dir={folder / 'cache'}", f"--logdir={folder / 'runs'}", "--offset-mode=off",
        "--expname=run", f"--steps={steps}", "--warmup-steps=5", "--lr=5e-3", "--proposal-warmup=100",
        "--anneal-steps=50", "--render-frames=2", "--image-every=0", "--test-frames=3", *KPLANES_OPTIONS, *more,
    ]  # fmt: skip
    assert main(["train", *options]) == 0
    return json.loads((folder / "runs" / "run" / "metrics.json").read_text())["mean"]["psnr"]


def test_a_few_steps_in_other_units_and_elsewhere(footage, tmp_path):
    metres = quality(changed(footage, tmp_path / "metres"), 30)
    for name, unit in (("millimetres", 1e3), ("kilometres", 1e-3)):
        assert quality(changed(footage, tmp_path / name, unit, PLACE), 30) == pytest.approx(metres, abs=0.02), name


@pytest.mark.slow
def test_a_training_in_other_units_moved_and_turned(footage, tmp_path):
    """Rounding grows to another training in some hundred steps, as different as another seed's and no more."""

    def trained(name: str, seed: int = 0, **change) -> float:
        return quality(changed(footage, tmp_path / name, **change), 300, "--batch-size=256", f"--seed={seed}")

    seeds = [trained(f"seed{seed}", seed) for seed in range(4)]
    others = {
        "millimetres": trained("millimetres", unit=1e3, move=PLACE),
        "kilometres": trained("kilometres", unit=1e-3, move=PLACE, turn=90.0),
        "turned": trained("turned", turn=37.0),
    }
    middle, spread = sum(seeds) / 4, max(seeds) - min(seeds)
    assert spread > 0.01, "fog of one colour ends the same whatever the seed"
    for name, value in others.items():
        assert abs(value - middle) < max(2 * spread, 0.3), (name, value, seeds)
