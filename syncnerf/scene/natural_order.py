"""Sorts names that contain numbers; where the order decides and programs disagree about it, it is refused."""

import re
from collections.abc import Iterable
from pathlib import Path

from syncnerf.errors import UserError


def natural_key(name: str) -> str:
    """A text that sorts names with their runs of digits as numbers: ``cam2`` before ``cam10``."""
    return re.sub(r"\d+", lambda digits: digits[0].lstrip("0").zfill(20), name)


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Paths sorted by their names, in natural order."""
    return sorted(paths, key=lambda path: (natural_key(path.name), path.name))


def require_one_order(names: list[str], path: Path, advice: str) -> None:
    """Refuse names that programs sort differently, for files in which poses belong to videos by their order alone.

    Args:
        names: in natural order.
        path: the file with the poses.
        advice: what to do, for the error's text.

    Raises:
        UserError: sorting letter by letter, or ignoring capitals, would give another order.
    """
    alike = sorted(names, key=lambda name: natural_key(name.casefold()))
    for name, *others in zip(names, sorted(names), alike, strict=True):
        for other in others:
            if name != other:
                raise UserError(f"{path}: poses are given by order, and {name} or {other} may come first; {advice}")
