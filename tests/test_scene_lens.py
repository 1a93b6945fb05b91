"""Undoing lens distortion: the kernel, its plain twin, and a resampling in floating point."""

import numpy as np
import pytest
import torch

from syncnerf.scene import lens
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.lens import Lens, Undistorter, resample_pixels, resample_plainly

INTRINSICS = Intrinsics(61, 43, 50.0, 52.0, 29.0, 22.5)
LENS = Lens(k1=-0.12, k2=0.05, p1=0.004, p2=-0.006)


def noise(height=43, width=61, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def distorted_places() -> np.ndarray:
    """Where OpenCV's model puts each ideal pixel's centre, written out; column and row, shape [height, width, 2]."""
    column, row = np.meshgrid(np.arange(61) + 0.5, np.arange(43) + 0.5)
    x, y = (column - INTRINSICS.centre_x) / INTRINSICS.focal_x, (row - INTRINSICS.centre_y) / INTRINSICS.focal_y
    square = x**2 + y**2
    radial = 1 + LENS.k1 * square + LENS.k2 * square**2
    far_x = x * radial + 2 * LENS.p1 * x * y + LENS.p2 * (square + 2 * x**2)
    far_y = y * radial + LENS.p1 * (square + 2 * y**2) + 2 * LENS.p2 * x * y
    return np.stack(
        [far_x * INTRINSICS.focal_x + INTRINSICS.centre_x, far_y * INTRINSICS.focal_y + INTRINSICS.centre_y], axis=-1
    )


def test_kernel_and_twin_agree_to_the_bit():
    if lens._library() is None:
        pytest.skip("no C compiler")
    generator = np.random.default_rng(1)
    corners = np.stack([generator.integers(0, 42, 5000), generator.integers(0, 60, 5000)], axis=-1).astype(np.uint16)
    fractions = generator.integers(0, 256, (5000, 2), dtype=np.uint8)
    fractions[:4] = [[0, 0], [255, 255], [0, 255], [255, 0]]
    image = noise()
    np.testing.assert_array_equal(
        resample_pixels(image, corners, fractions), resample_plainly(image, corners, fractions)
    )
    white = np.full_like(image, 255)
    assert (resample_pixels(white, corners, fractions) == 255).all()


def test_undistortion_is_bilinear_resampling_at_the_models_places():
    places = torch.from_numpy(distorted_places())
    grid = (2 * places / torch.tensor([61.0, 43.0], dtype=torch.float64) - 1)[None]
    image = noise()
    source = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    expected = torch.nn.functional.grid_sample(source, grid, padding_mode="border", align_corners=False)
    expected = expected[0].permute(1, 2, 0).numpy()
    # A place is kept to 1/512 pixel each way, over a contrast of at most 255; half a grey level is rounding.
    np.testing.assert_allclose(Undistorter(LENS, INTRINSICS)(image), expected, rtol=0, atol=0.5 + 4 * 255 / 512)
    smooth = np.broadcast_to(np.arange(61, dtype=np.uint8)[None, :, None], (43, 61, 3))
    column = np.clip(distorted_places()[..., 0] - 0.5, 0, 60)
    np.testing.assert_allclose(Undistorter(LENS, INTRINSICS)(smooth)[..., 1], column, rtol=0, atol=0.51)


def test_rows_with_padding_and_tiny_images_are_read_alike():
    undistort = Undistorter(LENS, INTRINSICS)
    image = noise()
    padded = np.zeros((43, 3 * 61 + 9), dtype=np.uint8)[:, : 3 * 61].reshape(43, 61, 3)
    padded[:] = image
    assert padded.strides[0] != image.strides[0]
    np.testing.assert_array_equal(undistort(padded), undistort(image))
    np.testing.assert_array_equal(undistort(image[:, ::-1]), undistort(image[:, ::-1].copy()))
    one = Intrinsics(1, 1, 1.0, 1.0, 0.5, 0.5)
    np.testing.assert_array_equal(Undistorter(LENS, one)(noise(1, 1)), noise(1, 1))
