"""Importance of every pixel at every frame (DyNeRF, Li et al., CVPR 2022): ISG and IST, on disk, in bounded memory."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from syncnerf.errors import UserError
from syncnerf.scene.exclusive_file import exclusive_file
from syncnerf.scene.frame_cache import release_pages
from syncnerf.scene.scene import Scene
from syncnerf.scene.transforms import one_line

BAND_BYTES = 32 * 2**20
"""Frames are looked at in bands of rows of about this size."""
SEGMENT = 256
"""Weights are summed over so many neighbours, so that a draw looks at one segment only."""


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
    """

    weights: np.ndarray
    sums: np.ndarray

    @property
    def total(self) -> int:
        """Sum of all weights."""
        return int(self.sums[-1])

    def locate(self, places: np.ndarray) -> np.ndarray:
        """Flat indices frame * pixels + pixel of ``places`` in 0 .. total-1, int64; each weight owns so many places."""
        places = places.astype(np.uint64)
        segment = np.searchsorted(self.sums, places, side="right")
        before = np.where(segment > 0, self.sums[np.maximum(segment, 1) - 1], np.uint64(0))
        inside = self.weights.reshape(-1, SEGMENT)[segment].cumsum(axis=1, dtype=np.uint32)
        return segment * SEGMENT + (inside <= (places - before)[:, None].astype(np.uint32)).sum(axis=1)


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
        release_pages(scene.frames(camera))
        weights = np.load(path, mmap_mode="r", allow_pickle=False)
        with exclusive_file(_sums_path(path), lambda: False, _keep_waiting) as file:
            np.save(file, _segment_sums(weights))
        release_pages(weights)
    except OSError as error:
        raise UserError(
            f"{path.parent}: cannot write the importance of pixels ({one_line(error)}); "
            "free some space or name another folder with --cache-dir"
        ) from error
    return ImportanceWeights(weights, np.load(_sums_path(path), mmap_mode="r", allow_pickle=False))


def isg_weights(frames: np.ndarray, gamma: float) -> np.ndarray:
    """Importance by the global median, in 1/255, uint8, shape [T, N], of uint8 colours [T, N, 3].

    The median of an even number of frames is the lower of the middle two, so that it is a colour that occurs.
    """
    distance = np.arange(256, dtype=np.float64) / 255.0
    # In 1/256 of the result's unit, so that the sum of three channels just fits 16 bits.
    table = np.rint(255.0 * 256.0 / 3.0 * distance**2 / (distance**2 + gamma**2)).astype(np.uint16)
    median = lower_median(frames)
    difference = np.maximum(frames, median) - np.minimum(frames, median)
    share = table[difference]
    total = share[..., 0] + share[..., 1] + share[..., 2]
    return ((total + np.uint16(128)) >> np.uint16(8)).astype(np.uint8)


def ist_weights(frames: np.ndarray, shift: int, floor: float) -> np.ndarray:
    """Importance by temporal difference, in 1/255, uint8, shape [T, N], of uint8 colours [T, N, 3].

    The largest difference from any frame in reach is the larger of those from the window's extremes.
    """
    highest, lowest = window_extreme(frames, shift, np.maximum), window_extreme(frames, shift, np.minimum)
    difference = np.maximum(highest - frames, frames - lowest)
    mean = difference.sum(axis=-1, dtype=np.uint16).astype(np.float32) / 3.0
    return np.rint(np.maximum(mean, 255.0 * floor)).astype(np.uint8)


def lower_median(values: np.ndarray) -> np.ndarray:
    """Lower median of uint8 values over the first axis, found bit by bit without sorting."""
    rank = (len(values) - 1) // 2
    median = np.zeros(values.shape[1:], dtype=np.uint8)
    for bit in reversed(range(8)):
        candidate = median | np.uint8(1 << bit)
        below = np.zeros(values.shape[1:], dtype=np.uint16 if len(values) < 2**16 else np.uint32)
        for frame in values:
            below += frame < candidate
        median = np.where(below <= rank, candidate, median)
    return median


def window_extreme(values: np.ndarray, reach: int, extreme: np.ufunc) -> np.ndarray:
    """Maximum or minimum over the frames at most ``reach`` away along the first axis; windows end with the video."""
    return extreme(_extreme_ahead(values, reach, extreme), _extreme_ahead(values[::-1], reach, extreme)[::-1])


def _extreme_ahead(values: np.ndarray, reach: int, extreme: np.ufunc) -> np.ndarray:
    """Extreme over the frames t .. t + reach; two windows of n give one of 2n, so about log2(reach) passes suffice."""
    result, size = values.copy(), 1
    while size < min(reach + 1, len(values)):
        step = min(size, reach + 1 - size)
        kept = len(values) - step
        # The right half must be the old one: numpy copies where input and output overlap.
        result[:kept] = extreme(result[:kept], result[step:])
        size += step
    return result


def _write_weights(file, frames: np.ndarray, settings: ImportanceSettings) -> None:
    """Write the weights of all frames as ``.npy``, band by band."""
    count, height, width = frames.shape[:3]
    header = {"descr": "|u1", "fortran_order": False, "shape": (_padded(count * height * width),)}
    np.lib.format.write_array_header_1_0(file, header)
    start = file.tell()
    file.truncate(start + header["shape"][0])  # what is not written, the padding, reads as zeros
    rows = max(1, BAND_BYTES // (count * width * 3))
    for first in range(0, height, rows):
        band = np.ascontiguousarray(frames[:, first : first + rows]).reshape(count, -1, 3)
        if settings.kind == "isg":
            weights = isg_weights(band, settings.gamma)
        else:
            weights = ist_weights(band, settings.shift, settings.floor)
        for frame, row in enumerate(weights):
            file.seek(start + (frame * height + first) * width)
            file.write(row.data)


def _segment_sums(weights: np.ndarray) -> np.ndarray:
    """Cumulative sums of segments, uint64, in chunks."""
    segments = weights.reshape(-1, SEGMENT)
    step = BAND_BYTES // SEGMENT
    parts = [segments[k : k + step].sum(axis=1, dtype=np.uint32) for k in range(0, len(segments), step)]
    return np.concatenate(parts).cumsum(dtype=np.uint64)


def _load(scene: Scene, camera: int, settings: ImportanceSettings) -> ImportanceWeights | None:
    """The cached weights, or None where they are missing or not what they should be."""
    path, length = _path(scene, camera, settings), _length(scene, camera)
    weights, sums = _mapped(path, length), _mapped(_sums_path(path), length // SEGMENT)
    return None if weights is None or sums is None else ImportanceWeights(weights, sums)


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
