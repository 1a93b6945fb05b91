"""The injection: offsets between the rays and the backend."""

from collections.abc import Hashable

import torch
from torch import Tensor, nn

from syncnerf.backend import Backend, RayBatch, Rendering
from syncnerf.scene.rays import Rays
from syncnerf.time_offsets import TimeOffsets


class SyncedBackend(nn.Module):
    """A backend behind the cameras' time offsets, the one place where the two meet."""

    def __init__(self, offsets: TimeOffsets, backend: Backend):
        super().__init__()
        self.offsets = offsets
        self.backend = backend

    def render_moments(self, rays: Rays, times: Tensor, generator: torch.Generator | None = None) -> Rendering:
        """Render rays at scene times (seconds, float64, shape [N] or [N, T]); no camera is involved."""
        return self.backend.render(rays, times + self.offsets.origin, generator)

    def render_batch(self, batch: RayBatch, generator: torch.Generator | None = None) -> Rendering:
        """Render a training batch at its cameras' corrected times."""
        return self.render_moments(batch.rays, self.offsets(batch.cameras, batch.frame_times), generator)

    def render_camera(self, rays: Rays, camera: int, frame_times: Tensor) -> Rendering:
        """Render rays of one camera at times on its own clock (seconds, float64, shape [N] or [N, T])."""
        cameras = torch.full((len(rays),), camera, device=frame_times.device)
        return self.render_moments(rays, self.offsets(cameras, frame_times))

    def losses(self, rendering: Rendering, batch: RayBatch, step: int) -> dict[str, Tensor]:
        """Loss terms of the rays."""
        return self.backend.losses(rendering, batch, step)

    def penalties(self, step: int) -> dict[str, Tensor]:
        """Loss terms of the parameters alone, the backend's and the offsets'."""
        return {**self.backend.penalties(step), **self.offsets.penalties()}

    def param_groups(self, base_lr: float) -> list[dict]:
        """Parameter groups of both."""
        return self.backend.param_groups(base_lr) + self.offsets.param_groups()

    def step_kind(self, step: int) -> Hashable | None:
        """What decides the operations of a step, see :meth:`syncnerf.backend.Backend.step_kind`."""
        kind = self.backend.step_kind(step)
        return None if kind is None else (kind, self.offsets.moving)

    def before_step(self, step: int) -> None:
        """Bring both schedules to ``step``."""
        self.offsets.before_step(step)
        self.backend.before_step(step)
