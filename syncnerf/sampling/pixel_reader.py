"""Random pixels of a camera's cached frames, read without mapping the file into memory."""

import ctypes
import functools
import itertools
import os
import weakref
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int64, UInt8

from syncnerf.errors import UserError
from syncnerf.native import address, compile_native

SOURCE = Path(__file__).with_name("read_pixels.c")
CHANNELS = 3
SPAN = 4096
"""Largest piece, in bytes, that the kernel has room for; the kernel's, too."""


class PixelReader:
    """Reads pixels here and there from one file of cached frames.

    A mapping would do the same, but every touched page (and those around it) then counts as the process's memory and
    costs a page fault: on caches of many gigabytes that is slower, and looks as if all of it were in memory.

    Args:
        path: the ``.npy`` file of frames.
        frames: the same file mapped, shape [T, height, width, 3].
    """

    def __init__(self, path: Path, frames: np.memmap):
        self.path, self.start, self.end = path, frames.offset, frames.offset + frames.nbytes
        self.pixels = frames.shape[1] * frames.shape[2]
        self.file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.file)
        if hasattr(os, "posix_fadvise"):  # fetch single pages, not what follows them
            os.posix_fadvise(self.file, 0, 0, os.POSIX_FADV_RANDOM)

    @property
    def is_whole(self) -> bool:
        """Whether the file is still as long as it was."""
        return os.fstat(self.file).st_size >= self.end

    def read(self, frames: Int64[np.ndarray, " N"], pixels: Int64[np.ndarray, " N"]) -> UInt8[np.ndarray, "N 3"]:
        """Colours of pixels (row * width + column) at frames, both int64 [N]; uint8, shape [N, 3].

        Raises:
            UserError: the file has been cut meanwhile.
        """
        return read_pixels([self], np.zeros(len(frames), dtype=np.int64), frames, pixels)


def read_pixels(
    readers: list[PixelReader],
    cameras: Int64[np.ndarray, " N"],
    frames: Int64[np.ndarray, " N"],
    pixels: Int64[np.ndarray, " N"],
) -> UInt8[np.ndarray, "N 3"]:
    """Colours of pixels of several cameras, uint8, shape [N, 3].

    Args:
        readers: one per camera.
        cameras: which reader's, int64, shape [N].
        frames: number of the frame, int64, shape [N].
        pixels: row * width + column, int64, shape [N].

    Raises:
        UserError: a file has been cut meanwhile.
    """
    table = np.array([(reader.file, reader.start, reader.pixels) for reader in readers], dtype=np.int64)
    files, starts, counts = table[cameras].T
    colours = read_pieces(files, starts + CHANNELS * (frames * counts + pixels), CHANNELS)
    if colours is None:
        cut = next((reader.path for reader in readers if not reader.is_whole), readers[0].path)
        raise UserError(f"{cut}: cannot be read to its end; remove it and start again")
    return colours


def read_pieces(
    files: Int[np.ndarray, " N"], offsets: Int64[np.ndarray, " N"], size: int
) -> UInt8[np.ndarray, "N size"] | None:
    """Short pieces of files, uint8, shape [N, size]; None where a file ends before one of them.

    Args:
        files: descriptors of open files, shape [N].
        offsets: where each piece begins, int64, shape [N]; neighbours that lie close together are read at once.
        size: bytes of a piece.

    Raises:
        ValueError: the shapes do not belong together.
    """
    if len(files) != len(offsets) or offsets.dtype != np.int64:
        raise ValueError(f"{len(files)} files for {len(offsets)} offsets of {offsets.dtype}: should be int64 [N]")
    library = _library() if size <= SPAN else None
    if library is None:
        data = b"".join(map(os.pread, files.tolist(), itertools.repeat(size), offsets.tolist()))
        whole = len(data) == size * len(offsets)
        return np.frombuffer(bytearray(data), dtype=np.uint8).reshape(-1, size) if whole else None
    pieces, files, offsets = np.empty((len(offsets), size), dtype=np.uint8), files.astype(np.int32), offsets.copy()
    failed = library.read_pieces(
        address(files), address(offsets), ctypes.c_int64(len(offsets)), ctypes.c_int64(size), address(pieces)
    )
    return None if failed else pieces


@functools.cache
def _library() -> ctypes.CDLL | None:
    return compile_native(SOURCE)
