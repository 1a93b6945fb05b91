"""Importance of every pixel at every frame (DyNeRF, Li et al., CVPR 2022): ISG and IST, on disk, in bounded memory."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt64
from tqdm import tqdm

from syncnerf.errors import UserError, one_line
from syncnerf.sampling.importance_weights import SEGMENT, isg_weights, ist_weights, segment_sums
from syncnerf.scene.exclusive_file import exclusive_file
from syncnerf.scene.frame_cache import release_pages
from syncnerf.scene.scene import Scene

BAND_BYTES = 32 * 2**20
"""Frames are looked at in bands of rows of about this size."""


@dataclass(frozen=True)
class ImportanceSettings:
    """Which weights, and their constants.

    Attributes:
        kind: ``isg``, by the distance d from the pixel's median over the video: d^2 / (d^2 + gamma^2), or ``ist``, by
            the largest difference from the frames at most ``shift`` away, at least ``floor``; means of the channels.
        gamma: of ISG, colours in [0, 1].
        shift: of IST, frames.
        floor: of IST, colours in [0, 1].
    """

    kind: str
    gamma: float = 2e-2
    shift: int = 25
    floor: float = 0.1

    def __post_init__(self) -> None:
        if not (self.gamma > 0 and self.shift > 0 and 0 <= self.floor <= 1):
            raise UserError(
                f"isg_gamma = {self.gamma:g}, ist_shift = {self.shift}, ist_floor = {self.floor:g}: gamma and shift "
                "should be more than 0, floor between 0 and 1"
            )

    @property
    def suffix(self) -> str:
        """Ending of the weights' file: changes with everything they depend on besides the frames."""
        constants = f"{self.gamma:g}" if self.kind == "isg" else f"{self.shift}-{self.floor:g}"
        return f".{self.kind}-{constants}.npy"


@dataclass(frozen=True)
class ImportanceWeights:
    """Weights of one camera, for drawing in proportion to them.

    Attributes:
        weights: in 1/255, uint8, memory-mapped, shape [T * height * width], padded with zeros to whole segments.
        sums: cumulative sums of the segments' weights, uint64, memory-mapped, shape [segments].
        path: the file of the weights.
    """

    weights: UInt8[np.ndarray, " padded"]
    sums: UInt64[np.ndarray, " segments"]
    path: Path

    @property
    def total(self) -> int:
        """Sum of all weights."""
        return int(self.sums[-1])


def prepare_importance(scene: Scene, settings: list[ImportanceSettings]) -> None:
    """Compute and cache what is missing for all training cameras, one thread per core, with a progress bar.

    Raises:
        UserError: the cache cannot be written.
    """
    jobs = [(camera, item) for camera in scene.train for item in settings]
    jobs = [(camera, item) for camera, item in jobs if _load(scene, camera, item) is None]
    if not jobs:
        return
    with (
        tqdm(total=len(jobs), desc="importance", unit="camera", leave=False) as progress,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
    ):
        for _ in pool.map(lambda job: importance_weights(scene, *job), jobs):
            progress.update()


def importance_weights(scene: Scene, camera: int, settings: ImportanceSettings) -> ImportanceWeights:
    """Weights of one camera (global index), from the cache or computed.

    Raises:
        UserError: the cache cannot be written.
    """
    found = _load(scene, camera, settings)
    if found is not None:
        return found
    path = _path(scene, camera, settings)
    try:
        with exclusive_file(path, lambda: _mapped(path, _length(scene, camera)) is not None, _keep_waiting) as file:
            if file is not None:
                _write_weights(file, scene.frames(camera), settings)
        weights = np.load(path, mmap_mode="r", allow_pickle=False)
        with exclusive_file(_sums_path(path), lambda: False, _keep_waiting) as file:
            np.save(file, _segment_sums(weights))
        release_pages(weights)
    except OSError as error:
        raise UserError(
            f"{path.parent}: cannot write the importance of pixels ({one_line(error)}); "
            "free some space or name another folder with --cache-dir"
        ) from error
    return ImportanceWeights(weights, np.load(_sums_path(path), mmap_mode="r", allow_pickle=False), path)


def _write_weights(file, frames: np.ndarray, settings: ImportanceSettings) -> None:
    """Write the weights of all frames as ``.npy``, band by band."""
    count, height, width = frames.shape[:3]
    header = {"descr": "|u1", "fortran_order": False, "shape": (_padded(count * height * width),)}
    np.lib.format.write_array_header_1_0(file, header)
    start = file.tell()
    file.truncate(start + header["shape"][0])  # what is not written, the padding, reads as zeros
    rows = max(1, BAND_BYTES // (count * width * 3))
    for first in range(0, height, rows):
        band = frames[:, first : first + rows].reshape(count, -1, 3)
        if settings.kind == "isg":
            weights = isg_weights(band, settings.gamma)
        else:
            weights = ist_weights(band, settings.shift, settings.floor)
        for frame, row in enumerate(weights):
            file.seek(start + (frame * height + first) * width)
            file.write(row.data)
        release_pages(frames)


def _segment_sums(weights: np.ndarray) -> np.ndarray:
    """Cumulative sums of segments, uint64, in chunks."""
    segments = weights.reshape(-1, SEGMENT)
    step = BAND_BYTES // SEGMENT
    parts = [segment_sums(segments[k : k + step]) for k in range(0, len(segments), step)]
    return np.concatenate(parts).cumsum(dtype=np.uint64)


def _load(scene: Scene, camera: int, settings: ImportanceSettings) -> ImportanceWeights | None:
    """The cached weights, or None where they are missing or not what they should be."""
    path, length = _path(scene, camera, settings), _length(scene, camera)
    weights, sums = _mapped(path, length), _mapped(_sums_path(path), length // SEGMENT)
    return None if weights is None or sums is None else ImportanceWeights(weights, sums, path)


def _mapped(path: Path, length: int) -> np.ndarray | None:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if isinstance(array, np.ndarray) and array.shape == (length,) else None


def _path(scene: Scene, camera: int, settings: ImportanceSettings) -> Path:
    return scene.frame_cache.path_of(scene.cameras[camera]).with_suffix(settings.suffix)


def _sums_path(path: Path) -> Path:
    return path.with_suffix(".sums.npy")


def _length(scene: Scene, camera: int) -> int:
    """Number of weights, padding included."""
    size = scene.cameras[camera].intrinsics
    return _padded(scene.cameras[camera].frame_count * size.height * size.width)


def _padded(count: int) -> int:
    return -(-count // SEGMENT) * SEGMENT


def _keep_waiting() -> None:
    """Another run computes the same: wait for it."""
