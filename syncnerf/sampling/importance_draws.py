"""Draws of pixels in proportion to their importance, over the weights of all cameras."""

import ctypes
import os
import weakref

import numpy as np

from syncnerf.encodings.native import address
from syncnerf.errors import UserError
from syncnerf.sampling.importance import ImportanceWeights
from syncnerf.sampling.importance_weights import SEGMENT, importance_library

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

    def locate(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which weights own ``places`` in 0 .. total-1, each as many as it is large.

        Returns:
            The place's camera and its flat index frame * pixels + pixel, both int64, shape [N].

        Raises:
            UserError: a file has been cut meanwhile.
        """
        places = places.astype(np.uint64)
        block = np.searchsorted(self._blocks, places, side="right")
        camera = np.searchsorted(self._first_blocks, block, side="right") - 1
        block -= self._first_blocks[camera]
        targets = places - self._before[camera]
        library = importance_library()
        found = np.empty(len(places), dtype=np.int64)
        if library is None:
            failed = self._locate_plainly(camera, targets, found)
        else:
            columns = [self._files, self._starts, self._sums]
            failed = library.locate_draws(
                *(address(column[camera]) for column in columns), address(block), address(self._segments[camera]),
                address(targets), ctypes.c_int64(len(places)), address(found),
            )  # fmt: skip
        if failed:
            raise UserError(f"{self.cameras[0].path.parent}: importance cannot be read; remove it and start again")
        return camera, found

    def _locate_plainly(self, camera: np.ndarray, targets: np.ndarray, found: np.ndarray) -> int:
        """The kernel's twin: fills ``found`` and returns how many reads failed."""
        for index in np.unique(camera):
            mine, sums = np.flatnonzero(camera == index), self.cameras[index].sums
            segment = np.searchsorted(sums, targets[mine], side="right")
            before = np.where(segment > 0, sums[np.maximum(segment, 1) - 1], np.uint64(0))
            start, file = int(self._starts[index]), int(self._files[index])
            data = b"".join([os.pread(file, SEGMENT, start + SEGMENT * place) for place in segment.tolist()])
            if len(data) != SEGMENT * len(mine):
                return 1
            inside = np.frombuffer(data, dtype=np.uint8).reshape(-1, SEGMENT).cumsum(axis=1, dtype=np.uint32)
            rest = (targets[mine] - before).astype(np.uint32)
            found[mine] = segment * SEGMENT + (inside <= rest[:, None]).sum(axis=1)
        return 0
