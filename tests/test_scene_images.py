"""Image files as people have them: 16-bit grey, turned by Exif, averaged down; what has no range is refused."""

import numpy as np
import pytest
from PIL import Image

from syncnerf.errors import UserError
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.images import ImageSource, images_in, probe_images

NOISE = np.random.default_rng(3).integers(0, 256, (12, 18, 3), dtype=np.uint8)


def read(path, width, height):
    """The only frame of a source."""
    (frame,) = ImageSource((path,)).decode(Intrinsics(width, height, 9.0, 9.0, width / 2, height / 2))
    return frame


def test_sixteen_bits_of_grey_are_scaled(tmp_path):
    deep = np.linspace(0, 65535, 12 * 18).round().astype(np.uint16).reshape(12, 18)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    frame = read(tmp_path / "deep.png", 18, 12)
    np.testing.assert_allclose(frame, np.repeat(deep[..., None] / 257, 3, axis=-1), atol=0.5)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_numbers_without_a_range_are_refused(tmp_path, kind):
    Image.fromarray(np.full((12, 18), 7, dtype=kind)).save(tmp_path / "numbers.tif")
    with pytest.raises(UserError, match=r"numbers\.tif: holds 32-bit numbers"):
        read(tmp_path / "numbers.tif", 18, 12)


# Where row 0 and column 0 of the stored picture are in the upright one (Exif 2.32, table of Orientation).
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_turns_sixteen_bits_of_grey_too(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png", exif=exif)
    wanted = UPRIGHT[orientation](NOISE[..., 0])
    frame = read(tmp_path / "deep.png", wanted.shape[1], wanted.shape[0])
    np.testing.assert_array_equal(frame, np.repeat(wanted[..., None], 3, axis=-1))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_turns_images_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(NOISE).save(tmp_path / "turned.png", exif=exif)
    wanted = UPRIGHT[orientation](NOISE)
    properties = probe_images((tmp_path / "turned.png",))
    assert (properties.height, properties.width) == wanted.shape[:2]
    np.testing.assert_array_equal(read(tmp_path / "turned.png", properties.width, properties.height), wanted)


@pytest.mark.parametrize(("width", "height"), [(12, 8), (6, 4), (17, 11), (18, 12), (5, 7)])
def test_small_images_are_averages_over_areas(tmp_path, width, height):
    Image.fromarray(NOISE).save(tmp_path / "noise.png")

    def shares(old, new):
        """How much of each old pixel a new one covers, [new, old]."""
        edges, ratio = np.arange(old), old / new
        low, high = np.arange(new)[:, None] * ratio, (np.arange(new)[:, None] + 1) * ratio
        return np.clip(np.minimum(edges + 1, high) - np.maximum(edges, low), 0, None) / ratio

    wanted = np.einsum("ia,abc,jb->ijc", shares(12, height), NOISE.astype(float), shares(18, width))
    np.testing.assert_allclose(read(tmp_path / "noise.png", width, height), wanted, atol=1)


def test_hidden_files_are_no_images(tmp_path):
    for name in ("10.png", "9.png", "._9.png"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in images_in(tmp_path)] == ["9.png", "10.png"]


@pytest.mark.parametrize("other", ["0002.jpg", "depth_0002.png", "2.png", "0002_mask.png"])
def test_images_of_one_number_are_no_frames_after_each_other(tmp_path, other):
    for name in ("0001.png", "0002.png", "0003.png"):
        (tmp_path / name).write_bytes(b"")
    assert len(images_in(tmp_path)) == 3
    (tmp_path / other).write_bytes(b"")
    with pytest.raises(UserError, match="have one number") as caught:
        images_in(tmp_path)
    assert {"0002.png", other} <= set(str(caught.value).split())


def test_images_whose_numbers_differ_anywhere_are_frames(tmp_path):
    names = ["a.png", "b.png", "take1_0001.png", "take1_0002.png", "take2_0001.jpg", "12.500.png", "12.750.png"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert len(images_in(tmp_path)) == len(names)
