"""How every pixel behaves over time, computed in chunks and cached beside the frames."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from syncnerf.scene.cached_arrays import load_arrays, save_arrays
from syncnerf.scene.frame_cache import release_pages
from syncnerf.scene.scene import Scene


@dataclass(frozen=True)
class PixelStatistics:
    """Facts of one camera's pixels over its video, colours in [0, 1].

    Attributes:
        mean: shape [height, width, 3], float32.
        deviation: standard deviation over time, the largest of the three channels', shape [height, width], float32.
        step: root mean square of the difference from one frame to the next, likewise; zeros of a single frame.
    """

    mean: Float32[np.ndarray, "height width 3"]
    deviation: Float32[np.ndarray, "height width"]
    step: Float32[np.ndarray, "height width"]


def pixel_statistics(scene: Scene, camera: int, chunk: int = 16) -> PixelStatistics:
    """Statistics of one camera, from the cache or computed; memory does not grow with the video's length."""
    frames = scene.frames(camera)
    path = scene.frame_cache.path_of(scene.cameras[camera]).with_suffix(".statistics.npz")
    cached = load_arrays(path, ("mean", "deviation", "step"))
    if cached is not None:
        return PixelStatistics(*cached)
    total = np.zeros(frames.shape[1:], dtype=np.float64)
    square, change = np.zeros_like(total), np.zeros_like(total)
    before = np.asarray(frames[:1], dtype=np.float32) / 255.0
    for start in range(0, len(frames), chunk):
        part = np.asarray(frames[start : start + chunk], dtype=np.float32) / 255.0
        total += part.sum(axis=0, dtype=np.float64)
        square += np.square(part).sum(axis=0, dtype=np.float64)
        change += np.square(np.diff(part, axis=0, prepend=before)).sum(axis=0, dtype=np.float64)
        before = part[-1:]
    release_pages(frames)
    mean = total / len(frames)
    deviation = np.sqrt(np.maximum(square / len(frames) - mean**2, 0.0)).max(axis=-1)
    step = np.sqrt(change / max(len(frames) - 1, 1)).max(axis=-1)
    result = PixelStatistics(*(part.astype(np.float32) for part in (mean, deviation, step)))
    save_arrays(path, vars(result))
    return result
