"""Files that appear only when complete, and are written by one process at a time."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

WAIT = 0.1
"""Seconds between looks at a file that another run is writing."""


def partial_path(target: Path) -> Path:
    """Where ``target`` is written before it is renamed."""
    return target.with_name(f".{target.name}.partial")


@contextmanager
def exclusive_file(target: Path, is_done: Callable[[], bool], give_up: Callable[[], None]) -> Iterator[BinaryIO | None]:
    """Write ``target`` aside and rename it when the block ends; an exception leaves nothing behind.

    Nothing waits for the disk (frames come several times faster than many disks write them), so this holds whatever
    happens to the process, but not if the machine loses its power in the seconds after.

    A lock is held meanwhile, so a second run waits for the first; what a killed run left is written anew.

    Args:
        target: the file to be.
        is_done: whether ``target`` is there and fit for use; asked whenever the lock is had.
        give_up: called while waiting for another run; may raise to stop.

    Yields:
        The file to write to, empty; None where another run has finished ``target`` meanwhile.

    Raises:
        OSError: the file cannot be written.
    """
    partial, lock = partial_path(target), FileLock(target.with_name(f".{target.name}.lock"))
    while not is_done() and not lock.is_locked:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            give_up()
            time.sleep(WAIT)
    if not lock.is_locked:
        yield None
        return
    try:
        if is_done():
            yield None
            return
        with partial.open("w+b") as file:
            yield file
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
        # Before the lock is released: whoever has opened the file sees that it has gone, and asks for a new one.
        with suppress(OSError):  # not a Unix: releasing it does that there
            Path(lock.lock_file).unlink()
        lock.release()


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
