"""Memory that was freed, but that the C library keeps for later."""

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Return freed memory to the system; does nothing where the C library has no such function.

    What comes before a training frees much in small pieces, which glibc would keep beside all that a training needs.
    """
    with suppress(AttributeError, OSError, TypeError):  # macOS, musl, Windows
        ctypes.CDLL(None).malloc_trim(0)
