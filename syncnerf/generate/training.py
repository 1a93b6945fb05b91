"""Training the module on pairs of views: steps that depend on nothing but their number, checkpoints, logs."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from syncnerf.errors import UserError
from syncnerf.generate.adapter import ViewSyncAdapter
from syncnerf.generate.flow_loss import draw_levels, flow_loss, level_weights
from syncnerf.generate.view_pairs import Example, ViewPairs
from syncnerf.generate.weights import write_view_sync
from syncnerf.training.checkpoints import list_checkpoints, load_checkpoint, save_checkpoint
from syncnerf.training.interruption import Interruption
from syncnerf.training.monitor import Monitor
from syncnerf.training.options import TrainingConfig
from syncnerf.training.schedule import learning_rate_factor

logger = logging.getLogger(__name__)

KIND = "view-sync"
"""What the checkpoints are called where a field's name its backend."""
EARLY_SHARE = 0.2
"""Share of the training that each range of angles but the last takes (the paper: 10 k and 10 k of 50 k steps)."""
WEIGHTS = "view_sync.safetensors"
"""What the run leaves for ``generate``."""


@dataclass(frozen=True)
class AngleSchedule:
    """Ranges of angles between paired views, in degrees, from easy to hard."""

    ranges: tuple[tuple[float, float], ...] = ((0.0, 60.0), (30.0, 90.0), (60.0, 120.0))

    @classmethod
    def parse(cls, text: str) -> AngleSchedule:
        """From ``0:60,30:90,60:120``; raises UserError."""
        try:
            ranges = tuple(tuple(float(end) for end in part.split(":")) for part in text.split(","))
        except ValueError:
            ranges = ()
        if not ranges or any(len(ends) != 2 or not 0 <= ends[0] < ends[1] <= 180 for ends in ranges):
            raise UserError(f"angles = {text}: should be ranges of degrees, as in 0:60,30:90,60:120")
        if len(ranges) > 1 / EARLY_SHARE:
            raise UserError(f"angles = {text}: has more than {1 / EARLY_SHARE:.0f} ranges")
        return cls(ranges)

    def at(self, step: int, steps: int) -> tuple[float, float]:
        """The range of a step: a fifth of the training each, the last one for all that is left."""
        return self.ranges[min(int(step / (EARLY_SHARE * steps)), len(self.ranges) - 1)]


class GeneratorTrainer:
    """Trains the module of a frozen base model; stops and continues at any step without a trace.

    Every draw is a function of the seed and the step's number, so that a checkpoint holds parameters and moments alone.

    Args:
        adapter: the model, on the device.
        pairs: the views that a step sees are drawn from.
        config: steps, rates, seed, precision, rhythm of logs and checkpoints.
        schedule: of the angles.
        run: the run's folder.
        device: where the model is.
        batch: examples in a step.
    """

    def __init__(
        self,
        adapter: ViewSyncAdapter,
        pairs: ViewPairs,
        config: TrainingConfig,
        schedule: AngleSchedule,
        run: Path,
        device: torch.device,
        batch: int = 1,
    ):
        self.adapter, self.pairs, self.config, self.schedule = adapter, pairs, config, schedule
        self.run, self.device, self.batch = run, device, batch
        self.step = 0
        self.parameters = adapter.freeze_base()
        for module in adapter.modules:
            module.float()  # the optimizer's small steps would vanish in 16 bits
        adapter.transformer.enable_gradient_checkpointing()
        adapter.transformer.train()
        self.optimizer = torch.optim.AdamW(self.parameters, lr=config.lr)

    def fit(self) -> int | None:
        """Train up to the configured step; returns the number of the signal that stopped it early, or None.

        Raises:
            UserError: the loss is no longer finite, or the disk is full.
        """
        config = self.config
        monitor = Monitor(self.run, [], 1.0, self.step)
        try:
            with (
                Interruption() as interruption,
                tqdm(total=config.steps, initial=self.step, desc="training", unit="step") as bar,
            ):
                while self.step < config.steps and not interruption.signal_number:
                    loss = self.train_step()
                    bar.update()
                    if (self.step - 1) % config.log_every == 0 or self.step == config.steps:
                        self._log(monitor, loss)
                    if config.save_every and self.step % config.save_every == 0 and self.step < config.steps:
                        self.save()
                self.save()
        finally:
            monitor.close()
        return interruption.signal_number

    def train_step(self) -> Float[Tensor, ""]:
        """One step; returns its loss."""
        seed = np.random.SeedSequence((self.config.seed, self.step)).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(seed) >> 1)
        lowest, highest = self.schedule.at(self.step, self.config.steps)
        examples = [self.pairs.draw(generator, lowest, highest) for _ in range(self.batch)]
        levels = draw_levels(self.batch, generator)
        latents, poses, texts = (self._stacked(examples, name) for name in ("latents", "poses", "text"))
        noise = torch.randn(latents.shape, generator=generator).to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * learning_rate_factor(self.config, self.step)
        kind = getattr(torch, self.config.precision)
        # Blocks are computed again in the backward pass: the cameras must still be set then.
        with self.adapter.cameras(poses), torch.autocast(self.device.type, kind, enabled=kind != torch.float32):
            losses = flow_loss(self.adapter, latents, texts, levels.to(self.device), noise)
            loss = (losses * level_weights(levels).to(self.device)).mean()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.detach()

    def save(self) -> None:
        """Write a checkpoint, and the weights for ``generate``."""
        if not all(parameter.isfinite().all() for parameter in self.parameters):
            raise UserError(f"parameters are not finite at step {self.step}; lower --lr and --resume")
        record = {
            "backend": KIND,
            "cameras": self._scenes(),
            "model": self.adapter.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        save_checkpoint(self.run / "checkpoints", self.step, record)
        write_view_sync(self.run / WEIGHTS, self.adapter.state_dict())

    def resume(self) -> None:
        """Continue from the run's newest checkpoint, if there is one.

        Raises:
            UserError: it is of another model or other scenes.
        """
        found = list_checkpoints(self.run / "checkpoints")
        if not found:
            return
        record = load_checkpoint(found[-1], KIND, self._scenes()).record
        own = self.adapter.state_dict()
        if {name: value.shape for name, value in record["model"].items()} != {n: v.shape for n, v in own.items()}:
            raise UserError(f"{found[-1]}: is of a model of another size; give the run's own --model")
        with torch.no_grad():
            for name, value in record["model"].items():
                own[name].copy_(value)
        self.optimizer.load_state_dict(record["optimizer"])
        self.step = record["step"]

    def _scenes(self) -> list[str]:
        return [clip.name for clip in self.pairs.clips]

    def _stacked(self, examples: list[Example], name: str) -> Tensor:
        return torch.stack([getattr(example, name) for example in examples]).to(self.device)

    def _log(self, monitor: Monitor, loss: Tensor) -> None:
        value = loss.item()
        if not math.isfinite(value):
            raise UserError(f"the loss is not finite at step {self.step - 1}; lower --lr")
        monitor.scalars(self.step - 1, "loss", {"flow": value})
        monitor.scalars(self.step - 1, "learning_rate", {KIND: self.optimizer.param_groups[0]["lr"]})
