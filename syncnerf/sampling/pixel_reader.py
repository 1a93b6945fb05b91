"""Random pixels of a camera's cached frames, read without mapping the file into memory."""

import ctypes
import functools
import os
import weakref
from pathlib import Path

import numpy as np

from syncnerf.encodings.native import compile_native
from syncnerf.errors import UserError

SOURCE = Path(__file__).with_name("read_pixels.c")
CHANNELS = 3


class PixelReader:
    """Reads pixels here and there from one file of cached frames.

    A mapping would do the same, but every touched page (and those around it) then counts as the process's memory and
    costs a page fault: on caches of many gigabytes that is slower, and looks as if all of it were in memory.

    Args:
        path: the ``.npy`` file of frames.
        frames: the same file mapped, shape [T, height, width, 3].
    """

    def __init__(self, path: Path, frames: np.memmap):
        self.path, self.start = path, frames.offset
        self.pixels = frames.shape[1] * frames.shape[2]
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        if hasattr(os, "posix_fadvise"):  # fetch single pages, not what follows them
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)

    def read(self, frames: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Colours of pixels (row * width + column) at frames, both int64 [N]; uint8, shape [N, 3].

        Raises:
            UserError: the file has been cut meanwhile.
        """
        offsets = np.ascontiguousarray(self.start + CHANNELS * (frames * self.pixels + pixels), dtype=np.int64)
        library = _library()
        if library is None:
            data = b"".join([os.pread(self._file, CHANNELS, offset) for offset in offsets.tolist()])
            whole = len(data) == CHANNELS * len(offsets)
            colours = np.frombuffer(data, dtype=np.uint8) if whole else None
        else:
            colours = np.empty(CHANNELS * len(offsets), dtype=np.uint8)
            failed = library.read_pieces(
                self._file, ctypes.c_void_p(offsets.ctypes.data), ctypes.c_int64(len(offsets)),
                ctypes.c_int64(CHANNELS), ctypes.c_void_p(colours.ctypes.data),
            )  # fmt: skip
            whole = failed == 0
        if not whole:
            raise UserError(f"{self.path}: cannot be read to its end; remove it and start again")
        return colours.reshape(-1, CHANNELS)


@functools.cache
def _library() -> ctypes.CDLL | None:
    return compile_native(SOURCE)
