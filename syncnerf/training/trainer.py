"""The training loop, shared by all backends."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.profiler import record_function

from syncnerf.errors import UserError
from syncnerf.synced import SyncedBackend
from syncnerf.training.batches import Batches, BatchSupply
from syncnerf.training.checkpoints import Checkpoint, save_checkpoint, taking_over
from syncnerf.training.interruption import Interruption
from syncnerf.training.journal import Journal
from syncnerf.training.plan import Callbacks, Plan
from syncnerf.training.recordings import CudaRecorder, Recordings
from syncnerf.training.step import TrainingStep

logger = logging.getLogger(__name__)


class Trainer:
    """Trains a field and its cameras' offsets. A run stopped and resumed at any step ends as if it had not stopped.

    Args:
        synced: offsets and field.
        batches: where each step's batch is drawn from.
        plan: options, folder and names.
        callbacks: functions that the loop calls.
    """

    def __init__(self, synced: SyncedBackend, batches: Batches, plan: Plan, callbacks: Callbacks | None = None):
        self.synced, self.plan, self.config, self.course = synced, plan, plan.config, plan.length
        self.callbacks = callbacks or Callbacks()
        self.step = 0
        self.overrun: set[str] = set()
        self.ranks = plan.ranks
        config, device = plan.config, synced.device
        ahead = config.prefetch if config.prefetch >= 0 else 2 * (device.type == "cuda")
        self.supply = BatchSupply(batches, config.seed, device, self.ranks, ahead)
        self.generator = torch.Generator(device)
        self.ranks.share_state(synced)
        self.work = TrainingStep(synced, config, self.ranks, self.course)
        # Messages between processes cannot be recorded.
        records = config.cuda_graphs and device.type == "cuda" and self.ranks.count == 1
        self.recordings = Recordings(self.work, self.generator, CudaRecorder(self.generator) if records else None)

    # -- the loop ------------------------------------------------------------------------------------------------

    def fit(self) -> int | None:
        """Train up to the configured step; returns the number of the signal that stopped it early, or None."""
        journal = None
        if self.ranks.writes:
            journal = Journal(self.plan, self.step, self.callbacks.preview)
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
            # All processes stop after the same step, whichever of them received the signal.
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

    def train_step(self) -> tuple[dict[str, Float[Tensor, ""]], int]:
        """One step: draw a batch, render, backward pass, update.

        Returns:
            The loss terms and the squared error (see :meth:`syncnerf.training.step.TrainingStep.compute`), and the
            number of this process's pixels.
        """
        synced, step = self.synced, self.step
        self.work.set_rates(step)
        synced.before_step(step)
        self._seed_jitter(step)
        with record_function("batch"):
            batch, share = self.supply.take(step)
        losses = self.recordings.run(synced.step_kind(step), batch, share, step)
        if replaced := synced.backend.after_step(step):
            self.ranks.share_state(synced)
            self.work.replace(replaced)
            self.recordings.forget()
        self.step = step + 1
        reckoner = self.callbacks.reckoner
        if reckoner is not None and reckoner(self.step):
            self.ranks.share_state(synced.clock)
        return losses, batch.pixel_count

    def _seed_jitter(self, step: int) -> None:
        """Seed a step's jitter from seed, step and process, so that checkpoints need not store a generator for it."""
        seed = np.random.SeedSequence((self.config.seed, step, self.ranks.rank)).generate_state(1, np.uint64)[0]
        self.generator.manual_seed(int(seed) >> 1)

    def _watch_clock(self) -> None:
        """Warn once about each camera whose corrected frames lie outside the field's time."""
        beyond = self.synced.clock.overrun().tolist()
        for name, seconds in zip(self.plan.names, beyond, strict=True):
            if seconds > 0 and name not in self.overrun:
                self.overrun.add(name)
                logger.warning(
                    "%s: its offset has left what the field's time was made for by %.3f s; its frames there teach "
                    "nothing. Start again with --offset-init %s", name, seconds, self.plan.folder / "offsets.json",
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
            self.plan.folder / "checkpoints",
            self.step,
            {
                **self.plan.about,
                "course": asdict(self.course),
                "backend": self.plan.backend_name,
                "cameras": self.plan.names,
                "model": self.synced.state_dict(),
                "optimizer": self.work.optimizer.state_dict(),
                "scaler": self.work.scaler.state_dict(),
                "batch_generator": self.supply.state(),
            },
        )
        logger.info("saved %s", path)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint.

        Raises:
            UserError: it is of another configuration.
        """
        record = checkpoint.record
        self.step = restore_model(self.synced, checkpoint)
        with taking_over(checkpoint):
            self.work.make_optimizer(record["optimizer"])
            self.work.make_scaler(record.get("scaler"))
            self.supply.restore(record["batch_generator"])
        self.recordings.forget()
        if self.ranks.largest(self.step) != self.step:
            raise UserError(
                f"{checkpoint.path}: is older than another process's; the run's folder must be shared by all machines"
            )


def restore_model(synced: SyncedBackend, checkpoint: Checkpoint) -> int:
    """Load a checkpoint's parameters and set schedules to its last step; returns the number of finished steps.

    Raises:
        UserError: the parameters do not fit this configuration.
    """
    path, record = checkpoint.path, checkpoint.record
    with taking_over(checkpoint):
        try:
            synced.load_state_dict(record["model"])
        except RuntimeError as error:
            detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise UserError(
                f"{path}: does not fit this configuration ({detail}); use the run's own config.txt, and the version of "
                f"syncnerf that wrote it ({checkpoint.version})"
            ) from error
    if not all(values.isfinite().all() for values in (*synced.parameters(), synced.clock.offsets())):
        raise UserError(f"{path}: holds numbers that are not finite; give an earlier checkpoint with --ckpt")
    synced.before_step(max(record["step"] - 1, 0))
    return record["step"]
