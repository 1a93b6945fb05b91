"""Undoing lens distortion while frames are read."""

from dataclasses import dataclass

import numpy as np
import torch

from syncnerf.scene.camera import Intrinsics


@dataclass(frozen=True)
class Lens:
    """Distortion of OpenCV's model: radial ``k1 k2`` and tangential ``p1 p2``, no unit."""

    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    @property
    def is_ideal(self) -> bool:
        """Whether there is nothing to undo."""
        return self.k1 == self.k2 == self.p1 == self.p2 == 0.0


class Undistorter:
    """Resamples images of one camera to those of a pinhole camera with the same calibration matrix.

    The map from each ideal pixel to its place in the distorted image is computed once.
    """

    def __init__(self, lens: Lens, intrinsics: Intrinsics):
        from kornia.geometry import distort_points  # here: it takes seconds to import, and few scenes need it

        width, height = intrinsics.width, intrinsics.height
        row, column = torch.meshgrid(
            torch.arange(height, dtype=torch.float64) + 0.5,
            torch.arange(width, dtype=torch.float64) + 0.5,
            indexing="ij",
        )
        points = torch.stack([column, row], dim=-1).reshape(1, -1, 2)
        coefficients = torch.tensor([[lens.k1, lens.k2, lens.p1, lens.p2]], dtype=torch.float64)
        distorted = distort_points(points, intrinsics.matrix[None], coefficients)[0]
        size = torch.tensor([width, height], dtype=torch.float64)
        self._grid = (2 * distorted / size - 1).reshape(1, height, width, 2).float()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Undistort one uint8 image, shape [height, width, 3]; pixels from outside repeat the border."""
        source = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        result = torch.nn.functional.grid_sample(source, self._grid, padding_mode="border", align_corners=False)
        return result[0].permute(1, 2, 0).round().to(torch.uint8).numpy()
