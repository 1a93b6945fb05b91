"""Memory goes back to the system."""

import sys
from pathlib import Path

import pytest

from syncnerf.freed_memory import give_back


def resident() -> int:
    """Megabytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_was_freed_between_things_that_are_kept_goes_back():
    pieces = [bytearray(b"x" * 60_000) for _ in range(3000)]
    kept = pieces[::50]
    held = resident()
    del pieces
    give_back()
    assert held - resident() > 100
    assert len(kept) == 60
