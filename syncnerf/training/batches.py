"""Supplies batches: a thread draws them ahead while a step runs, and a resumed run draws exactly the same ones."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor

from syncnerf.batch import Batch
from syncnerf.training.ranks import Ranks


@runtime_checkable
class Batches(Protocol):
    """A source of batches, such as random pixels of a scene."""

    def draw(self, generator: torch.Generator, step: int) -> Batch:
        """One batch on the CPU, which depends on nothing but the generator's state and the step."""


class BatchSupply:
    """Hands out each step's batch on the device; of several processes, each gets its own part.

    How far ahead batches are drawn makes no difference to them. A checkpoint stores the generator's state before the
    next batch to be handed out, not before the next one to be drawn.

    Args:
        batches: where they are drawn from; every process draws the whole batch and keeps its part.
        seed: of the batches' generator.
        device: where batches go; for CUDA they are copied from pinned memory.
        ranks: this process among the others.
        ahead: batches drawn in advance; 0 draws each when it is asked for.
    """

    def __init__(self, batches: Batches, seed: int, device: torch.device, ranks: Ranks, ahead: int):
        self.batches, self.device, self.ranks, self.ahead = batches, device, ranks, ahead
        self._generator = torch.Generator().manual_seed(seed)
        self._state = self._generator.get_state()
        self._pending: deque[tuple[int, Future]] = deque()
        self._thread = ThreadPoolExecutor(1, "batches") if ahead else None

    def take(self, step: int) -> tuple[Batch, float]:
        """This process's part of a step's batch, on the device, and what share of the whole batch it is."""
        if self._thread is None:
            batch, share, self._state = self._draw(step)
        else:
            if not self._pending or self._pending[0][0] != step:
                self._restart()
            while len(self._pending) <= self.ahead:
                later = step + len(self._pending)
                self._pending.append((later, self._thread.submit(self._draw, later)))
            batch, share, self._state = self._pending.popleft()[1].result()
        return batch.to(self.device), share

    def state(self) -> UInt8[Tensor, " bytes"]:
        """State of the generator from which the next batch is drawn."""
        return self._state

    def restore(self, state: UInt8[Tensor, " bytes"]) -> None:
        """Continue from a saved state, dropping what was drawn ahead; TypeError or RuntimeError if it is none."""
        torch.Generator().set_state(state)
        self._state = state
        self._restart()

    def close(self) -> None:
        """Forget what was drawn ahead and let the thread rest."""
        self._restart()

    def _restart(self) -> None:
        for _, future in self._pending:
            future.cancel()
        if self._thread is not None:
            self._thread.submit(lambda: None).result()  # whatever was under way has ended
        self._pending.clear()
        self._generator.set_state(self._state)

    def _draw(self, step: int) -> tuple[Batch, float, Tensor]:
        batch, share = self.ranks.part(self.batches.draw(self._generator, step))
        if self.device.type == "cuda":
            batch = batch.apply(Tensor.pin_memory)
        return batch, share, self._generator.get_state()
