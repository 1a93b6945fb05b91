"""Small frames derived from cached large ones, so that videos are decoded only once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from syncnerf.scene.camera import Camera, Intrinsics
from syncnerf.scene.frame_cache import FrameCache, release_pages
from syncnerf.scene.rgb_frames import AreaAverage


@dataclass(frozen=True)
class ResizedSource:
    """Frames of one camera, downscaled from another cache's larger ones (which are decoded first if need be).

    Attributes:
        cache: of the larger frames.
        camera: the camera at its larger size.
    """

    cache: FrameCache
    camera: Camera

    @property
    def path(self) -> Path:
        """The file that the larger frames come from."""
        return self.cache.sources[self.camera.name].path

    def fingerprint(self) -> str:
        """Changes with whatever decides the larger frames."""
        return self.cache.path_of(self.camera).name

    def decode(self, intrinsics: Intrinsics) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Yield frames in order, area-averaged, uint8 RGB, shape [height, width, 3]."""
        frames = self.cache.open(self.camera)
        averaged = AreaAverage(intrinsics.width, intrinsics.height)
        for number, frame in enumerate(frames):
            if number % 64 == 63:
                release_pages(frames)
            yield averaged(frame)
