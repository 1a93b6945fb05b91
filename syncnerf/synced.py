"""The injection: a clock between the rays and the backend, and colours between its answer and the cameras."""

from collections.abc import Hashable

import torch
from torch import Tensor, nn

from syncnerf.backend import Backend, RayBatch, Rendering
from syncnerf.camera_colours import CameraColours
from syncnerf.clock import Clock
from syncnerf.config import ColoursConfig
from syncnerf.scene.rays import Rays


class SyncedBackend(nn.Module):
    """A backend behind the cameras' clock and colours, the one place where they meet.

    Args:
        clock: of all cameras.
        backend: the field.
        colours: of all cameras; None where all are alike.
    """

    def __init__(self, clock: Clock, backend: Backend, colours: CameraColours | None = None):
        super().__init__()
        self.clock = clock
        self.colours = colours or CameraColours(ColoursConfig(camera_colours="off"), clock.camera_count)
        self.backend = backend

    def render_moments(self, rays: Rays, times: Tensor, generator: torch.Generator | None = None) -> Rendering:
        """Render rays at scene times (seconds, float64, shape [N] or [N, T]); no camera is involved."""
        return self.backend.render(rays, self.clock.moments(times), generator)

    def render_batch(self, batch: RayBatch, generator: torch.Generator | None = None) -> Rendering:
        """Render a training batch at its cameras' corrected times, in its cameras' colours."""
        times = self.clock(batch.cameras, batch.frame_times, batch.rows)
        return self.colours(batch.cameras, self.backend.render(batch.rays, times, generator))

    def render_camera(self, rays: Rays, camera: int, frame_times: Tensor, rows: Tensor | None = None) -> Rendering:
        """Render rays of one camera at times on its own clock, in the scene's own colours.

        Args:
            rays: N rays.
            camera: global index.
            frame_times: seconds, float64, shape [N] or [N, T].
            rows: each ray's row, from -1/2 to 1/2, shape [N]; None for the middle one.
        """
        cameras = torch.full((len(rays),), camera, device=frame_times.device)
        return self.backend.render(rays, self.clock(cameras, frame_times, rows))

    def losses(self, rendering: Rendering, batch: RayBatch, step: int) -> dict[str, Tensor]:
        """Loss terms of the rays."""
        return self.backend.losses(rendering, batch, step)

    def penalties(self, step: int) -> dict[str, Tensor]:
        """Loss terms of the parameters alone: the backend's, the clock's and the colours'."""
        return {**self.backend.penalties(step), **self.clock.penalties(), **self.colours.penalties()}

    def param_groups(self, base_lr: float) -> list[dict]:
        """Parameter groups of all three."""
        return self.backend.param_groups(base_lr) + self.clock.param_groups() + self.colours.param_groups()

    def step_kind(self, step: int) -> Hashable | None:
        """What decides the operations of a step, see :meth:`syncnerf.backend.Backend.step_kind`."""
        kind = self.backend.step_kind(step)
        return None if kind is None else (kind, self.clock.moving)

    def before_step(self, step: int) -> None:
        """Bring both schedules to ``step``."""
        self.clock.before_step(step)
        self.backend.before_step(step)
