"""Pixels of a camera's frames, of which a field is asked what it says of that camera's clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float32, Float64, Int64, Shaped
from torch import Tensor

from syncnerf.sampling.statistics import pixel_statistics
from syncnerf.scene.scene import Scene
from syncnerf.scene.views import Views

PIXELS_OF_A_FRAME = 64
"""Pixels that are looked at in each frame, in a video of many."""
LEAST_FRAMES = 16
"""Frames at least, where there are so many, however few pixels are looked at."""
UNKNOWNS = ("shift", "rate", "readout")
"""A camera's shift at the middle of its video; the share of it that its rate has made at the ends; its readout time."""
REGIONS, STRETCHES = 4, 6
"""Parts of a picture per side, and of a video, in which a field that is unfinished errs alike."""


@dataclass(frozen=True)
class CameraPixels:
    """Some pixels of some of a camera's frames: N = F K of them.

    Attributes:
        camera: global index.
        views: what the camera sees at F frames.
        places: which pixels of each frame, row * width + column, int64, shape [F, K].
        times: when the middle row of each frame was exposed on the camera's own clock, seconds, float64, shape [F].
        row_time: seconds from the first row to the last.
        basis: derivatives of the pixels' corrected times by the clock's unknowns (of :data:`UNKNOWNS`) that were asked
            for, float64, shape [F, K, P].
        rgb: true colours, float32, shape [F, K, 3].
        still: the pixels' mean colours over the video, float32, shape [F, K, 3].
        frames: frame numbers, int64, shape [F].
        unknowns: the names of the P unknowns.
    """

    camera: int
    views: Views
    places: Int64[Tensor, "F K"]
    times: Float64[Tensor, " F"]
    row_time: float
    basis: Float64[Tensor, "F K P"]
    rgb: Float32[Tensor, "F K 3"]
    still: Float32[Tensor, "F K 3"]
    frames: Int64[Tensor, " F"]
    unknowns: tuple[str, ...]

    def __getitem__(self, index: slice | Shaped[Tensor, " K"]) -> CameraPixels:
        """Those of some of the frames."""
        return self._changed(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> CameraPixels:
        """The same pixels on another device."""
        return self._changed(lambda tensor: tensor.to(device))

    def fewer(self, count: int) -> CameraPixels:
        """About so many of the pixels: of fewer frames, and of each frame fewer where there are only few frames."""
        frames = min(len(self.frames), max(1, count // PIXELS_OF_A_FRAME))
        frames = max(frames, min(len(self.frames), LEAST_FRAMES))
        each = min(self.places.shape[1], -(-count // frames))
        some = self[:frames]
        cut = {name: getattr(some, name)[:, :each] for name in ("places", "basis", "rgb", "still")}
        return replace(some, **cut)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> CameraPixels:
        names = ("places", "times", "basis", "rgb", "still", "frames")
        return replace(self, views=self.views.apply(change), **{name: change(getattr(self, name)) for name in names})

    def groups(self) -> Int64[Tensor, " N"]:
        """The frame of each of the N pixels, int64, shape [N]."""
        return self.frames.repeat_interleave(self.places.shape[1])

    def regions(self, stretches: int) -> Int64[Tensor, " N"]:
        """The part of the picture and the stretch of the video, of so many, of each of N pixels, int64, shape [N]."""
        width, height = self.views.width, self.views.height
        row, column = self.places // width, self.places % width
        stretch = self.frames * stretches // (int(self.frames.max()) + 1)
        part = row * REGIONS // height * REGIONS + column * REGIONS // width
        return (stretch[:, None] * REGIONS**2 + part).flatten()

    def groupings(self) -> tuple[Int64[Tensor, " N"], ...]:
        """Groups of the N pixels in which an unfinished field errs alike: frames, regions for a while, and always."""
        return self.groups(), self.regions(1), self.regions(STRETCHES)

    def moments(self, unknowns: Float64[Tensor, " P"]) -> Float64[Tensor, " F"]:
        """Scene times in seconds of the frames' middle rows, float64, shape [F], for unknowns [P] in seconds."""
        rows = [0.0 if name == "readout" else 1.0 for name in self.unknowns]
        return self.times + self.basis[:, 0] @ (unknowns * unknowns.new_tensor(rows))

    def readout(self, unknowns: Float64[Tensor, " P"]) -> Float64[Tensor, ""]:
        """Seconds from the first row to the last, float64, no dimension."""
        learned = [float(name == "readout") for name in self.unknowns]
        return self.row_time + unknowns @ unknowns.new_tensor(learned)


def choose_pixels(
    scene: Scene,
    index: int,
    row_time: float,
    mask: Bool[Tensor, "H W"],
    count: int,
    seed: int,
    unknowns: tuple[str, ...] = ("shift",),
    changing_only: bool = True,
    most_frames: int | None = None,
) -> CameraPixels:
    """Frames of a camera, evenly spread, and in each of them changing pixels first; any allowed ones where too few do.

    Args:
        scene: cameras and frames.
        index: global index of the camera.
        row_time: seconds from its first to its last row.
        mask: pixels that may be chosen, bool, shape [height, width].
        count: how many, about; drawn with replacement.
        seed: of the choice.
        unknowns: of :data:`UNKNOWNS`, in the order of the basis.
        changing_only: prefer pixels that change; False for all allowed ones alike.
        most_frames: frames at most, with as many more pixels in each; None for any number.
    """
    camera, frames = scene.cameras[index], scene.frames(index)
    generator = torch.Generator().manual_seed(seed)
    statistics = pixel_statistics(scene, index)
    deviation = torch.from_numpy(statistics.deviation).reshape(-1)
    allowed = mask.reshape(-1).nonzero()[:, 0]
    changing = allowed[deviation[allowed] > 0.5 * deviation[allowed].quantile(0.98).item()]
    if not changing_only or len(changing) * camera.frame_count < count:
        changing = allowed
    wanted = min(-(-count // PIXELS_OF_A_FRAME), most_frames or camera.frame_count)
    frame = spread_frames(camera.frame_count, wanted, generator)
    shape = (len(frame), -(-count // len(frame)))
    places = changing[torch.randint(len(changing), shape, generator=generator)]
    row, column = places // mask.shape[1], places % mask.shape[1]
    rgb = torch.from_numpy(frames[frame[:, None].numpy(), row.numpy(), column.numpy()]).float() / 255.0
    views = Views.of(camera, frame.tolist(), scene.near, scene.far)
    times, rows = camera.frame_times, (row.double() + 0.5) / mask.shape[0] - 0.5
    middle, half = (times[0] + times[-1]) / 2, (times[-1] - times[0]) / 2
    columns = {"shift": torch.ones_like(rows), "readout": rows}
    columns["rate"] = ((times[frame] - middle) / half)[:, None].expand(shape)
    basis = torch.stack([columns[name] for name in unknowns], dim=-1)
    still = torch.from_numpy(statistics.mean).reshape(-1, 3)[places].float()
    return CameraPixels(index, views, places, times[frame], row_time, basis, rgb, still, frame, unknowns)


def spread_frames(frame_count: int, wanted: int, generator: torch.Generator) -> Int64[Tensor, " F"]:
    """Numbers of frames, one from each of equal stretches of a video, int64, shape [F]; all for more than there are.

    Their order is such that the first few are spread over the whole video as well (multiples of the golden ratio).
    """
    count = min(wanted, frame_count)
    order = (torch.arange(count, dtype=torch.float64) * 0.6180339887498949 % 1.0).argsort().argsort()
    jitter = torch.rand(count, generator=generator, dtype=torch.float64)
    return ((order + jitter) * frame_count / count).long().clamp_max(frame_count - 1)
