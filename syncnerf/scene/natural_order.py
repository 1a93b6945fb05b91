"""Order of names with numbers in them, and the refusal to guess where it matters and is not certain."""

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
    """Refuse names whose order depends on the program that sorts them, where poses are given by that order alone.

    Args:
        names: in natural order.
        path: the file with the poses.
        advice: what to do, for the error's text.

    Raises:
        UserError: a program that sorts letter by letter, or takes no notice of capitals, would pair them otherwise.
    """
    alike = sorted(names, key=lambda name: natural_key(name.casefold()))
    for name, *others in zip(names, sorted(names), alike, strict=True):
        for other in others:
            if name != other:
                raise UserError(f"{path}: poses are given by order, and {name} or {other} may come first; {advice}")
