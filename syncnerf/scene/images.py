"""Numbered image files as a camera's frames."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from syncnerf.errors import UserError
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.lens import Lens, Undistorter
from syncnerf.scene.transforms import one_line
from syncnerf.scene.video import VideoProperties

SUFFIXES = (".png", ".jpg", ".jpeg")


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Paths sorted by name, runs of digits as numbers: ``2.png`` before ``10.png``."""

    def key(path: Path) -> list:
        parts = re.split(r"(\d+)", path.name)
        return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]

    return sorted(paths, key=key)


def images_in(folder: Path) -> tuple[Path, ...]:
    """The folder's images in natural order; raises UserError where there are none."""
    try:
        paths = tuple(natural_order(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({one_line(error)}); it should hold a camera's images") from error
    if not paths:
        raise UserError(f"{folder}: holds no images (png or jpg); add the camera's frames")
    return paths


def probe_images(paths: tuple[Path, ...], fps: float = 0.0) -> VideoProperties:
    """Size and number of a camera's images, the size from the first; ``fps`` is handed on. Raises UserError."""
    with _opened(paths[0]) as image:
        return VideoProperties(image.width, image.height, fps, len(paths))


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

    def decode(self, intrinsics: Intrinsics) -> Iterator[np.ndarray]:
        """Yield frames in order, uint8 RGB, shape [height, width, 3].

        Raises:
            UserError: an image is missing or damaged, or of another size than the first.
        """
        undistort = None if self.lens.is_ideal else Undistorter(self.lens, intrinsics)
        size, stored = (intrinsics.width, intrinsics.height), None
        for path in self.paths:
            with _opened(path) as image:
                stored = stored or image.size
                if image.size != stored:
                    raise UserError(f"{path}: is {image.size} but the camera's first image {stored}; make them equal")
                try:
                    picture = self._flattened(image)
                except (OSError, ValueError, SyntaxError) as error:
                    raise UserError(f"{path}: cannot be decoded ({one_line(error)}); copy it again") from error
            if picture.size != size:
                picture = picture.resize(size, Image.Resampling.BOX)
            pixels = np.asarray(picture)
            yield pixels if undistort is None else undistort(pixels)

    def _flattened(self, image: Image.Image) -> Image.Image:
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
