"""The training loop, shared by all backends."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from syncnerf.config import TrainingConfig
from syncnerf.errors import UserError
from syncnerf.rendering.phases import phase
from syncnerf.synced import SyncedBackend
from syncnerf.training.batches import BatchSampler, BatchSupply
from syncnerf.training.checkpoints import load_checkpoint, save_checkpoint
from syncnerf.training.interruption import Interruption
from syncnerf.training.journal import Journal
from syncnerf.training.ranks import Ranks
from syncnerf.training.recordings import CudaRecorder, Recordings
from syncnerf.training.schedule import Course
from syncnerf.training.step import TrainingStep

logger = logging.getLogger(__name__)


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
        reckoner: weighs what was known of the clock where it is time for it, told how many steps are done, and says
            whether it changed the clock; None for nothing to reckon.
        ranks: this process among those that train together; alone by default.
        course: length of the training, where it was changed on the way; None for the configuration's steps.
        about: what else a checkpoint should hold.
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
        reckoner: Callable[[int], bool] | None = None,
        ranks: Ranks | None = None,
        course: Course | None = None,
        about: dict[str, Any] | None = None,
    ):
        self.synced, self.config, self.run = synced, config, run
        self.backend, self.names, self.frame_interval = backend, names, frame_interval
        self.device, self.preview, self.reckoner = device, preview, reckoner
        self.course, self.about = course or Course(config.steps, config.steps), about or {}
        self.step = 0
        self.overrun: set[str] = set()
        self.ranks = ranks or Ranks()
        ahead = config.prefetch if config.prefetch >= 0 else 2 * (device.type == "cuda")
        self.supply = BatchSupply(sampler, config.seed, device, self.ranks, ahead)
        self.generator = torch.Generator(device)
        self.ranks.share_state(synced)
        self.work = TrainingStep(synced, config, device, self.ranks, self.course)
        # Messages between processes are not recorded.
        records = config.cuda_graphs and device.type == "cuda" and self.ranks.count == 1
        self.recordings = Recordings(self.work, self.generator, CudaRecorder(self.generator) if records else None)

    # -- the loop ------------------------------------------------------------------------------------------------

    def fit(self) -> int | None:
        """Train up to the configured step; returns the number of the signal that stopped it early, or None."""
        journal = None
        if self.ranks.writes:
            config = replace(self.config, steps=self.course.steps)
            journal = Journal(self.run, config, self.names, self.frame_interval, self.step, self.preview)
        self.synced.train()
        try:
            with Interruption() as interruption:
                signal_number = self._loop(journal, interruption)
            self.save()
        finally:
            self.supply.close()
            if journal is not None:
                journal.close()
            self.synced.eval()
        return signal_number or None

    def _loop(self, journal: Journal | None, interruption: Interruption) -> int:
        config, signal_number = self.config, 0
        while self.step < self.course.steps and not signal_number:
            # All processes stop after the same step, whichever of them a signal reached.
            stop = self.ranks.ask_largest(lambda: interruption.signal_number or 0)
            losses, rays = self.train_step()
            done = self.step
            if (done - 1) % config.log_every == 0 or done == self.course.steps:
                values = self.ranks.mean({name: value.item() for name, value in losses.items()}, rays)
                self._check(values)
                self._watch_clock()
                if journal is not None:
                    journal.write(done - 1, values, self.synced.clock, self.work.rates)
            if journal is not None:
                journal.advance(done, rays * self.ranks.count)
            if config.save_every and done % config.save_every == 0 and done < self.course.steps:
                self.save()
            signal_number = stop()
        return signal_number

    def train_step(self) -> tuple[dict[str, Tensor], int]:
        """One step: draw, render, backward, update; returns the loss terms and the number of this process's pixels."""
        synced, step = self.synced, self.step
        self.work.set_rates(step)
        synced.before_step(step)
        self._seed_jitter(step)
        with phase("batch"):
            batch, share = self.supply.take(step)
        losses = self.recordings.run(synced.step_kind(step), batch, share, step)
        if replaced := synced.backend.after_step(step):
            self.ranks.share_state(synced)
            self.work.replace(replaced)
            self.recordings.forget()
        self.step = step + 1
        if self.reckoner is not None and self.reckoner(self.step):
            self.ranks.share_state(synced.clock)
        return losses, batch.pixel_count

    def _seed_jitter(self, step: int) -> None:
        """Make a step's jitter a function of seed, step and process alone, so that there is nothing to save."""
        seed = np.random.SeedSequence((self.config.seed, step, self.ranks.rank)).generate_state(1, np.uint64)[0]
        self.generator.manual_seed(int(seed) >> 1)

    def _watch_clock(self) -> None:
        """Say once of each camera whose corrected frames leave the field's time."""
        beyond = self.synced.clock.overrun().tolist()
        for name, seconds in zip(self.names, beyond, strict=True):
            if seconds > 0 and name not in self.overrun:
                self.overrun.add(name)
                logger.warning(
                    "%s: its offset has left what the field's time was made for by %.3f s; its frames there teach "
                    "nothing. Start again with --offset-init %s", name, seconds, self.run / "offsets.json",
                )  # fmt: skip

    def _check(self, values: dict[str, float]) -> None:
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise UserError(f"the loss '{bad[0]}' is not finite at step {self.step - 1}; lower --lr")

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of everything that the next step depends on; only the first process does.

        Raises:
            UserError: a parameter is no longer finite (the good checkpoints stay), or the disk is full.
        """
        if not all(parameter.isfinite().all() for parameter in self.synced.parameters()):
            raise UserError(f"parameters are not finite at step {self.step}; lower --lr and --resume")
        if not self.ranks.writes:
            return
        path = save_checkpoint(
            self.run / "checkpoints",
            self.step,
            {
                **self.about,
                "course": asdict(self.course),
                "backend": self.backend,
                "cameras": self.names,
                "model": self.synced.state_dict(),
                "optimizer": self.work.optimizer.state_dict(),
                "scaler": self.work.scaler.state_dict(),
                "batch_generator": self.supply.state(),
            },
        )
        logger.info("saved %s", path)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            UserError: it is of another backend, scene or configuration.
        """
        record = load_checkpoint(path, self.backend, self.names)
        restore_model(self.synced, record, path)
        self.work.make_optimizer(record["optimizer"])
        self.work.make_scaler(record.get("scaler"))
        self.recordings.forget()
        self.supply.restore(record["batch_generator"])
        self.step = record["step"]
        if self.ranks.largest(self.step) != self.step:
            raise UserError(f"{path}: is older than another process's; the run's folder must be shared by all machines")


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
    if not all(parameter.isfinite().all() for parameter in synced.parameters()):
        raise UserError(f"{path}: holds numbers that are not finite; give an earlier checkpoint with --ckpt")
    synced.before_step(max(record["step"] - 1, 0))
    return record["step"]
