"""The injection: a clock between the question and the backend, and colours between its answer and the cameras."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor, nn

from syncnerf.backend import Backend
from syncnerf.batch import Batch, RayBatch
from syncnerf.camera_colours import CameraColours
from syncnerf.clock import Clock
from syncnerf.config import ColoursConfig
from syncnerf.questions import COLOURS, Question, RayQuestion, Rendering, ViewQuestion, Wanted
from syncnerf.scene.views import Views


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

    @property
    def device(self) -> torch.device:
        """Where the field is, and questions should be."""
        return self.clock.range.device

    # -- questions -----------------------------------------------------------------------------------------------

    def question(self, batch: Batch) -> Question:
        """What a training batch asks, at its cameras' corrected times; gradients reach all that the clock learns."""
        if isinstance(batch, RayBatch):
            return RayQuestion(batch.rays, self.clock(batch.cameras, batch.frame_times, batch.rows))
        times = self.clock(batch.cameras, batch.frame_times)
        return ViewQuestion(batch.views, times, self.clock.readouts(batch.cameras))

    def of_camera(
        self, camera: int, views: Views, frame_times: Float64[Tensor, " B *T"], wanted: Wanted = COLOURS
    ) -> ViewQuestion:
        """What a camera sees at times on its own clock, row after row.

        Args:
            camera: global index.
            views: B of its pictures, or parts of them.
            frame_times: seconds, float64, shape [B] or [B, T].
            wanted: what of the answer is wanted.
        """
        cameras = torch.full((len(views),), camera, device=frame_times.device)
        return ViewQuestion(views, self.clock(cameras, frame_times), self.clock.readouts(cameras), wanted)

    def at_scene_time(
        self,
        views: Views,
        times: Float64[Tensor, " B *T"],
        wanted: Wanted = COLOURS,
        readout: Float64[Tensor, ""] | float = 0.0,
    ) -> ViewQuestion:
        """What is seen at scene times: by a free camera, or by one at offset 0.

        Args:
            views: B of them.
            times: at the middle row, seconds, float64, shape [B] or [B, T].
            wanted: what of the answer is wanted.
            readout: seconds from the first row to the last.
        """
        readouts = self.clock.spans(readout + times.new_zeros(len(views)))
        return ViewQuestion(views, self.clock.moments(times), readouts, wanted)

    # -- training ------------------------------------------------------------------------------------------------

    def render_batch(self, batch: Batch, generator: torch.Generator | None = None) -> Rendering:
        """Render a training batch in its cameras' colours."""
        return self.colours(batch.cameras, self.backend(self.question(batch), generator))

    def losses(self, rendering: Rendering, batch: Batch, step: int) -> dict[str, Float[Tensor, ""]]:
        """Loss terms of the batch."""
        return self.backend.losses(rendering, batch, step)

    def penalties(self, step: int) -> dict[str, Float[Tensor, ""]]:
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

    def after_backward(self, rendering: Rendering, batch: Batch, step: int) -> Sequence[Shaped[Tensor, " ..."]]:
        """Let clock and backend look at the gradients; returns what is to be added up over all processes."""
        self.clock.after_backward()
        return self.backend.after_backward(rendering, batch, step)
