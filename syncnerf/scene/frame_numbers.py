"""Times of numbered images: their numbers count frames, so a missing number is a gap in time."""

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int64

from syncnerf.scene.images import ImageSource
from syncnerf.scene.scene import Scene

logger = logging.getLogger(__name__)

LONGEST_STEP = 10
"""Numbers that always differ by more than this many of their common unit are no count of frames (but nanoseconds)."""


def with_numbered_times(scene: Scene) -> Scene:
    """The scene with its frames' times taken from its images' numbers, where these show gaps.

    One frame is the greatest common divisor of all differences between numbers of all cameras: if every camera kept
    each fifth frame, that is a slower rate, not gaps. All cameras count from the smallest number of all, so that one
    without the first images begins later. If one camera's numbers end before another's begin, the cameras were numbered
    separately, and each begins at 0.
    """
    numbers = {}
    for index, camera in enumerate(scene.cameras):
        source = scene.frame_cache.sources[camera.name]
        if isinstance(source, ImageSource) and camera.given_times is None:
            found = numbers_of(source)
            if found is not None:
                numbers[index] = found
    if not numbers:
        return scene
    steps = np.concatenate([np.diff(found) for found in numbers.values()])
    unit = math.gcd(*steps.tolist())
    if steps.min() > LONGEST_STEP * unit:
        logger.warning("%s: the images' numbers do not count frames; a constant rate is taken for granted", scene.root)
        return scene
    firsts, lasts = ([found[place] for found in numbers.values()] for place in (0, -1))
    common = min(firsts) if max(firsts) <= min(lasts) else None
    cameras = list(scene.cameras)
    for index, found in numbers.items():
        counts = (found - (found[0] if common is None else common)) // unit
        if (counts != np.arange(len(counts))).any():
            times = torch.from_numpy(counts / cameras[index].fps)
            cameras[index] = replace(cameras[index], given_times=times)
    return replace(scene, cameras=tuple(cameras))


def numbers_of(source: ImageSource) -> Int64[np.ndarray, " T"] | None:
    """The numbers of a camera's images, see :func:`frame_numbers`."""
    return frame_numbers([f"{path.parent.name}/{path.stem}" for path in source.paths])


def frame_numbers(names: Sequence[str]) -> Int64[np.ndarray, " T"] | None:
    """The one number in the names that changes and increases, int64, shape [T]; None if there is no such number."""
    parts = [re.split(r"(\d+)", name) for name in names]
    if len(names) < 2 or len({tuple(part[::2]) for part in parts}) != 1:
        return None
    columns = list(zip(*(part[1::2] for part in parts), strict=True))
    changing = [column for column in columns if len(set(column)) > 1]
    if len(changing) != 1 or max(map(len, changing[0])) > 18:
        return None
    numbers = np.array([int(text) for text in changing[0]], dtype=np.int64)
    return numbers if (np.diff(numbers) > 0).all() else None
