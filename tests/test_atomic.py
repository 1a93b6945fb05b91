"""Files and folders that appear whole or not at all."""

import os

import pytest

from syncnerf.atomic import atomic_file, atomic_folder, write_text
from syncnerf.errors import UserError


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "notes.txt"
    with atomic_file(path) as partial:
        partial.write_text("first")
        assert partial.suffix == path.suffix  # some writers choose their format by it
        assert not path.exists()
    with atomic_file(path) as partial:
        partial.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert [item.name for item in path.parent.iterdir()] == ["notes.txt"]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "notes.txt"
    write_text(path, "before")

    def interrupted():
        with atomic_file(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_files_and_folders_have_the_usual_rights(tmp_path):
    (tmp_path / "plain.txt").write_text("")
    (tmp_path / "plain").mkdir()
    write_text(tmp_path / "whole.txt", "")
    with atomic_folder(tmp_path / "whole"):
        pass
    assert (tmp_path / "whole.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode
    # Others may look in, whatever the user's mask takes from a plain folder's rights.
    assert (tmp_path / "whole").stat().st_mode & 0o755 == (tmp_path / "plain").stat().st_mode & 0o755


@pytest.mark.parametrize("make", [atomic_file, atomic_folder])
def test_what_cannot_be_written_is_one_line_with_advice(tmp_path, make):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"file/below: cannot be written \(.+\); choose another place$"),
        make(tmp_path / "file" / "below"),
    ):
        pass


def test_a_folder_is_replaced_only_on_demand_and_only_by_a_whole_one(tmp_path):
    folder = tmp_path / "scene"
    with atomic_folder(folder) as scratch:
        (scratch / "old").write_text("")
    with pytest.raises(UserError, match="already exists"), atomic_folder(folder):
        pass

    def interrupted():
        with atomic_folder(folder, replace=True) as scratch:
            (scratch / "half").write_text("")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        interrupted()
    assert os.listdir(folder) == ["old"]
    with atomic_folder(folder, replace=True) as scratch:
        (scratch / "new").write_text("")
    assert os.listdir(folder) == ["new"]
    assert list(tmp_path.iterdir()) == [folder]
