"""A backend of somebody else's: installed from its own folder, found, held to the contract, trained by the command."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_runs import assert_same

from syncnerf.assembly import assemble, make_batches
from syncnerf.cli import main
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.training.checkpoints import list_checkpoints
from syncnerf.training.ranks import Ranks

SAMPLE = Path(__file__).with_name("sample_plugin")
SUITE = """
from blobs_spec import SPEC
from syncnerf.testing.contract import BackendContract

class TestBlobs(BackendContract):
    spec = SPEC
    options = {"blobs": 5}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder of its own in which the sample is installed."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(SAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command += [f"--target={folder / 'site'}", str(folder / "source")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
def run(site):
    """Runs a Python that finds the sample."""

    def command(*arguments: str) -> str:
        paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return command


@pytest.fixture
def installed(site, monkeypatch):
    """The same in this process."""
    monkeypatch.syspath_prepend(str(site))
    yield
    for name in ("blobs_spec", "blobs_adapter"):
        sys.modules.pop(name, None)


@pytest.fixture
def arguments(tiny_scene, tmp_path) -> list[str]:
    return [
        f"--datadir={tiny_scene}", f"--logdir={tmp_path / 'runs'}", "--backend=blobs", "--offset-init=zero",
        "--device=cpu", "--downsample=2", "--batch-size=768", "--view-side=8", "--warmup-steps=5", "--log-every=10",
        "--render-frames=2",
    ]  # fmt: skip


def test_the_page_shows_what_is_in_the_sample():
    """Every block of docs/backends.md stands in one of the sample's files, or is the suite that is run here."""
    page = (Path(__file__).parents[1] / "docs" / "backends.md").read_text()
    texts = [SUITE, *(path.read_text() for path in SAMPLE.iterdir() if path.is_file())]
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) > 7
    for block in blocks:
        assert any(block in text for text in texts), block


def test_it_passes_the_contracts_suite(run, tmp_path):
    (tmp_path / "test_blobs.py").write_text(SUITE)
    report = run("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path))
    assert int(re.search(r"(\d+) passed", report)[1]) > 15
    assert re.search(r"1 skipped", report), "it has no networks"


def test_the_command_trains_fits_scores_and_films_it(run, arguments, tmp_path):
    shown = run("-m", "syncnerf", "train", *arguments, "--steps=60", "--lr=0.05", "--test-optim", "--offset-lr=3e-3")
    folder = tmp_path / "runs" / "run"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["step"] == 60
    assert metrics["none"]["mean"]["psnr"] > 16
    offsets = json.loads((folder / "offsets.json").read_text())["cameras"]
    assert abs(offsets["cam03"]["offset"]) > 1e-3, "gradients of the views' times reach the clock"
    assert "report:" in shown
    assert {"test_cam00.mp4", "path_moving.mp4"} <= {path.name for path in (folder / "renders").glob("*.mp4")}
    assert list((folder / "renders").glob("*_depth.png"))


def test_a_run_that_goes_on_from_a_checkpoint_is_the_one_that_did_not_stop(installed, arguments, tmp_path):
    """Moments of the optimizer that move with their rows, statistics, the batches' generator, learned readouts."""
    more = ["--test-frames=1", "--image-every=0", "--camera-colours=learn", "--rolling-shutter=learn"]
    more += [*arguments, "--steps=25", "--save-every=13"]
    assert main(["train", *more]) == 0
    middle, last = list_checkpoints(tmp_path / "runs" / "run" / "checkpoints")
    expected = torch.load(last, weights_only=True)
    last.unlink()
    assert main(["train", *more, "--resume"]) == 0
    assert middle.name == "step_0000013.pt"
    assert_same(torch.load(last, weights_only=True), expected)
    model = expected["model"]
    assert (model["clock.row_times"] != 0).any()
    assert (model["colours.biases"] != 0).any()


def test_processes_that_share_the_views_have_the_gradient_of_one(installed, arguments):
    job = Job.of(parse(arguments))
    synced, batch = assemble(job), make_batches(job).draw(torch.Generator().manual_seed(0), 0)
    assert (len(batch), batch.pixel_count) == (12, 12 * 8 * 8)

    def gradients(parts) -> dict[str, torch.Tensor]:
        synced.zero_grad()
        for part, share in parts:
            (share * synced.losses(synced.render_batch(part), part, 0)["photometric"]).backward()
        return {name: value.grad.clone() for name, value in synced.named_parameters() if value.grad is not None}

    alone = gradients([Ranks().part(batch)])
    shared = gradients([Ranks(rank, 5).part(batch) for rank in range(5)])
    assert "clock.shifts" in alone
    for name, value in alone.items():
        torch.testing.assert_close(shared[name], value, rtol=0, atol=1e-5 * float(value.abs().max()), msg=name)
