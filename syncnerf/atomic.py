"""Files and folders that appear only when they are complete: written aside, then renamed."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syncnerf.errors import UserError, one_line

ELSEWHERE = "choose another place"
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors that only writing meets."""


@contextmanager
def atomic_file(path: Path, advice: str = ELSEWHERE) -> Iterator[Path]:
    """A file of this name in a folder aside, to be written; it becomes ``path`` when the block ends without an error.

    Its folder is made. What was there before is replaced, and stays as it is after an error.

    Args:
        path: the file.
        advice: what to do where it cannot be written; ends the error's line.

    Raises:
        UserError: the file cannot be written.
    """
    with _scratch(path, advice) as scratch:
        yield scratch / path.name
        os.replace(scratch / path.name, path)


def write_text(path: Path, text: str, advice: str = ELSEWHERE) -> None:
    """Write a text file whole or not at all; raises UserError as :func:`atomic_file` does."""
    with atomic_file(path, advice) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def atomic_folder(folder: Path, replace: bool = False) -> Iterator[Path]:
    """A folder aside, to be filled; it becomes ``folder`` when the block ends without an error.

    Args:
        folder: the folder.
        replace: a folder of this name is removed, once the new one is complete.

    Raises:
        UserError: the folder exists, is not empty and is not to be replaced, or it cannot be written.
    """
    taken = _is_taken(folder)
    if not replace:
        require_vacant(folder)
    with _scratch(folder, ELSEWHERE) as scratch:
        yield scratch
        scratch.chmod(0o755)  # until now it was its user's alone
        if taken:
            _remove(folder)
        elif folder.exists():
            folder.rmdir()
        scratch.rename(folder)


def require_vacant(folder: Path) -> None:
    """UserError unless a folder of this name is empty, or there is none."""
    if _is_taken(folder):
        raise UserError(f"{folder}: already exists; name a new folder")


def _is_taken(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


@contextmanager
def _scratch(path: Path, advice: str) -> Iterator[Path]:
    """A folder beside ``path`` that is gone after the block; says of an error that ``path`` cannot be written."""
    scratch = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.partial-", dir=path.parent))
        yield scratch
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({one_line(error)}); {advice}") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def raise_of_disk(error: Exception, target: Path) -> None:
    """Raise what a disk said while ``target`` was written as an error of that file, and nothing else.

    Codecs raise the same kind of error for what they read as for what they write, without a name.
    """
    number = getattr(error, "errno", None)
    if number in DISK:
        raise OSError(number, os.strerror(number), str(target)) from error


def _remove(folder: Path) -> None:
    """Rename a folder aside before it is deleted, so that a half-deleted one never bears its name."""
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old-", dir=folder.parent))
    folder.rename(aside / folder.name)
    shutil.rmtree(aside)


def link(file: Path, place: Path) -> None:
    """A symbolic link to ``file`` by a relative path; where these are not allowed (Windows), a hard one."""
    target = os.path.relpath(file.resolve(), place.parent.resolve())
    try:
        place.symlink_to(target)
    except (OSError, NotImplementedError):
        os.link(file.resolve(), place)
