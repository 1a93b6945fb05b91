"""A cache of decoded frames on disk: each video is decoded once, then memory-mapped, however long it is."""

import hashlib
import logging
import math
import mmap
import os
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from syncnerf.errors import UserError, one_line
from syncnerf.scene.camera import Camera, Intrinsics
from syncnerf.scene.exclusive_file import exclusive_file, leave_memory, partial_path, reserve
from syncnerf.scene.lens import Lens

logger = logging.getLogger(__name__)

CACHE_VERSION = 3
CACHE_NAME = ".syncnerf_cache"
LEAVE_BYTES = 4 * 2**20
"""After so many written bytes, what has reached the disk is dropped from the system's memory."""


@runtime_checkable
class FrameSource(Protocol):
    """Where a camera's frames come from."""

    path: Path

    def fingerprint(self) -> str:
        """A text that changes whenever the frames do."""

    def decode(self, intrinsics: Intrinsics) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Yield frames in order, uint8 RGB, shape [height, width, 3]."""


class DecodingStopped(Exception):
    """Another camera's decoding failed, or the user stopped the run."""


class FrameCache:
    """One ``.npy`` file of uint8 frames per camera, keyed by the source's fingerprint and the frames' size.

    A file is written under another name and renamed when it is complete, so an interrupted or concurrent decode is
    never taken for a full one; a file that is not what its camera needs is written anew.

    Args:
        directory: folder of the cache; made on first use.
        sources: each camera's frames by the camera's name.
    """

    def __init__(self, directory: Path, sources: dict[str, FrameSource]):
        self.directory = directory
        self.sources = sources
        self._stop = threading.Event()

    def lens(self, camera: str) -> Lens:
        """The lens whose distortion is undone when a camera's pictures are read; an ideal lens if there is none."""
        return getattr(self.sources.get(camera), "lens", Lens())

    def prepare(self, cameras: Sequence[Camera]) -> None:
        """Decode what is not yet cached, one thread per core, with a progress bar.

        Decoders release the interpreter's lock, so threads keep all cores busy and processes would gain nothing.
        Cameras that are finished stay when the rest is interrupted.

        Raises:
            UserError: a source is unfit, or the cache cannot be written.
        """
        missing = [camera for camera in cameras if self._mapped(camera) is None]
        if not missing:
            return
        self._check_space(missing)
        self._stop.clear()
        total = sum(camera.frame_count for camera in missing)
        with (
            tqdm(total=total, desc="decoding", unit="frame", leave=False) as progress,
            ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)))) as pool,
        ):
            jobs = [pool.submit(self._write, camera, progress) for camera in missing]
            try:
                for job in as_completed(jobs):
                    job.result()
            finally:
                # After an error, or Ctrl-C, the other threads must not finish their videos first.
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                self._stop.clear()

    def open(self, camera: Camera) -> UInt8[np.ndarray, "T height width 3"]:
        """A camera's frames, uint8, shape [T, height, width, 3], read-only and memory-mapped; decodes if need be.

        Raises:
            UserError: the source is unfit, or the cache cannot be written.
        """
        frames = self._mapped(camera)
        if frames is None:
            self._write(camera, None)
            frames = self._mapped(camera)
        if frames is None:
            raise UserError(f"{self.path_of(camera)}: changed while it was read; remove it and start again")
        return frames

    def path_of(self, camera: Camera) -> Path:
        """Where the camera's frames are, or will be, cached; raises UserError where the source has gone."""
        size, source = camera.intrinsics, self.sources[camera.name]
        try:
            fingerprint = source.fingerprint()
        except OSError as error:
            raise UserError(f"{error.filename or source.path}: cannot be read ({one_line(error)}); add it") from error
        key = f"{CACHE_VERSION}|{camera.name}|{size.width}x{size.height}|{_optics(source, size)}|{fingerprint}"
        readable = re.sub(r"[^\w.-]+", "_", camera.name)[:48]
        return self.directory / f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"

    def _mapped(self, camera: Camera, warn: bool = True) -> np.ndarray | None:
        """The cached frames, or None where there are none that fit the camera."""
        path = self.path_of(camera)
        if not path.exists():
            return None
        try:
            frames = np.load(path, mmap_mode="r", allow_pickle=False)
            whole = frames.dtype == np.uint8 and frames.shape == _shape(camera) and frames.flags.c_contiguous
            if whole and path.stat().st_size == frames.offset + frames.nbytes:
                return frames
        except (OSError, ValueError, EOFError, AttributeError):
            pass
        if warn:
            logger.warning("%s is damaged and is written anew", path)
        return None

    def _write(self, camera: Camera, progress: tqdm | None) -> None:
        target = self.path_of(camera)

        def is_done() -> bool:
            return self._mapped(camera, warn=False) is not None

        header = {"descr": "|u1", "fortran_order": False, "shape": _shape(camera)}
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with exclusive_file(target, is_done, self._check_stop) as file:
                if file is None:
                    if progress is not None:
                        progress.update(camera.frame_count)
                    return
                np.lib.format.write_array_header_1_0(file, header)
                reserve(file, math.prod(header["shape"]))
                self._write_frames(camera, file, progress)
        except DecodingStopped:
            return
        except OSError as error:
            raise UserError(
                f"{self.directory}: cannot write the frame cache ({one_line(error)}); "
                "free some space or name another folder with --cache-dir"
            ) from error

    def _write_frames(self, camera: Camera, file, progress: tqdm | None) -> None:
        count, source, shape = 0, self.sources[camera.name], _shape(camera)
        kept_from = file.tell()
        for image in source.decode(camera.intrinsics):
            self._check_stop()
            count += 1
            if count > camera.frame_count:
                break
            if image.shape != shape[1:]:
                raise UserError(f"{source.path}: frame {count - 1} has shape {image.shape}; encode it again")
            file.write(np.ascontiguousarray(image).data)
            if file.tell() - kept_from >= LEAVE_BYTES:
                kept_from = file.tell()
                leave_memory(file)
            if progress is not None:
                progress.update()
        if count != camera.frame_count:
            found = f"breaks off after {count}" if count < camera.frame_count else "holds more than its header's"
            raise UserError(f"{source.path}: {found} of {camera.frame_count} frames; copy or encode it again")

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise DecodingStopped

    def _check_space(self, cameras: list[Camera]) -> None:
        """Raise UserError before hours of decoding that the disk cannot hold."""
        place = self.directory
        while not place.exists() and place != place.parent:
            place = place.parent
        try:
            free = shutil.disk_usage(place).free
            # Space that partial files take counts as free: they are overwritten, or another run is completing them.
            parts = [partial_path(self.path_of(camera)) for camera in cameras]
            free += sum(part.stat().st_blocks * 512 for part in parts if part.exists())
        except OSError:
            return
        needed = sum(math.prod(_shape(camera)) for camera in cameras)
        if needed > free:
            raise UserError(
                f"{self.directory}: the decoded frames need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
                "free some space, name another folder with --cache-dir, or use --downsample"
            )


def release_pages(frames: object) -> None:
    """Hand the memory of a mapped array's pages back; they stay in the system's file cache while it has room.

    Without this a process that reads all of a large cache once appears to use as much memory as the cache is large.
    """
    mapping = getattr(frames, "_mmap", None)
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def _shape(camera: Camera) -> tuple[int, int, int, int]:
    return camera.frame_count, camera.intrinsics.height, camera.intrinsics.width, 3


def _optics(source: FrameSource, size: Intrinsics) -> str:
    """The intrinsics that the cached frames depend on: all if distortion is undone, else only the size."""
    lens = getattr(source, "lens", None)
    return "" if lens is None or lens.is_ideal else str(size)


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
