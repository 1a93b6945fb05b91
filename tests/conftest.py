"""Fixtures that several test modules share."""

import logging
import os
import shutil
from pathlib import Path

import checked_shapes  # before what it checks
import pytest
import torch
from small_fields import KPLANES_OPTIONS
from tiny_scene import write_scene

from syncnerf.config import Config
from syncnerf.options import parse

# The tests' tensors are tiny: threads would only wait for each other, here and in the processes that tests start.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
# Triton reads this when it is first imported: without a GPU its kernels run in its interpreter.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """No option of the caller's environment reaches a test."""
    for variable in list(os.environ):
        if variable.startswith("SYNCNERF_"):
            monkeypatch.delenv(variable)
    # Compiling takes longer than any training here; what tests it asks for it.
    monkeypatch.setenv("SYNCNERF_COMPILE", "off")


@pytest.fixture(autouse=True)
def own_checked_calls():
    """Every test has its functions' first calls checked."""
    checked_shapes.calls.clear()


@pytest.fixture(autouse=True)
def own_log_level():
    """What a test makes the log leave out (as further processes of a run do), it leaves out for itself alone."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)


@pytest.fixture
def undrawn(monkeypatch):
    """Charts are laid out and not drawn: that takes longer than everything else of a tiny run."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)


@pytest.fixture(scope="session")
def tiny_scene(tmp_path_factory) -> Path:
    """The folder of the tiny scene; shared, so it must not be changed (see :func:`own_scene`)."""
    return write_scene(tmp_path_factory.mktemp("scene") / "blobs")


@pytest.fixture
def own_scene(tiny_scene, tmp_path) -> Path:
    """A copy of the tiny scene that a test may spoil."""
    return Path(shutil.copytree(tiny_scene, tmp_path / "scene", ignore=shutil.ignore_patterns(".syncnerf_cache")))


@pytest.fixture
def tiny_arguments(tiny_scene, tmp_path) -> list[str]:
    """Command line of a training on the tiny scene, offsets from zero, runs in the test's own folder."""
    return [f"--datadir={tiny_scene}", f"--logdir={tmp_path / 'runs'}", "--offset-init=zero", *KPLANES_OPTIONS]


@pytest.fixture
def tiny_config(tiny_arguments) -> Config:
    """The configuration of a training on the tiny scene."""
    return parse(tiny_arguments)
