"""What one training step sees: pixels of cameras, at times on the cameras' own clocks, and what they recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from jaxtyping import Float, Float32, Float64, Int64, Shaped
from torch import Tensor

from syncnerf.scene.rays import Rays
from syncnerf.scene.views import Views


class Batch:
    """What one training step sees: pixels of cameras, and what they recorded. The clock makes a question of it.

    The first dimension of every tensor counts what was drawn, B rays or views: some of it is a smaller batch.

    Attributes:
        cameras: global camera index of each, int64, shape [B]; never in a question.
        frame_times: seconds on the camera's own clock, float64, shape [B] or [B, T].
        rgb: true colours in [0, 1], float32, one for each pixel as in a :class:`Rendering`, shape [B, ..., 3].
        statistics: facts of each pixel over the video that a backend may supervise with: ``mean`` and ``deviation``
            of its colours; ``distance`` along its ray to the still scene, in the world, where the batch shows that and
            it is known, else NaN.
    """

    cameras: Int64[Tensor, " B"]
    frame_times: Float64[Tensor, " B *T"]
    rgb: Float32[Tensor, "B ... 3"]
    statistics: dict[str, Float[Tensor, "B ..."]]

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def pixel_count(self) -> int:
        """Number of pixels, each counted once whatever the number of its moments."""
        return len(self)

    def apply(self, change: Callable[[Shaped[Tensor, " ..."]], Shaped[Tensor, " ..."]]) -> Batch:
        """The batch with ``change`` applied to each of its tensors: another device, or some of what was drawn."""

        def changed(value: Any) -> Any:
            if isinstance(value, Tensor):
                return change(value)
            if isinstance(value, dict):
                return {name: change(part) for name, part in value.items()}
            return value.apply(change)

        return type(self)(**{item.name: changed(getattr(self, item.name)) for item in fields(self)})

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device; from pinned memory without waiting for it."""
        return self.apply(lambda tensor: tensor.to(device, non_blocking=tensor.is_pinned()))


@dataclass
class RayBatch(Batch):
    """A batch of N rays.

    Attributes:
        rays: the rays.
        cameras: each ray's camera, int64, shape [N].
        frame_times: shape [N] or [N, T].
        rows: each ray's row in its image, from -1/2 at the top to 1/2 at the bottom, float32, shape [N].
        rgb: shape [N, 3] or [N, T, 3].
        statistics: ``distance`` [N]; ``mean`` [N, 3] and ``deviation`` [N] for series of times.
    """

    rays: Rays
    cameras: Int64[Tensor, " N"]
    frame_times: Float64[Tensor, " N *T"]
    rows: Float32[Tensor, " N"]
    rgb: Float32[Tensor, "N *T 3"]
    statistics: dict[str, Float[Tensor, "N ..."]] = field(default_factory=dict)


@dataclass
class ViewBatch(Batch):
    """A batch of B views, whole pictures or parts of them, all of one size.

    Attributes:
        views: the views.
        cameras: each view's camera, int64, shape [B].
        frame_times: at the middle row of the whole picture, shape [B].
        rgb: shape [B, height, width, 3].
        statistics: ``mean`` [B, height, width, 3] and ``deviation`` [B, height, width].
    """

    views: Views
    cameras: Int64[Tensor, " B"]
    frame_times: Float64[Tensor, " B"]
    rgb: Float32[Tensor, "B H W 3"]
    statistics: dict[str, Float[Tensor, "B H W ..."]] = field(default_factory=dict)

    @property
    def pixel_count(self) -> int:
        """Number of pixels of all views."""
        return len(self) * self.views.width * self.views.height
