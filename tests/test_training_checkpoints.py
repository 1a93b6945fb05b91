"""Checkpoints: whole or not at all, the last two kept, never executed, refused in one line where they do not belong."""

import os
import pickle
import resource
import subprocess
import sys

import pytest
import torch

from syncnerf.errors import UserError
from syncnerf.training import checkpoints
from syncnerf.training.checkpoints import choose_checkpoint, list_checkpoints, load_checkpoint, save_checkpoint

RECORD = {"backend": "kplanes", "cameras": ["a", "b"], "model": {"weight": torch.arange(6.0)}}


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def load(path):
    return load_checkpoint(path, "kplanes", ["a", "b"]).record


def refusal(path, backend="kplanes", cameras=("a", "b")) -> str:
    with pytest.raises(UserError) as caught:
        load_checkpoint(path, backend, list(cameras))
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_what_is_saved_is_loaded_and_only_two_are_kept(tmp_path):
    for step in (5, 10, 100, 9999999, 20):
        path = save_checkpoint(tmp_path, step, RECORD)
    # 20 is the smallest but one by then: the newest by step stay.
    assert names(tmp_path) == ["step_0000100.pt", "step_9999999.pt"]
    assert path.name == "step_0000020.pt"
    record = load(tmp_path / "step_0000100.pt")
    assert record["step"] == 100
    assert torch.equal(record["model"]["weight"], torch.arange(6.0))


def test_checkpoints_of_the_format_before_are_read(tmp_path):
    torch.save({**RECORD, "format": 2, "step": 3}, tmp_path / "step_0000003.pt")
    assert load(tmp_path / "step_0000003.pt")["step"] == 3


def test_checkpoints_are_ordered_by_number_and_other_files_are_left_alone(tmp_path):
    for name in ("step_0000002.pt", "step_10000000.pt", "step_0000010.pt", ".step_0000003.pt.12.partial", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step_0000002.pt", "step_0000010.pt", "step_10000000.pt"]
    assert choose_checkpoint("", tmp_path).name == "step_10000000.pt"
    assert list_checkpoints(tmp_path / "nowhere") == []


def test_an_error_while_writing_leaves_the_old_ones_and_no_rubbish(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, RECORD)

    def half_written(record, file):
        file.write(b"PK half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.torch, "save", half_written)
    with pytest.raises(UserError, match=r"step_0000002\.pt: cannot be written \(No space left on device\)"):
        save_checkpoint(tmp_path, 2, RECORD)
    assert names(tmp_path) == ["step_0000001.pt"]
    assert load(tmp_path / "step_0000001.pt")["step"] == 1


def test_a_full_disk_is_one_line_in_whoever_s_words(tmp_path):
    """A limit on the size of files stops the writer inside torch, which has an error of its own for it."""
    save_checkpoint(tmp_path, 1, RECORD)
    large = {**RECORD, "model": {"weight": torch.zeros(100_000)}}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"step_0000002\.pt: cannot be written") as caught:
            save_checkpoint(tmp_path, 2, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["step_0000001.pt"]


KILLED_WHILE_WRITING = """
import os, signal, sys, torch
from pathlib import Path
from syncnerf.training import checkpoints
record = {"backend": "kplanes", "cameras": ["a", "b"], "model": {"weight": torch.arange(6.0)}}
folder = Path(sys.argv[1])
checkpoints.save_checkpoint(folder, 1, record)
whole = torch.save
def killed(record, file):
    whole(record, file)
    file.flush()
    file.truncate(file.tell() // 2)
    os.kill(os.getpid(), signal.SIGKILL)
checkpoints.torch.save = killed
checkpoints.save_checkpoint(folder, 2, record)
"""


def test_a_kill_while_writing_leaves_a_loadable_run(tmp_path):
    """SIGKILL, so that no clean-up code runs; the half file must never be taken for a checkpoint."""
    result = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path)], capture_output=True)
    assert result.returncode == -9, result.stderr
    assert len(names(tmp_path)) == 2
    assert choose_checkpoint("", tmp_path).name == "step_0000001.pt"
    assert load(choose_checkpoint("", tmp_path))["step"] == 1
    save_checkpoint(tmp_path, 3, RECORD)
    assert load(choose_checkpoint("", tmp_path))["step"] == 3


def test_checkpoints_of_something_else_are_refused_in_one_line(tmp_path):
    path = save_checkpoint(tmp_path, 1, RECORD)
    assert "backend 'kplanes', not 'mixvoxels'" in refusal(path, backend="mixvoxels")
    assert "other cameras (2: a .. b) than this scene's (3: a .. c)" in refusal(path, cameras=("a", "b", "c"))
    assert "other cameras" in refusal(path, cameras=("b", "a"))
    for number, record in enumerate([{"format": 99, **RECORD}, {"weight": torch.ones(1)}, [1, 2], torch.ones(3)]):
        other = tmp_path / f"other{number}.pt"
        torch.save(record, other)
        assert ("another version of syncnerf (0.1.0 or earlier, checkpoints of format 99)" in refusal(other)) == (
            number == 0
        )
        assert ("not a checkpoint of any version" in refusal(other)) == (number > 0)
    with pytest.raises(UserError, match=r"gone\.pt: no such checkpoint"):
        choose_checkpoint(str(tmp_path / "gone.pt"), tmp_path)
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        choose_checkpoint("", tmp_path / "empty")


def test_every_kind_of_rubbish_is_one_line(tmp_path):
    whole = save_checkpoint(tmp_path, 1, RECORD).read_bytes()
    generator = torch.Generator().manual_seed(0)
    rubbish = [b"", b"hello\nworld\n", b"PK\x03\x04", whole[: len(whole) // 2], whole[:-30], pickle.dumps({"a": 1}, 2)]
    rubbish += [bytes(torch.randint(256, (200,), generator=generator).tolist()) for _ in range(60)]
    rubbish += [b"\x80\x02" + bytes(torch.randint(256, (60,), generator=generator).tolist()) for _ in range(200)]
    path = tmp_path / "rubbish.pt"
    for content in rubbish:
        path.write_bytes(content)
        refusal(path)
    path.unlink()
    path.mkdir()
    refusal(path)


class Malicious:
    """Its pickle runs a command when it is loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_a_malicious_pickle_is_not_executed(tmp_path):
    target = tmp_path / "executed"
    for number, legacy in enumerate((False, True)):
        path = tmp_path / f"evil{number}.pt"
        record = {**RECORD, "format": checkpoints.FORMAT, "step": 1, "extra": Malicious(target)}
        torch.save(record, path, _use_new_zipfile_serialization=not legacy)
        assert "is not a checkpoint that can be read" in refusal(path)
        assert not target.exists()
    # The trap itself works: this is what an unguarded load would have done.
    command, arguments = Malicious(target).__reduce__()
    command(*arguments)
    assert target.exists()
