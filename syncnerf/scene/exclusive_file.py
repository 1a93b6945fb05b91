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
    """The temporary file beside ``target`` that is renamed to it when complete."""
    return target.with_name(f".{target.name}.partial")


@contextmanager
def exclusive_file(target: Path, is_done: Callable[[], bool], give_up: Callable[[], None]) -> Iterator[BinaryIO | None]:
    """Write ``target`` under a temporary name and rename it when the block ends; an exception leaves nothing behind.

    So ``target`` is complete whenever it exists, even if the process is killed. It may not be after a power failure
    within seconds: nothing waits for the disk, since frames come several times faster than many disks write them.

    A lock is held meanwhile. A second run waits for the first; what a killed run left is overwritten.

    Args:
        target: the file to be written.
        is_done: whether ``target`` exists and can be used; asked each time the lock is acquired.
        give_up: called while waiting for another run; may raise to stop.

    Yields:
        The empty file to write to; None if another run has finished ``target`` meanwhile.

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
        # Removed before it is released: another process that has it open notices that it is gone, and makes a new one.
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
    """Start flushing what was written so far, and drop what has reached the disk from the system's file cache.

    Returns at once. Otherwise a large file would fill the memory with pages that nobody reads, and memory that is used
    for the first time costs more than memory that is reused: several times more in a virtual machine.
    """
    file.flush()
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, file.tell(), os.POSIX_FADV_DONTNEED)
