"""The shared per-camera time-offset embedding (Sync-NeRF, Kim et al., AAAI 2024, arXiv 2310.13356)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from syncnerf.config import OffsetsConfig


class TimeOffsets(nn.Module):
    """One offset in seconds per camera; the reference camera's is exactly zero.

    Camera c's frame k was exposed at scene time ``k / fps_c + offset_c``. A common shift of all cameras cannot be
    observed, so the reference camera holds the gauge.

    What is optimised is each camera's shift against the field's own clock, the reference's included: holding the
    reference still would make every other camera, and the whole field, wait for the one direction that is hardest to
    learn. Offsets are these shifts minus the reference's, and :attr:`origin`, the reference's shift, is where the
    field's clock stands at scene time zero. The gradient of a camera's shift then comes from its own rays alone.

    In mode ``off`` there are no parameters and times pass through untouched.

    Args:
        config: mode, learning rate, schedule, penalty.
        camera_count: number of cameras, test ones included; the embedding's rows are global camera indices.
        reference: global index of the camera that stays at zero.
        duration: seconds of the longest video; turns the learning rate's share of it into seconds.
        steps: length of the training; the schedule's shares refer to it.
        initial: starting offsets in seconds, float64, shape [C], that only need refining; zero if None.
        untrained: global indices of the test cameras, whose rows only :meth:`set_camera` moves.
    """

    def __init__(
        self,
        config: OffsetsConfig,
        camera_count: int,
        reference: int,
        duration: float,
        steps: int,
        initial: Tensor | None = None,
        untrained: tuple[int, ...] = (),
    ):
        super().__init__()
        self.config = config
        self.camera_count = camera_count
        self.reference = reference
        trained = [camera for camera in range(camera_count) if camera not in untrained]
        self.register_buffer("trained", torch.tensor(trained, dtype=torch.int64), persistent=False)
        self.freeze_step = round(config.offset_freeze * steps)
        if self.learned:
            start = torch.zeros(camera_count, dtype=torch.float64) if initial is None else initial.double().clone()
            start -= start[reference].clone()
            self.shifts = nn.Parameter(start)
            rate = (config.offset_lr if initial is None else config.offset_refine_lr) * duration
            refines = 0.0 if initial is None else config.offset_refine_start
            first_step = round(max(config.offset_start, refines) * steps)
            # In the checkpoint: a resumed run has no initial offsets to tell it which of the two it began with.
            self.register_buffer("learning_rate", torch.tensor(rate, dtype=torch.float64))
            self.register_buffer("start_step", torch.tensor(first_step))
            self._first_step: int | None = None  # of that buffer, read once: reading it waits for the GPU
            self.register_buffer("gradient_mean", torch.zeros_like(start))
            self.register_buffer("gradient_square", torch.zeros_like(start))

    def _load_from_state_dict(self, *args) -> None:
        super()._load_from_state_dict(*args)
        self._first_step = None

    @property
    def learned(self) -> bool:
        """Whether the offsets are learned at all."""
        return self.config.offset_mode == "learn"

    @property
    def origin(self) -> Tensor | float:
        """Seconds that the field's clock is ahead of scene time, float64, shape []; 0 in mode ``off``."""
        return self.shifts[self.reference] if self.learned else 0.0

    def values(self) -> Tensor:
        """All offsets in seconds, float64, shape [C]; exactly zero at the reference camera."""
        if not self.learned:
            return torch.zeros(self.camera_count, dtype=torch.float64)
        return self.shifts - self.shifts[self.reference]

    def forward(self, cameras: Tensor, frame_times: Tensor) -> Tensor:
        """Correct times: add each camera's offset to times on its own clock.

        Args:
            cameras: global camera indices, int64, shape [N].
            frame_times: seconds on each camera's own clock, float64, shape [N] or [N, T].

        Returns:
            Scene times in seconds, same shape; the very same tensor in mode ``off``.
        """
        if not self.learned:
            return frame_times
        offsets = self.values()[cameras]
        return frame_times + (offsets if frame_times.ndim == 1 else offsets[:, None])

    def before_step(self, step: int) -> None:
        """Let the offsets move in [start_step, freeze_step), hold them otherwise; a function of the step alone."""
        if self.learned:
            if self._first_step is None:
                self._first_step = int(self.start_step)
            self.shifts.requires_grad_(self._first_step <= step < self.freeze_step)

    def after_backward(self, decay: float = 0.98) -> None:
        """Take each camera's gradient into running means (of it and of its square), for the logs."""
        if self.learned and self.shifts.grad is not None:
            # In 16-bit training now and then a step overflows; it is left out.
            gradient = self.shifts.grad.detach().nan_to_num(0.0, 0.0, 0.0)
            self.gradient_mean.lerp_(gradient, 1 - decay)
            self.gradient_square.lerp_(gradient.square(), 1 - decay)

    @property
    def moving(self) -> bool:
        """Whether the offsets move in the step that :meth:`before_step` was told of."""
        return self.learned and self.shifts.requires_grad

    def penalties(self) -> dict[str, Tensor]:
        """The optional L1 penalty on the training cameras' offsets."""
        if not self.learned or self.config.offset_l1 == 0:
            return {}
        return {"offset_l1": self.config.offset_l1 * self.values()[self.trained].abs().mean()}

    def param_groups(self) -> list[dict]:
        """One group for Adam; its learning rate is in seconds."""
        if not self.learned:
            return []
        return [{"name": "offsets", "params": [self.shifts], "lr": self.learning_rate.item()}]

    @torch.no_grad()
    def set_camera(self, camera: int, seconds: float) -> None:
        """Set one camera's offset; raises ValueError for the reference camera, whose offset is zero by definition."""
        if camera == self.reference:
            raise ValueError("the reference camera's offset is zero by definition")
        self.shifts[camera] = self.shifts[self.reference] + seconds

    def gradient_signal(self) -> Iterator[tuple[float, float]]:
        """Per camera the running mean of the gradient and its ratio to the root mean square (1: all steps agree)."""
        if self.learned:
            ratio = self.gradient_mean / self.gradient_square.sqrt().clamp_min(1e-30)
            yield from zip(self.gradient_mean.tolist(), ratio.tolist(), strict=True)


def align_gauge(offsets: Tensor, truth: Tensor) -> Tensor:
    """Errors against ground truth after subtracting the median difference, same shape as ``offsets``.

    A common shift of all cameras is unobservable, so only this difference means anything. NaN marks cameras to ignore.
    """
    difference = offsets - truth
    known = difference[~difference.isnan()]
    return difference - (known.quantile(0.5) if len(known) else 0.0)
