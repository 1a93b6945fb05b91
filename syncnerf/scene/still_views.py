"""What cameras see of the still scene, and how far away: computed once, and cached beside the frames."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from syncnerf.scene.cached_arrays import load_arrays, save_arrays
from syncnerf.scene.points import median_picture
from syncnerf.scene.scene import Scene
from syncnerf.scene.stereo import still_distances

VERSION = 1
"""Version of the method: cached distances of another version are computed anew."""
STILL = 0.08
"""A pixel shows the still scene if its colour differs from the median picture's by less than this, in [0, 1]."""


@dataclass(frozen=True)
class StillView:
    """What a camera sees when nothing that moves is in its way.

    Attributes:
        colours: its median picture, uint8, shape [height, width, 3].
        distances: along each pixel's ray to what is seen there, float32, shape [h, w] (fewer pixels than the picture);
            NaN where that is not known.
    """

    colours: UInt8[Tensor, "H W 3"]
    distances: Float32[Tensor, "h w"]


def still_views(scene: Scene) -> dict[int, StillView]:
    """What each training camera sees of the still scene, by global index; the cameras must not move."""
    medians = {index: median_picture(scene.frames(index)) for index in scene.train}
    path = _path(scene)
    cached = load_arrays(path, [str(index) for index in scene.train])
    if cached is not None:
        distances = dict(zip(scene.train, map(torch.from_numpy, cached), strict=True))
    else:
        distances = still_distances(scene, {index: median.mean(dim=-1) for index, median in medians.items()})
        save_arrays(path, {str(index): one.numpy() for index, one in distances.items()})
    return {index: StillView((255.0 * medians[index]).round().byte(), distances[index]) for index in scene.train}


class StillDistances:
    """Looks up distances for pixels of several cameras.

    Args:
        views: of the cameras, in their order.
    """

    def __init__(self, views: list[StillView]):
        self.colours = torch.cat([view.colours.reshape(-1, 3) for view in views])
        self.distances = torch.cat([view.distances.reshape(-1) for view in views])
        self.sizes = torch.tensor([view.colours.shape[:2] for view in views])
        self.small = torch.tensor([view.distances.shape for view in views])
        counts, small = self.sizes.prod(dim=1), self.small.prod(dim=1)
        self.first, self.first_small = counts.cumsum(0) - counts, small.cumsum(0) - small

    def of(self, cameras: Int64[Tensor, " N"], pixels: Int64[Tensor, " N"]) -> Float32[Tensor, " N"]:
        """Distances [N] at pixels (row * width + column, int64 [N]) of cameras (their place among the views)."""
        (height, width), (rows, columns) = self.sizes[cameras].unbind(-1), self.small[cameras].unbind(-1)
        row = pixels.div(width, rounding_mode="floor") * rows // height
        column = pixels.remainder(width) * columns // width
        return self.distances[self.first_small[cameras] + row * columns + column]

    def where_shown(
        self, cameras: Int64[Tensor, " N"], pixels: Int64[Tensor, " N"], rgb: Float[Tensor, "N 3"]
    ) -> Float32[Tensor, " N"]:
        """As :meth:`of`, but NaN where a pixel's colour in its frame, shape [N, 3], is not the still scene's."""
        apart = (rgb - self.colours[self.first[cameras] + pixels] / 255.0).abs().amax(dim=-1)
        return torch.where(apart < STILL, self.of(cameras, pixels), torch.nan)


def _path(scene: Scene) -> Path:
    """Where the distances are cached: the file's name is a digest of all that they depend on."""
    key = hashlib.sha256(f"{VERSION}|{scene.near:g}|{scene.far:g}|{scene.bounds.tolist()}".encode())
    for index in scene.train:
        camera = scene.cameras[index]
        key.update(f"{scene.frame_cache.path_of(camera).name}|{camera.intrinsics}|{camera.pose(0).tolist()}".encode())
    return scene.frame_cache.directory / f"stereo-{key.hexdigest()[:16]}.npz"
