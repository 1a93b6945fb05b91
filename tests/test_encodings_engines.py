"""Which engine runs where, and what a user is told of one that does not."""

import importlib.util
import sys
import types
from dataclasses import replace

import pytest
import torch

from syncnerf.assembly import assemble, make_batches
from syncnerf.encodings import engines
from syncnerf.encodings.engines import ENGINES, PACKAGES, choose_engine
from syncnerf.errors import UserError
from syncnerf.job import Job
from syncnerf.options import parse
from syncnerf.train import plan_of
from syncnerf.training.options import TrainingConfig
from syncnerf.training.trainer import Trainer
from syncnerf_gaussians.spec import SPEC as GAUSSIANS
from syncnerf_mixvoxels.spec import SPEC as MIXVOXELS

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def installed(monkeypatch):
    """Says which of the optional packages are there; returns the list to change."""
    there = []
    find = importlib.util.find_spec

    def find_spec(name: str):
        if name not in ("triton", "tinycudann", "gsplat"):
            return find(name)
        return object() if name in there else None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(engines, "_import_failure", engines._import_failure.__wrapped__)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    return there


def test_the_option_offers_every_engine():
    choices = TrainingConfig.__dataclass_fields__["engine"].metadata["choices"]
    assert set(choices) == {"auto", *ENGINES, *PACKAGES, *GAUSSIANS.engines}


def test_auto_takes_the_best_that_is_there(installed, monkeypatch):
    assert choose_engine("auto", CPU) == choose_engine("auto", CUDA) == "torch"
    installed.append("triton")
    assert choose_engine("auto", CUDA) == "triton"
    assert choose_engine("auto", CPU) == "torch"
    installed.append("tinycudann")
    monkeypatch.setitem(sys.modules, "tinycudann", types.ModuleType("tinycudann"))
    assert choose_engine("auto", CUDA) == "tcnn"
    assert choose_engine("auto", CPU) == "torch"


def test_tinycudann_that_does_not_import_is_passed_over(installed, monkeypatch):
    installed.append("tinycudann")
    monkeypatch.setitem(sys.modules, "tinycudann", None)
    assert choose_engine("auto", CUDA) == "torch"
    with pytest.raises(UserError, match="does not import"):
        choose_engine("tcnn", CUDA)


@pytest.mark.parametrize(
    ("name", "device", "words"),
    [
        ("triton", CUDA, ["triton is missing", "syncnerf[triton]", "--engine auto"]),
        ("tcnn", CUDA, ["tinycudann is missing", "syncnerf[tcnn]", "--engine auto"]),
        ("tcnn", CPU, ["need a CUDA device", "cpu"]),
        ("cutlass", CPU, ["no such engine, but tcnn, triton, torch"]),
        ("gsplat", CUDA, ["no such engine"]),
    ],
)
def test_what_is_missing_is_said_in_one_line(installed, name, device, words):
    with pytest.raises(UserError) as caught:
        choose_engine(name, device)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)


def test_a_backend_without_kernels_runs_on_torch_alone(installed):
    installed.append("triton")
    assert choose_engine("auto", CUDA, MIXVOXELS.engines) == "torch"
    with pytest.raises(UserError, match="no such engine, but torch"):
        choose_engine("triton", CUDA, MIXVOXELS.engines)


def test_a_backend_knows_its_own_engines(installed, monkeypatch):
    known = GAUSSIANS.engines
    assert choose_engine("auto", CUDA, known) == "torch"
    with pytest.raises(UserError, match=r"gsplat is missing; pip install 'syncnerf\[gsplat\]'"):
        choose_engine("gsplat", CUDA, known)
    with pytest.raises(UserError, match="no such engine, but triton, gsplat, torch"):
        choose_engine("tcnn", CUDA, known)
    installed.append("gsplat")
    for compiled, name in ((None, "torch"), (object(), "gsplat")):
        for module, contents in (("gsplat", {}), ("gsplat.cuda", {}), ("gsplat.cuda._backend", {"_C": compiled})):
            monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
            vars(sys.modules[module]).update(contents)
        assert choose_engine("auto", CUDA, known) == name
    with pytest.raises(UserError, match="need a CUDA device"):
        choose_engine("gsplat", CPU, known)


def test_triton_on_a_cpu_is_for_its_interpreter_alone(installed, monkeypatch):
    installed.append("triton")
    with pytest.raises(UserError, match="need a CUDA device"):
        choose_engine("triton", CPU)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert choose_engine("triton", CPU) == "triton"
    assert choose_engine("auto", CPU) == "torch"


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_a_training_step_is_the_same_on_every_engine(tiny_arguments, tmp_path):
    """From the option to the kernels; Triton's in its interpreter."""
    losses = {}
    for engine in ("torch", "triton"):
        options = ["--field=hash", "--sampler=occupancy", "--hash-levels=2", "--hash-table=8", "--hash-finest=16"]
        config = parse([*tiny_arguments, *options, f"--engine={engine}"])
        job = Job.of(config)
        synced = assemble(job)
        assert synced.backend.field.features.static.engine == engine
        trainer = Trainer(synced, make_batches(job), replace(plan_of(job), folder=tmp_path))
        losses[engine] = [trainer.train_step()[0]["photometric"].item() for _ in range(3)]
        trainer.supply.close()
    assert losses["triton"] == pytest.approx(losses["torch"], rel=1e-4)
    assert losses["torch"][2] != losses["torch"][0]
