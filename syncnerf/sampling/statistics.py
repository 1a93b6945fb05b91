"""Mean and standard deviation over time of every pixel, computed in chunks and cached beside the frames."""

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
    """

    mean: Float32[np.ndarray, "height width 3"]
    deviation: Float32[np.ndarray, "height width"]


def pixel_statistics(scene: Scene, camera: int, chunk: int = 16) -> PixelStatistics:
    """Statistics of one camera, from the cache or computed; memory does not grow with the video's length."""
    frames = scene.frames(camera)
    path = scene.frame_cache.path_of(scene.cameras[camera]).with_suffix(".statistics.npz")
    cached = load_arrays(path, ("mean", "deviation"))
    if cached is not None:
        return PixelStatistics(*cached)
    total = np.zeros(frames.shape[1:], dtype=np.float64)
    square = np.zeros_like(total)
    for start in range(0, len(frames), chunk):
        part = np.asarray(frames[start : start + chunk], dtype=np.float32) / 255.0
        total += part.sum(axis=0, dtype=np.float64)
        square += np.square(part).sum(axis=0, dtype=np.float64)
    release_pages(frames)
    mean = total / len(frames)
    deviation = np.sqrt(np.maximum(square / len(frames) - mean**2, 0.0)).max(axis=-1)
    result = PixelStatistics(mean.astype(np.float32), deviation.astype(np.float32))
    save_arrays(path, {"mean": result.mean, "deviation": result.deviation})
    return result
