"""Undoing lens distortion while frames are read."""

import ctypes
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from syncnerf.native import address, compile_native
from syncnerf.scene.camera import Intrinsics

SOURCE = Path(__file__).with_name("resample_pixels.c")
BAND = 1 << 18
"""Pixels that the plain twin of the kernel resamples at once."""


@dataclass(frozen=True)
class Lens:
    """Distortion of OpenCV's model: radial ``k1 k2`` and tangential ``p1 p2``, no unit."""

    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    @property
    def is_ideal(self) -> bool:
        """Whether there is nothing to undo."""
        return self.k1 == self.k2 == self.p1 == self.p2 == 0.0


class Undistorter:
    """Resamples images of one camera to those of a pinhole camera with the same calibration matrix.

    The map from each ideal pixel to its place in the distorted image is computed once, to 1/256 of a pixel.
    """

    def __init__(self, lens: Lens, intrinsics: Intrinsics):
        from kornia.geometry import distort_points  # here: it takes a while to import, and few scenes need it

        width, height = intrinsics.width, intrinsics.height
        row, column = torch.meshgrid(
            torch.arange(height, dtype=torch.float64) + 0.5,
            torch.arange(width, dtype=torch.float64) + 0.5,
            indexing="ij",
        )
        points = torch.stack([column, row], dim=-1).reshape(1, -1, 2)
        coefficients = torch.tensor([[lens.k1, lens.k2, lens.p1, lens.p2]], dtype=torch.float64)
        distorted = distort_points(points, intrinsics.matrix[None], coefficients)[0]
        # In units of pixels from the first pixel's centre, row first; a place outside moves to the border.
        places = distorted.flip(-1).numpy() - 0.5
        last = np.array([height - 1, width - 1])
        places = np.clip(places, 0, last)
        self._corners = np.minimum(places, np.maximum(last - 1, 0)).astype(np.uint16)
        self._fractions = np.minimum(np.rint(256 * (places - self._corners)), 255).astype(np.uint8)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Undistort one uint8 image, shape [height, width, 3]; pixels from outside repeat the border."""
        height, width = image.shape[:2]
        if min(height, width) < 2:  # every place has four neighbours then, too
            image = np.pad(image, ((0, 1), (0, 1), (0, 0)), mode="edge")
        if image.strides[1:] != (3, 1):
            image = np.ascontiguousarray(image)
        return resample_pixels(image, self._corners, self._fractions).reshape(height, width, 3)


def resample_pixels(image: np.ndarray, corners: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Bilinear mixtures of four neighbouring pixels each, rounded, uint8, shape [N, 3].

    Args:
        image: uint8, shape [height, width, 3] of 2x2 or more; rows may be padded.
        corners: row and column of each upper left neighbour, uint16, shape [N, 2].
        fractions: way from there to the lower and to the right neighbour, in 1/256, uint8, shape [N, 2].

    Raises:
        ValueError: the shapes do not belong together, or a neighbour lies outside the image.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.strides[1:] != (3, 1) or image.dtype != np.uint8:
        raise ValueError(f"an image of {image.dtype} {image.shape}: should be uint8 [H, W, 3], its pixels side by side")
    if corners.shape != (len(corners), 2) or fractions.shape != corners.shape:
        raise ValueError(f"corners {corners.shape} and fractions {fractions.shape}: should be [N, 2] both")
    corners = np.ascontiguousarray(corners, dtype=np.uint16)
    fractions = np.ascontiguousarray(fractions, dtype=np.uint8)
    library = _library()
    if library is None:
        return resample_plainly(image, corners, fractions)
    out = np.empty((len(corners), 3), dtype=np.uint8)
    outside = library.resample_pixels(
        address(image), *map(ctypes.c_int64, (*image.shape[:2], image.strides[0])), address(corners),
        address(fractions), ctypes.c_int64(len(corners)), address(out),
    )  # fmt: skip
    if outside:
        raise ValueError(f"an image of {image.shape[1]}x{image.shape[0]} pixels does not hold all corners")
    return out


def resample_plainly(image: np.ndarray, corners: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """The same as :func:`resample_pixels` to the bit, in numpy."""
    out = np.empty((len(corners), 3), dtype=np.uint8)
    for start in range(0, len(corners), BAND):
        part = slice(start, start + BAND)
        row, column = corners[part].astype(np.int64).T
        down, right = fractions[part].astype(np.int32)[..., None].swapaxes(0, 1)
        both = (down * right + 8) >> 4
        mixed = (4096 - 16 * (down + right) + both) * image[row, column]
        mixed += (16 * right - both) * image[row, column + 1]
        mixed += (16 * down - both) * image[row + 1, column]
        mixed += both * image[row + 1, column + 1]
        out[part] = (mixed + 2048) >> 12
    return out


@functools.cache
def _library() -> ctypes.CDLL | None:
    return compile_native(SOURCE)
