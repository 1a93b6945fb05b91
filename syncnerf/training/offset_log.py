"""``offsets.csv``: the offsets' curves over training."""

import csv
from pathlib import Path

from jaxtyping import Float64
from torch import Tensor

from syncnerf.atomic import atomic_file


class OffsetLog:
    """Appends lines of offsets in seconds; a resumed run continues after its checkpoint's step.

    Args:
        path: the file; header ``step,<camera names>``.
        names: the cameras in order.
        resumed_at: finished steps of the checkpoint that is continued; later lines are dropped. 0 starts afresh.
    """

    def __init__(self, path: Path, names: list[str], resumed_at: int = 0):
        kept: list[list[str]] = []
        if resumed_at and path.exists():
            with path.open(newline="", encoding="utf-8", errors="replace") as file:
                kept = [row for row in csv.reader(file) if row and row[0].isdigit() and int(row[0]) < resumed_at]
        with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["step", *names], *kept])
        self._path = path

    def add(self, step: int, offsets: Float64[Tensor, " C"]) -> None:
        """Append the offsets at a step, shape [C]."""
        with self._path.open("a", newline="") as file:
            csv.writer(file).writerow([step, *(f"{value:.9g}" for value in offsets.tolist())])
