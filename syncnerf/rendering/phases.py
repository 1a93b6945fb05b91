"""What a training step is busy with, marked for profilers and for ``tools/benchmark.py``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch.profiler import record_function


@dataclass
class _Clock:
    wait: Callable[[], None]
    seconds: dict[str, float] = field(default_factory=dict)


_clock: _Clock | None = None


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Mark what happens inside: a named range in torch's profiler, and an entry of :func:`timed_phases`.

    Phases may follow one another, not lie within one another.
    """
    if _clock is None:
        with record_function(name):
            yield
        return
    _clock.wait()
    start = time.perf_counter()
    yield
    _clock.wait()
    _clock.seconds[name] = _clock.seconds.get(name, 0.0) + time.perf_counter() - start


@contextmanager
def timed_phases(wait: Callable[[], None]) -> Iterator[dict[str, float]]:
    """Sum up the seconds spent in each phase.

    Args:
        wait: returns when the device has done all that it was told; called at both ends of every phase, which is why
            a timed step takes a little longer than one that is not.

    Yields:
        Seconds by phase, filled while the block runs.
    """
    global _clock
    _clock = _Clock(wait)
    try:
        yield _clock.seconds
    finally:
        _clock = None
