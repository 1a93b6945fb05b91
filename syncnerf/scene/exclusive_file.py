"""Files that appear only when complete, and are written by one process at a time."""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # not a Unix: files are still complete, but two runs may do the same work
    fcntl = None

WAIT = 0.1
"""Seconds between looks at a file that another run is writing."""


def partial_path(target: Path) -> Path:
    """Where ``target`` is written before it is renamed."""
    return target.with_name(f".{target.name}.partial")


@contextlib.contextmanager
def exclusive_file(target: Path, is_done: Callable[[], bool], give_up: Callable[[], None]) -> Iterator[BinaryIO | None]:
    """Write ``target`` aside and rename it when the block ends; an exception leaves nothing behind.

    Nothing waits for the disk (frames come several times faster than many disks write them), so this holds whatever
    happens to the process, but not if the machine loses its power in the seconds after.

    The file aside is locked while it is written, so a second run waits for the first; one that was left by a killed
    run is not locked and is written anew.

    Args:
        target: the file to be.
        is_done: whether ``target`` is there and fit for use; asked whenever the lock is had.
        give_up: called while waiting for another run; may raise to stop.

    Yields:
        The file to write to, empty; None where another run has finished ``target`` meanwhile.

    Raises:
        OSError: the file cannot be written.
    """
    partial = partial_path(target)
    file = None
    while file is None:
        if is_done():
            yield None
            return
        file = _locked(partial)
        if file is None:
            give_up()
            time.sleep(WAIT)
    with file:
        if is_done():
            partial.unlink(missing_ok=True)
            yield None
            return
        try:
            yield file
            file.flush()
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def reserve(file: BinaryIO, size: int) -> None:
    """Reserve the next ``size`` bytes of the disk: writing them is then cheaper, and a full disk is found at once.

    Raises:
        OSError: the disk has less space than that.
    """
    file.flush()
    try:
        os.posix_fallocate(file.fileno(), file.tell(), size)
    except AttributeError:  # not offered here
        pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise


def leave_memory(file: BinaryIO) -> None:
    """Start writing to the disk what has been written so far, and let go of what is there already; waits for nothing.

    A large file would fill the system's memory only to be pushed out again, and memory that is used for the first time
    costs more than memory that is used again: several times more in a virtual machine.
    """
    file.flush()
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, file.tell(), os.POSIX_FADV_DONTNEED)


def _locked(partial: Path) -> BinaryIO | None:
    """Open and lock the file aside, emptied; None while another run holds it."""
    file = os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
    try:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return None
        # The holder before us may have renamed or removed it between our opening and our locking.
        if not partial.exists() or not os.path.samestat(os.fstat(file.fileno()), partial.stat()):
            file.close()
            return None
        file.truncate(0)
    except OSError:
        file.close()
        raise
    return file
