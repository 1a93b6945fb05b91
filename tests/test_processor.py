"""What a process settles before it trains: denormal numbers are zero, and freed memory is used again as it is."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from syncnerf.processor import settle_processor

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(6):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

denormal = lambda: (torch.tensor([1e-39]) * 0.5).item()
# The heap may grow once more while a busy machine is looked at, but not in each of three rounds.
print(denormal() > 0, min(pages() for _ in range(3)))
settle_processor()
print(denormal() > 0, min(pages() for _ in range(3)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_freed_memory_is_not_asked_for_again():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    (plain, before), (settled, after) = (line.split() for line in done.stdout.splitlines())
    assert (plain, settled) == ("True", "False")
    # 64 megabytes, more than the C library ever keeps by itself, six times: asked for each time, or never again.
    assert int(after) < 1000
    assert int(before) > 10 * int(after)
