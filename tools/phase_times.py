"""Seconds of a training step's phases: of the ranges that it marks for profilers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from torch.profiler import record_function


@contextmanager
def timed_phases(names: Collection[str], wait: Callable[[], None]) -> Iterator[dict[str, float]]:
    """Sum up the seconds spent in each marked range while the block runs.

    Args:
        names: the ranges; none may lie within another.
        wait: returns when the device has done all that it was told; called at both ends of every range, which is why
            a timed step takes a little longer than one that is not.

    Yields:
        Seconds by name, filled while the block runs.
    """
    seconds, begun = dict.fromkeys(names, 0.0), {}

    def enter(mark: record_function) -> record_function:
        if mark.name in seconds:
            wait()
            begun[mark.name] = time.perf_counter()
        return mark

    def leave(mark: record_function, *_: object) -> None:
        if mark.name in seconds:
            wait()
            seconds[mark.name] += time.perf_counter() - begun.pop(mark.name)

    with patch.multiple(record_function, __enter__=enter, __exit__=leave):
        yield seconds
