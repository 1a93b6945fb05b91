"""Two settings of the process without which a CPU is several times slower at training."""

import ctypes
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of the C library's settings, from ``malloc.h``."""
LARGEST_KEPT = 2**30
"""Bytes; larger pieces of memory go back to the system at once."""


def settle_processor() -> None:
    """Flush denormal numbers to zero, and let freed memory stay with the process.

    Features far from any surface fade into denormal numbers, which processors handle a hundred times slower. And every
    step makes and frees the same large tensors, whose memory the GNU C library would give back to the system each
    time, only to get it again page by page, cleared: a third of a step, and more than half of one with 4096 rays. The
    most that a process holds grows by some per cent, for what is free is in pieces.
    """
    torch.set_flush_denormal(True)
    if sys.platform == "linux":
        set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
        if set_option is not None:
            set_option(M_MMAP_THRESHOLD, LARGEST_KEPT)
            set_option(M_TRIM_THRESHOLD, 2 * LARGEST_KEPT - 1)
