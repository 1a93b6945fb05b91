"""Folders that appear only when they are complete, and links in them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syncnerf.errors import UserError


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` to be filled, which takes its name when the block ends without an error.

    Raises:
        UserError: the folder exists and is not empty, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: already exists; name a new folder")
    scratch = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
        yield scratch
        scratch.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        scratch.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def link(file: Path, place: Path) -> None:
    """A symbolic link to ``file`` by a relative path; where these are not allowed (Windows), a hard one."""
    target = os.path.relpath(file.resolve(), place.parent.resolve())
    try:
        place.symlink_to(target)
    except (OSError, NotImplementedError):
        os.link(file.resolve(), place)
