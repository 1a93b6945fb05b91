"""Threads keep the turns that the system gives them, whatever an encoder would rather have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def usual_scheduling() -> Iterator[None]:
    """Undo, at the end of the block, what it did to how this process's threads are scheduled.

    SVT-AV1 gives its own threads and the one that calls it real-time priority where it may, that is, for root, which
    one is in most containers. Nothing else on the machine would get a turn, also long after the last frame.
    Threads that began within the block are scheduled as the one that called. Does nothing where the system knows of no
    such thing.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    own, parameters, before = os.sched_getscheduler(0), os.sched_getparam(0), _policies()
    try:
        yield
    finally:
        for thread, policy in _policies().items():
            if policy != before.get(thread, own):
                with suppress(ProcessLookupError):
                    os.sched_setscheduler(thread, own, parameters)


def _policies() -> dict[int, int]:
    """The scheduling policy of each thread of this process, by the system's number of the thread."""
    policies = {}
    with suppress(FileNotFoundError):
        for thread in map(int, os.listdir("/proc/self/task")):
            with suppress(ProcessLookupError):
                policies[thread] = os.sched_getscheduler(thread)
    return policies
