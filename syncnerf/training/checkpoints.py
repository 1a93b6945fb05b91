"""Checkpoints: complete or absent, the last two kept, loaded without executing anything that they contain."""

import logging
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from syncnerf import __version__
from syncnerf.atomic import atomic_file
from syncnerf.errors import UserError, one_line

logger = logging.getLogger(__name__)

FORMAT = 3
READABLE = (2, 3)
"""Formats that can be read. Format 2 holds no lenses."""
KEPT = 2
LONGEST_REASON = 150
NAME = re.compile(r"step_(\d+)\.pt")


def save_checkpoint(folder: Path, step: int, record: dict[str, Any]) -> Path:
    """Write ``step_<step>.pt`` whole or not at all, then remove all but the last two.

    Args:
        folder: the run's ``checkpoints``.
        step: number of finished steps.
        record: tensors and plain values.

    Raises:
        UserError: the disk is full or cannot be written.
    """
    target = folder / f"step_{step:07d}.pt"
    advice = "free some space and --resume"
    try:
        with atomic_file(target, advice) as partial, partial.open("wb") as file:
            torch.save({"format": FORMAT, "version": __version__, "step": step, **record}, file)
            file.flush()
            os.fsync(file.fileno())
    except RuntimeError as error:  # torch's writer turns the system's error into its own
        raise UserError(f"{target}: cannot be written ({one_line(error)}); {advice}") from error
    for old in list_checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return target


def list_checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints of a run, oldest first."""
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read.

    Attributes:
        path: where from.
        record: its contents, tensors on the CPU.
    """

    path: Path
    record: dict[str, Any]

    @property
    def version(self) -> str:
        """The version of syncnerf that wrote it."""
        return written_by(self.record)


def load_checkpoint(path: Path, backend: str, cameras: list[str]) -> Checkpoint:
    """Read a checkpoint and check that it belongs to this backend and scene.

    Raises:
        UserError: it cannot be read, or is of another format, backend or scene.
    """
    try:
        _check_sums(path)
        record = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what is no checkpoint can trip the reader anywhere: IndexError, struct.error, ...
        reason = str(error).splitlines()[0][:LONGEST_REASON] if str(error) else type(error).__name__
        raise UserError(f"{path}: is not a checkpoint that can be read ({reason}); use another one") from error
    if not isinstance(record, dict) or record.get("format") not in READABLE:
        raise UserError(f"{path}: {_origin(record)}; this one is {__version__}: use that one, or train again")
    if record.get("backend") != backend:
        raise UserError(f"{path}: is a checkpoint of backend '{record.get('backend')}', not '{backend}'; set --backend")
    if record.get("cameras") != cameras:
        raise UserError(
            f"{path}: was trained on other cameras ({_brief(record.get('cameras'))}) than this scene's "
            f"({_brief(cameras)}); give the scene's own checkpoint"
        )
    if not isinstance(step := record.get("step"), int) or step < 0:
        raise UserError(f"{path}: has {step!r} steps behind it, which is no number of steps; use another checkpoint")
    return Checkpoint(path, record)


def _check_sums(path: Path) -> None:
    """Raise ValueError if a checkpoint's checksums do not match its contents, which torch's reader does not check."""
    with zipfile.ZipFile(path) as archive:
        if broken := archive.testzip():
            raise ValueError(f"{broken} is damaged")


@contextmanager
def taking_over(checkpoint: Checkpoint) -> Iterator[None]:
    """A context for using a checkpoint's contents: errors that they cause become one line about the checkpoint.

    Raises:
        UserError: the contents are not what they should be.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"[:LONGEST_REASON]
        told = f"does not hold what a checkpoint should ({reason}); syncnerf {checkpoint.version} wrote it"
        raise UserError(f"{checkpoint.path}: {told}; use that version, or an earlier checkpoint") from error


def choose_checkpoint(requested: str, folder: Path) -> Path:
    """The requested checkpoint, else the run's newest; raises UserError when there is none."""
    if requested:
        if not Path(requested).is_file():
            raise UserError(f"{requested}: no such checkpoint; look in the run's folder 'checkpoints'")
        return Path(requested)
    found = list_checkpoints(folder)
    if not found:
        raise UserError(f"{folder}: holds no checkpoint yet; train first, or name one with --ckpt")
    return found[-1]


def _origin(record: Any) -> str:
    """Which version of syncnerf wrote a record that cannot be used, for the error's text."""
    if not isinstance(record, dict) or "format" not in record:
        return "is not a checkpoint of any version of syncnerf"
    version = written_by(record)
    return f"was written by another version of syncnerf ({version}, checkpoints of format {record['format']})"


def written_by(record: dict[str, Any]) -> str:
    """The version of syncnerf that wrote a checkpoint, which the first ones do not say."""
    return str(record.get("version", "0.1.0 or earlier"))


def _brief(cameras: Any) -> str:
    if not isinstance(cameras, list) or not cameras:
        return "unknown"
    return f"{len(cameras)}: {cameras[0]} .. {cameras[-1]}"
