"""Undoing lens distortion while frames are read."""

import ctypes
import functools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, UInt8, UInt16
from torch import Tensor

from syncnerf.native import address, compile_native
from syncnerf.scene.camera import Intrinsics

SOURCE = Path(__file__).with_name("resample_pixels.c")
BAND = 1 << 18
"""Pixels that the numpy version of the C kernel resamples at once."""
TURNS = 30
"""Steps of the fixed-point iteration that inverts a lens."""


@dataclass(frozen=True)
class Lens:
    """Distortion of OpenCV's models, no unit.

    Attributes:
        k1 k2 k3: radial coefficients; of a fisheye lens those of powers of the angle to the axis.
        k4 k5 k6: radial coefficients of the rational model's denominator; a fisheye lens has ``k4`` alone, that of the
            next power of the angle.
        p1 p2: tangential coefficients; 0 for a fisheye lens.
        fisheye: Kannala and Brandt's model (OpenCV's ``fisheye``) instead of the rational one (``calibrateCamera``).
        zoom: focal length of the undistorted pictures divided by the lens's own; see
            :func:`~syncnerf.scene.ideal_camera.ideal_camera`.
    """

    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    k5: float = 0.0
    k6: float = 0.0
    fisheye: bool = False
    # Left out of the lens's text, which identifies cached frames: the pictures' intrinsics say it already.
    zoom: float = field(default=1.0, repr=False)

    @property
    def is_ideal(self) -> bool:
        """Whether there is nothing to undo."""
        return self == Lens()

    def distorted(self, points: Float64[Tensor, "N 2"], intrinsics: Intrinsics) -> Float64[Tensor, "N 2"]:
        """From pinhole to distorted: where the lens shows what a pinhole camera of the same focal length has at
        ``points``.

        Both in pixels, float64, shape [N, 2].
        """
        # Imported here, because it takes a while and few scenes need it.
        from kornia.geometry import distort_points
        from kornia.geometry.camera.distortion_kannala_brandt import distort_points_kannala_brandt

        if not self.fisheye:
            numbers = [self.k1, self.k2, self.p1, self.p2, self.k3, self.k4, self.k5, self.k6]
            return distort_points(points[None], intrinsics.matrix[None], points.new_tensor([numbers]))[0]
        focal = points.new_tensor([intrinsics.focal_x, intrinsics.focal_y])
        centre = points.new_tensor([intrinsics.centre_x, intrinsics.centre_y])
        numbers = points.new_tensor([self.k1, self.k2, self.k3, self.k4])
        return distort_points_kannala_brandt((points - centre) / focal, torch.cat([focal, centre, numbers]))

    def undistorted(self, points: Float64[Tensor, "N 2"]) -> Float64[Tensor, "N 2"]:
        """From distorted to pinhole, on the image plane at distance 1.

        The inverse of :meth:`distorted` with a focal length of 1 and the axis at 0; float64, shape [N, 2].
        """
        from kornia.geometry import undistort_points
        from kornia.geometry.camera.distortion_kannala_brandt import undistort_points_kannala_brandt

        if not self.fisheye:
            numbers = [self.k1, self.k2, self.p1, self.p2, self.k3, self.k4, self.k5, self.k6]
            plane = torch.eye(3).to(points)
            return undistort_points(points[None], plane[None], points.new_tensor([numbers]), num_iters=TURNS)[0]
        axis = [1.0, 1.0, 0.0, 0.0]
        return undistort_points_kannala_brandt(points, points.new_tensor([*axis, self.k1, self.k2, self.k3, self.k4]))


class Undistorter:
    """Resamples images of one camera to those of a pinhole camera.

    The map from each ideal pixel to its place in the distorted image is computed once, to 1/256 of a pixel.

    Args:
        lens: distortion to undo.
        intrinsics: of the pinhole camera; the lens's own focal lengths are these over its zoom.
    """

    def __init__(self, lens: Lens, intrinsics: Intrinsics):
        width, height = intrinsics.width, intrinsics.height
        row, column = torch.meshgrid(
            torch.arange(height, dtype=torch.float64) + 0.5,
            torch.arange(width, dtype=torch.float64) + 0.5,
            indexing="ij",
        )
        centre = torch.tensor([intrinsics.centre_x, intrinsics.centre_y], dtype=torch.float64)
        ideal = centre + (torch.stack([column, row], dim=-1).reshape(-1, 2) - centre) / lens.zoom
        distorted = lens.distorted(ideal, intrinsics.zoomed(1 / lens.zoom))
        # In pixels from the first pixel's centre, row first; places outside are moved to the border.
        places = distorted.flip(-1).numpy() - 0.5
        last = np.array([height - 1, width - 1])
        places = np.clip(places, 0, last)
        self._corners = np.minimum(places, np.maximum(last - 1, 0)).astype(np.uint16)
        self._fractions = np.minimum(np.rint(256 * (places - self._corners)), 255).astype(np.uint8)

    def __call__(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
        """Undistort one uint8 image, shape [height, width, 3]; pixels from outside repeat the border."""
        height, width = image.shape[:2]
        if min(height, width) < 2:  # every place has four neighbours then, too
            image = np.pad(image, ((0, 1), (0, 1), (0, 0)), mode="edge")
        if image.strides[1:] != (3, 1):
            image = np.ascontiguousarray(image)
        return resample_pixels(image, self._corners, self._fractions).reshape(height, width, 3)


def resample_pixels(
    image: UInt8[np.ndarray, "height width 3"], corners: UInt16[np.ndarray, "N 2"], fractions: UInt8[np.ndarray, "N 2"]
) -> UInt8[np.ndarray, "N 3"]:
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


def resample_plainly(
    image: UInt8[np.ndarray, "height width 3"], corners: UInt16[np.ndarray, "N 2"], fractions: UInt8[np.ndarray, "N 2"]
) -> UInt8[np.ndarray, "N 3"]:
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
