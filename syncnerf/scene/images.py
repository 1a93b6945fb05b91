"""Numbered image files as a camera's frames."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from syncnerf.errors import UserError, one_line
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.lens import Lens, Undistorter
from syncnerf.scene.natural_order import natural_order
from syncnerf.scene.rgb_frames import AreaAverage
from syncnerf.scene.video import VideoProperties

SUFFIXES = (".png", ".jpg", ".jpeg")
ORIENTATION, TRANSPOSED = 0x0112, (5, 6, 7, 8)
"""Exif's tag for how an image is turned, and its values that exchange rows and columns."""
DEEP_GREYS = ("I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's names of 16-bit grey."""


def images_in(folder: Path) -> tuple[Path, ...]:
    """The folder's images in natural order.

    Raises:
        UserError: there are none, or several with the same number (depth beside colours, jpg beside png).
    """
    try:
        paths = tuple(natural_order(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != "."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({one_line(error)}); it should hold a camera's images") from error
    if not paths:
        raise UserError(f"{folder}: holds no images (png or jpg); add the camera's frames")
    first_of: dict[tuple[int, ...], Path] = {}
    for path in paths:
        numbers = tuple(int(digits) for digits in re.findall("[0-9]+", path.stem))
        other = first_of.setdefault(numbers, path)
        if numbers and other != path:
            raise UserError(f"{folder}: {other.name} and {path.name} have one number; leave an image for each frame")
    return paths


def probe_images(paths: tuple[Path, ...], fps: float = 0.0) -> VideoProperties:
    """Number of a camera's images and size of the first, turned upright; ``fps`` is handed on. Raises UserError."""
    with _opened(paths[0]) as image:
        width, height = image.size
        if image.getexif().get(ORIENTATION, 1) in TRANSPOSED:
            width, height = height, width
        return VideoProperties(width, height, fps, len(paths))


def image_remarks(path: Path) -> Iterator[str]:
    """What about an image could surprise, for a camera whose first it is; raises UserError."""
    with _opened(path) as image:
        if image.getexif().get(ORIENTATION, 1) != 1:
            yield "images are stored turned or mirrored, and read upright"
        if image.mode in DEEP_GREYS:
            yield "images have 16 bits of grey, read as 8"


@dataclass(frozen=True)
class ImageSource:
    """Frames from image files, resized to a camera's size and undistorted.

    Attributes:
        paths: the images in the order of time.
        background: what shows through transparent pixels, RGB in 0..255.
        lens: distortion to undo.
    """

    paths: tuple[Path, ...]
    background: tuple[int, int, int] = (255, 255, 255)
    lens: Lens = field(default_factory=Lens)

    @property
    def path(self) -> Path:
        """The folder, for messages."""
        return self.paths[0].parent

    def fingerprint(self) -> str:
        """Changes whenever an image does: names, sizes and times of change, and what is done to them."""
        digest = hashlib.sha256()
        for path in self.paths:
            status = path.stat()
            digest.update(f"{path.parent.name}/{path.name}|{status.st_size}|{status.st_mtime_ns}\n".encode())
        return f"{digest.hexdigest()}|{self.background}|{self.lens}"

    def decode(self, intrinsics: Intrinsics) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Yield frames in order, uint8 RGB, shape [height, width, 3].

        Raises:
            UserError: an image is missing or damaged, or of another size than the first.
        """
        undistort = None if self.lens.is_ideal else Undistorter(self.lens, intrinsics)
        averaged, stored = AreaAverage(intrinsics.width, intrinsics.height), None
        for path in self.paths:
            with _opened(path) as image:
                try:
                    picture = self._flattened(path, image)
                except (OSError, ValueError, SyntaxError) as error:
                    raise UserError(f"{path}: cannot be decoded ({one_line(error)}); copy it again") from error
                stored = stored or picture.size
                if picture.size != stored:
                    raise UserError(f"{path}: is {picture.size} but the camera's first image {stored}; make them equal")
            pixels = averaged(np.asarray(picture))
            yield pixels if undistort is None else undistort(pixels)

    def _flattened(self, path: Path, image: Image.Image) -> Image.Image:
        """An image in 8-bit RGB, upright, on the background where it is transparent."""
        image = ImageOps.exif_transpose(image)
        if image.mode in DEEP_GREYS:
            image = Image.fromarray(np.rint(np.asarray(image) * (255 / 65535)).astype(np.uint8))
        elif image.mode in ("I", "F"):
            raise UserError(f"{path}: holds 32-bit numbers, and nothing says which is white; save it with 8 or 16 bits")
        if not image.has_transparency_data:
            return image.convert("RGB")
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, (*self.background, 255)), layer).convert("RGB")


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such image; add it, or correct what names it") from None
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as an image ({one_line(error)}); copy it again") from error
