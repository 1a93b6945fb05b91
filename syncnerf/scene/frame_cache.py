"""Decoded frames on disk, memory-mapped: each video is decoded once, and memory does not grow with its length."""

import hashlib
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from syncnerf.errors import UserError
from syncnerf.scene.camera import Camera, Intrinsics

logger = logging.getLogger(__name__)

CACHE_VERSION = 1
CACHE_NAME = ".syncnerf_cache"


class FrameSource(Protocol):
    """Where a camera's frames come from."""

    path: Path

    def fingerprint(self) -> str:
        """A text that changes whenever the frames do."""

    def decode(self, intrinsics: Intrinsics) -> Iterator[np.ndarray]:
        """Yield frames in order, uint8 RGB, shape [height, width, 3]."""


class FrameCache:
    """One ``.npy`` file of uint8 frames per camera, keyed by the source's fingerprint and the frames' size.

    A file is written under another name and renamed when it is complete, so an interrupted or concurrent decode is
    never taken for a full one.

    Args:
        directory: folder of the cache; made on first use.
        sources: each camera's frames by the camera's name.
    """

    def __init__(self, directory: Path, sources: dict[str, FrameSource]):
        self.directory = directory
        self.sources = sources

    def prepare(self, cameras: tuple[Camera, ...]) -> None:
        """Decode what is not yet cached, one thread per core, with a progress bar."""
        missing = [camera for camera in cameras if not self.path_of(camera).exists()]
        if not missing:
            return
        total = sum(camera.frame_count for camera in missing)
        with (
            tqdm(total=total, desc="decoding", unit="frame", leave=False) as progress,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):
            for _ in pool.map(lambda camera: self._write(camera, progress), missing):
                pass

    def open(self, camera: Camera) -> np.ndarray:
        """A camera's frames, uint8, shape [T, height, width, 3], read-only and memory-mapped; decodes if need be."""
        path = self.path_of(camera)
        if not path.exists():
            self._write(camera, None)
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def path_of(self, camera: Camera) -> Path:
        """Where the camera's frames are, or will be, cached."""
        size = camera.intrinsics
        key = f"{CACHE_VERSION}|{size.width}x{size.height}|{self.sources[camera.name].fingerprint()}"
        return self.directory / f"{camera.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"

    def _write(self, camera: Camera, progress: tqdm | None) -> None:
        target = self.path_of(camera)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        size = camera.intrinsics
        header = {
            "descr": "|u1",
            "fortran_order": False,
            "shape": (camera.frame_count, size.height, size.width, 3),
        }
        count = 0
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                for image in self.sources[camera.name].decode(size):
                    file.write(np.ascontiguousarray(image).data)
                    count += 1
                    if progress is not None:
                        progress.update()
            self._check_count(camera, count)
            os.replace(partial, target)
        except OSError as error:
            raise UserError(
                f"{partial.parent}: cannot write the frame cache ({error.strerror or error}); "
                "free some space or name another folder with --cache-dir"
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    def _check_count(self, camera: Camera, count: int) -> None:
        if count != camera.frame_count:
            raise UserError(
                f"{self.sources[camera.name].path}: breaks off after {count} of {camera.frame_count} frames; "
                "copy or encode it again"
            )


def cache_directory(root: Path, requested: Path | None) -> Path:
    """Choose the cache's folder: the requested one, else beside the scene, else (read-only scene) the user's cache."""
    if requested is not None:
        return requested
    if os.access(root, os.W_OK):
        return root / CACHE_NAME
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    place = home / "syncnerf" / hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    logger.info("%s is read-only; decoded frames go to %s", root, place)
    return place
