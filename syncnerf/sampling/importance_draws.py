"""Draws of pixels in proportion to their importance, over the weights of all cameras."""

import ctypes
import os
import weakref

import numpy as np
from jaxtyping import Int64, Integer

from syncnerf.errors import UserError
from syncnerf.native import address
from syncnerf.sampling.importance import ImportanceWeights
from syncnerf.sampling.importance_weights import SEGMENT, importance_library
from syncnerf.sampling.pixel_reader import read_pieces

COARSE = 256
"""Every so many segments' sum is kept in memory, so that a search looks at few pages of the file; the kernel's, too."""


class ImportanceDraws:
    """Finds the pixels that draws fall on.

    The weights are read where they are needed instead of being touched through a mapping, for the same reasons as
    frames (:class:`syncnerf.sampling.pixel_reader.PixelReader`).

    Args:
        cameras: weights of each camera.
    """

    def __init__(self, cameras: list[ImportanceWeights]):
        self.cameras = cameras
        self.ends = np.array([item.total for item in cameras], dtype=np.uint64).cumsum(dtype=np.uint64)
        self._before = np.concatenate([np.zeros(1, dtype=np.uint64), self.ends[:-1]])
        # Sum of everything before the end of each block of segments.
        ends = [np.append(item.sums[COARSE - 1 : -1 : COARSE], item.sums[-1]) for item in cameras]
        self._blocks = np.concatenate([end + before for end, before in zip(ends, self._before, strict=True)])
        self._first_blocks = np.cumsum([0, *(len(end) for end in ends)])
        self._files = np.array([os.open(item.path, os.O_RDONLY) for item in cameras], dtype=np.int32)
        for file in self._files.tolist():
            weakref.finalize(self, os.close, file)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        self._starts = np.array([item.weights.offset for item in cameras], dtype=np.int64)
        self._segments = np.array([len(item.sums) for item in cameras], dtype=np.int64)
        self._sums = np.array([item.sums.ctypes.data for item in cameras], dtype=np.uintp)

    @property
    def total(self) -> int:
        """Sum of all weights of all cameras."""
        return int(self.ends[-1])

    def locate(self, places: Integer[np.ndarray, " N"]) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
        """Which weights own ``places`` in 0 .. total-1, each as many as it is large.

        Returns:
            The place's camera and its flat index frame * pixels + pixel, both int64, shape [N].

        Raises:
            UserError: a file has been cut meanwhile.
        """
        places = places.astype(np.uint64)
        block = np.searchsorted(self._blocks, places, side="right")
        camera = np.searchsorted(self._first_blocks, block, side="right") - 1
        targets = places - self._before[camera]
        segment, rest = self._segments_of(camera, block - self._first_blocks[camera], targets)
        pieces = read_pieces(self._files[camera], self._starts[camera] + SEGMENT * segment, SEGMENT)
        if pieces is None:
            raise UserError(f"{self.cameras[0].path.parent}: importance cannot be read; remove it and start again")
        return camera, SEGMENT * segment + _first_beyond(pieces, rest)

    def _segments_of(self, camera: np.ndarray, block: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The segment that each target falls into, and what is left of the target within it, both int64 [N]."""
        segment, rest = np.empty(len(targets), dtype=np.int64), np.empty(len(targets), dtype=np.int64)
        library = importance_library()
        if library is not None:
            library.find_segments(
                address(self._sums[camera]), address(block), address(self._segments[camera]), address(targets),
                ctypes.c_int64(len(targets)), address(segment), address(rest),
            )  # fmt: skip
            return segment, rest
        for index in np.unique(camera):
            mine, sums = np.flatnonzero(camera == index), self.cameras[index].sums
            segment[mine] = found = np.searchsorted(sums, targets[mine], side="right")
            rest[mine] = targets[mine] - np.where(found > 0, sums[np.maximum(found, 1) - 1], np.uint64(0))
        return segment, rest


def _first_beyond(weights: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The first weight of each segment [N, SEGMENT] whose cumulative sum exceeds ``rest`` [N], int64 [N]."""
    library = importance_library()
    if library is None:
        return (weights.cumsum(axis=1, dtype=np.int64) <= rest[:, None]).sum(axis=1)
    places = np.empty(len(rest), dtype=np.int64)
    library.find_weights(address(weights), address(rest), ctypes.c_int64(len(rest)), address(places))
    return places
