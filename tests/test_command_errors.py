"""What the command says where the fault is not its own: one line and exit code 2, whatever went wrong below."""

import os
import subprocess
import sys

import pytest

from syncnerf.cli import report_user_errors
from syncnerf.errors import UserError
from syncnerf.job import choose_device


def raising(error: BaseException):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UserError("transforms.json: no cameras; add some"), "transforms.json: no cameras"),
        (MemoryError("Unable to allocate 9.31 GiB"), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 123 bytes."), "123 bytes"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "not enough memory"),
        (OSError(28, "No space left on device", "runs/x/offsets.csv"), "runs/x/offsets.csv: No space left on device"),
        (PermissionError(13, "Permission denied", "runs"), "runs: Permission denied"),
    ],
)
def test_what_the_machine_refuses_is_one_line(capsys, error, words):
    assert report_user_errors(raising(error)) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("syncnerf: error: ")
    assert shown.count("\n") == 1
    assert words in shown


def test_what_is_a_fault_of_the_program_stays_a_traceback():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        report_user_errors(raising(RuntimeError("mat1 and mat2 shapes cannot be multiplied")))


def test_memory_that_torch_does_not_have_is_noticed(capsys):
    import torch

    assert report_user_errors(lambda: torch.empty(2**44, dtype=torch.uint8).numel() and 0) == 2
    assert "not enough memory for 17592186044416 bytes at once" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_error(tiny_scene):
    """As `syncnerf info | head -1` does; here the reader has left before the first word."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "syncnerf", "info", f"--datadir={tiny_scene}"]
    result = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True)
    os.close(write_end)
    assert result.returncode == 141
    assert result.stderr == ""


@pytest.mark.parametrize("name", ["mps", "xla", "cuda:-1", "cuda:x", "cuda:999", "CPU", "cpu:1", "", "meta"])
def test_other_devices_are_refused(name):
    with pytest.raises(UserError, match=r"device = .*: should be auto, cpu, cuda or cuda:N"):
        choose_device(name)
