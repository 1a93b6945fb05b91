"""What a process settles before it trains: denormal numbers are zero, and freed memory is used again as it is."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from syncnerf.processor import settle_processor

def pages(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        torch.ones(2**22)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

# The heap may grow once more, or the system move a page, while a busy machine is looked at: not in three rounds.
asked = lambda: min(pages(20) for _ in range(3))

denormal = lambda: (torch.tensor([1e-39]) * 0.5).item()
print(denormal() > 0, asked())
settle_processor()
pages(2)
print(denormal() > 0, asked())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_freed_memory_is_not_asked_for_again():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    (plain, before), (settled, after) = (line.split() for line in done.stdout.splitlines())
    assert (plain, settled) == ("True", "False")
    # Sixteen megabytes, twenty times: asked for each time (page by page, or several at once), or never again.
    assert int(after) < 1000
    assert int(before) > 10 * int(after)
