"""A run's folder: made, held by one process at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from syncnerf.errors import UserError

logger = logging.getLogger(__name__)

LOCK = ".lock"


@contextmanager
def held_folder(folder: Path) -> Iterator[Path]:
    """Make a run's folder and keep it to oneself, so that no two runs mix their files.

    Raises:
        UserError: another process writes there, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder}: another run is writing there; wait for it, or choose another --expname (with --ckpt to look at "
            "its checkpoints)"
        ) from None
    except NotImplementedError:  # a file system without locks
        logger.warning("%s: cannot be locked here; see to it that no other run writes there", folder)
        yield folder
        return
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror or error}); choose another --logdir") from error
    try:
        yield folder
    finally:
        lock.release()
