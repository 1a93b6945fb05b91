"""The training loop, shared by all backends."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from syncnerf.backend import RayBatch
from syncnerf.config import TrainingConfig
from syncnerf.errors import UserError
from syncnerf.synced import SyncedBackend
from syncnerf.training.checkpoints import load_checkpoint, save_checkpoint
from syncnerf.training.interruption import Interruption
from syncnerf.training.monitor import Monitor, peak_signal_to_noise
from syncnerf.training.offset_log import OffsetLog
from syncnerf.training.schedule import learning_rate_factor

logger = logging.getLogger(__name__)


class BatchSampler(Protocol):
    """What supplies the steps."""

    def draw(self, generator: torch.Generator, step: int) -> RayBatch:
        """One batch on the CPU, a function of the generator and of the step alone."""


class Trainer:
    """Trains a field and its cameras' offsets; stops and continues at any step without a trace.

    Args:
        synced: offsets and field, on ``device``.
        sampler: the batches.
        config: steps, rates, rhythm of logs and checkpoints.
        run: the run's folder.
        backend: the backend's name, for checkpoints.
        names: the cameras in order.
        frame_interval: seconds per frame, for the curves.
        device: where the step runs.
        preview: makes pictures for TensorBoard, by name; None for none.
    """

    def __init__(
        self,
        synced: SyncedBackend,
        sampler: BatchSampler,
        config: TrainingConfig,
        run: Path,
        backend: str,
        names: list[str],
        frame_interval: float,
        device: torch.device,
        preview: Callable[[], dict[str, Tensor]] | None = None,
    ):
        self.synced, self.sampler, self.config, self.run = synced, sampler, config, run
        self.backend, self.names, self.frame_interval = backend, names, frame_interval
        self.device, self.preview = device, preview
        self.step = 0
        # Batches are drawn on the CPU; jitter where the field lives. Both states go into every checkpoint.
        self.batch_generator = torch.Generator().manual_seed(config.seed)
        self.jitter_generator = torch.Generator(device).manual_seed(config.seed + 1)
        self._make_optimizer()

    def _make_optimizer(self) -> None:
        groups = self.synced.param_groups(self.config.lr)
        self.heights = {group["name"]: group["lr"] for group in groups}
        self.optimizer = torch.optim.Adam(groups, lr=self.config.lr, eps=1e-15)

    # -- the loop ------------------------------------------------------------------------------------------------

    def fit(self) -> int | None:
        """Train up to the configured step; returns the number of the signal that stopped it early, or None."""
        log = OffsetLog(self.run / "offsets.csv", self.names, self.step)
        monitor = Monitor(self.run, self.names, self.frame_interval, self.step)
        self.synced.train()
        progress = tqdm(total=self.config.steps, initial=self.step, desc="training", unit="step")
        try:
            with Interruption() as interruption:
                self._loop(log, monitor, progress, interruption)
            self.save()
        finally:
            progress.close()
            monitor.close()
            self.synced.eval()
        return interruption.signal_number

    def _loop(self, log: OffsetLog, monitor: Monitor, progress: tqdm, interruption: Interruption) -> None:
        config = self.config
        since, rays = time.perf_counter(), 0
        while self.step < config.steps and interruption.signal_number is None:
            losses, batch_rays = self.train_step()
            rays += batch_rays
            progress.update()
            done = self.step
            if (done - 1) % config.log_every == 0 or done == config.steps:
                values = {name: value.item() for name, value in losses.items()}
                self._check(values)
                psnr = peak_signal_to_noise(values["photometric"])
                log.add(done - 1, self.synced.offsets.values().detach())
                monitor.offsets(done - 1, self.synced.offsets)
                monitor.scalars(done - 1, "loss", values)
                rates = {group["name"]: group["lr"] for group in self.optimizer.param_groups}
                monitor.scalars(done - 1, "learning_rate", rates)
                now = time.perf_counter()
                monitor.scalars(done - 1, "training", {"psnr": psnr, "rays_per_second": rays / (now - since)})
                since, rays = now, 0
                progress.set_postfix(psnr=f"{psnr:.2f}", refresh=False)
            if self.preview is not None and config.image_every and done % config.image_every == 0:
                for name, picture in self.preview().items():
                    monitor.image(done, name, picture)
            if config.save_every and done % config.save_every == 0 and done < config.steps:
                self.save()

    def train_step(self) -> tuple[dict[str, Tensor], int]:
        """One step: draw, render, backward, update; returns the loss terms and the number of rays."""
        synced, step = self.synced, self.step
        factor = learning_rate_factor(self.config, step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.heights[group["name"]] * factor
        synced.before_step(step)
        batch = self.sampler.draw(self.batch_generator, step).to(self.device)
        rendering = synced.render_batch(batch, self.jitter_generator)
        losses = synced.losses(rendering, batch, step)
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack([value.double() for value in losses.values()]).sum().backward()
        synced.offsets.after_backward()
        self.optimizer.step()
        if synced.backend.after_step(step):
            self._make_optimizer()
        self.step = step + 1
        return {name: value.detach() for name, value in losses.items()}, batch.rgb[..., 0].numel()

    def _check(self, values: dict[str, float]) -> None:
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise UserError(f"the loss '{bad[0]}' is not finite at step {self.step - 1}; lower --lr")

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def save(self) -> Path:
        """Write a checkpoint of everything that the next step depends on.

        Raises:
            UserError: a parameter is no longer finite (the good checkpoints stay), or the disk is full.
        """
        if not all(parameter.isfinite().all() for parameter in self.synced.parameters()):
            raise UserError(f"parameters are not finite at step {self.step}; lower --lr and --resume")
        path = save_checkpoint(
            self.run / "checkpoints",
            self.step,
            {
                "backend": self.backend,
                "cameras": self.names,
                "model": self.synced.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "batch_generator": self.batch_generator.get_state(),
                "jitter_generator": self.jitter_generator.get_state(),
            },
        )
        logger.info("saved %s", path)
        return path

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            UserError: it is of another backend, scene or configuration.
        """
        record = load_checkpoint(path, self.backend, self.names)
        restore_model(self.synced, record, path)
        self._make_optimizer()
        self.optimizer.load_state_dict(record["optimizer"])
        self.batch_generator.set_state(record["batch_generator"])
        if self.jitter_generator.get_state().shape == record["jitter_generator"].shape:
            self.jitter_generator.set_state(record["jitter_generator"])
        self.step = record["step"]


def restore_model(synced: SyncedBackend, record: dict, path: Path) -> int:
    """Load a checkpoint's parameters and bring schedules to its last step; returns the number of finished steps.

    Raises:
        UserError: the parameters do not fit this configuration.
    """
    try:
        synced.load_state_dict(record["model"])
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{path}: does not fit this configuration ({detail}); use the run's own config.txt") from error
    synced.before_step(max(record["step"] - 1, 0))
    return record["step"]
