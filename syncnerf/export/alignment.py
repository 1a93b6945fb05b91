"""A scene and its cameras' clocks: what every export starts from."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.offsets_file import read_offsets, read_rates
from syncnerf.scene import Scene
from syncnerf.scene.video import VideoSource
from syncnerf.sync.common_interval import Cut, cuts, scene_times
from syncnerf.sync.result import SyncResult


@dataclass(frozen=True)
class Alignment:
    """A scene with offsets and rates.

    Attributes:
        scene: the scene, with the cameras whose offset is determined alone.
        offsets: seconds, float64, shape [C].
        rates: clock rates (1e-6: one part per million), float64, shape [C].
        left_out: names of the cameras whose offset is not determined.
    """

    scene: Scene
    offsets: Float64[Tensor, " C"]
    rates: Float64[Tensor, " C"]
    left_out: tuple[str, ...] = ()

    def times(self, camera: int) -> Float64[Tensor, " T"]:
        """When each frame of a camera was exposed, in seconds of scene time, float64, shape [T]."""
        return scene_times(self.scene, self.result(), camera)

    def cuts(self) -> list[Cut]:
        """Where the time that all cameras filmed lies in each video; raises UserError where there is none."""
        return cuts(self.scene, self.result())

    def result(self) -> SyncResult:
        """The same in the form that synchronisation returns, without what it compared."""
        stderr = torch.full_like(self.offsets, torch.nan)
        rates = self.rates if bool(self.rates.any()) else None
        return SyncResult(
            self.scene.names, self.scene.reference, "epipolar", self.offsets, stderr, [], [], rates,
            None if rates is None else stderr,
        )  # fmt: skip

    def video(self, camera: int) -> VideoSource:
        """A camera's recording; raises UserError where its frames are images."""
        return video_of(self.scene, camera)


def video_of(scene: Scene, camera: int) -> VideoSource:
    """A camera's recording; raises UserError where its frames are images."""
    name = scene.names[camera]
    source = scene.frame_cache.sources[name]
    if not isinstance(source, VideoSource):
        raise UserError(f"{source.path}: camera '{name}' is not a video file; this export is of videos alone")
    return source


def read_alignment(scene: Scene, path: Path) -> Alignment:
    """The scene with the clocks of an ``offsets.json``.

    Raises:
        UserError: the file is unfit, or fewer than two cameras are determined.
    """
    offsets, rates = read_offsets(path, scene.names), read_rates(path, scene.names)
    known = (~offsets.isnan()).nonzero()[:, 0].tolist()
    if len(known) < 2:
        raise UserError(f"{path}: fewer than two cameras have an offset; nothing can be aligned")
    left_out = tuple(name for index, name in enumerate(scene.names) if index not in known)
    test = tuple(place for place, index in enumerate(known) if index in scene.test)
    kept = replace(
        scene,
        cameras=tuple(scene.cameras[index] for index in known),
        # Some camera must be there to evaluate, and another to train on.
        test=test if 0 < len(test) < len(known) else (0,),
        true_offsets=None,
        true_rates=None,
        true_row_times=None,
        _frames={},
    )
    return Alignment(kept, offsets[known], rates[known], left_out)
