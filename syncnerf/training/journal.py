"""Reports a training while it runs: progress bar, TensorBoard's curves and pictures, ``offsets.csv``."""

from __future__ import annotations

import time
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from syncnerf.clock import Clock
from syncnerf.evaluation.metrics import psnr_of
from syncnerf.training.monitor import Monitor
from syncnerf.training.offset_log import OffsetLog
from syncnerf.training.plan import Plan
from syncnerf.training.step import SQUARED_ERROR


class Journal:
    """Writes the records of a training, from a given step on.

    Args:
        plan: of the training.
        step: number of finished steps. When a run is resumed, records of later steps are dropped.
        preview: makes pictures for TensorBoard, by name; None for none.
    """

    def __init__(self, plan: Plan, step: int, preview: Callable[[], dict[str, Float[Tensor, "H W 3"]]] | None):
        self.log = OffsetLog(plan.folder / "offsets.csv", plan.names, step)
        self.monitor = Monitor(plan.folder, plan.names, plan.frame_interval, step)
        self.progress = tqdm(total=plan.length.steps, initial=step, desc="training", unit="step")
        self.image_every, self.preview = plan.config.image_every, preview
        self._since, self._rays = time.perf_counter(), 0

    def advance(self, done: int, rays: int) -> None:
        """Note that step number ``done``, of so many rays, is finished; make preview pictures if they are due."""
        self._rays += rays
        self.progress.update()
        if self.preview is not None and self.image_every and done % self.image_every == 0:
            for name, picture in self.preview().items():
                self.monitor.image(done, name, picture)

    def write(self, step: int, values: dict[str, float], clock: Clock, rates: dict[str, float]) -> None:
        """A line of ``offsets.csv`` and a point of every curve: losses, PSNR, offsets, learning rates, speed."""
        losses = {name: value for name, value in values.items() if name != SQUARED_ERROR}
        psnr = psnr_of(values[SQUARED_ERROR])
        self.log.add(step, clock.offsets().detach())
        self.monitor.clock(step, clock)
        self.monitor.scalars(step, "loss", losses)
        self.monitor.scalars(step, "learning_rate", rates)
        now = time.perf_counter()
        speed = self._rays / (now - self._since)
        self.monitor.scalars(step, "training", {"psnr": psnr, "rays_per_second": speed})
        self._since, self._rays = now, 0
        self.progress.set_postfix(psnr=f"{psnr:.2f}", refresh=False)

    def close(self) -> None:
        """Close the bar and the event file."""
        self.progress.close()
        self.monitor.close()
