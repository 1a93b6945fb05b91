"""Records training steps as CUDA graphs and replays them, so that the GPU need not wait for Python's launches."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from syncnerf.batch import Batch
from syncnerf.training.step import TrainingStep

logger = logging.getLogger(__name__)

REHEARSALS = 3
"""Steps of a kind that run normally before one is recorded, so that kernels are compiled and buffers allocated."""
MOST_KEPT = 12
"""Recordings that are kept. Each has its own memory for the losses; all share the rest."""

Losses = dict[str, Tensor]


@runtime_checkable
class Recorder(Protocol):
    """What records operations and replays them."""

    def alongside(self) -> AbstractContextManager[None]:
        """A context in which steps run, recorded or not."""

    def record(self, work: Callable[[], Losses]) -> tuple[Callable[[], None], Losses]:
        """Record ``work`` without executing it; return a function that replays it, and the tensors that it writes to.

        Each replay draws random numbers from the generator's state at that time.

        Raises:
            RuntimeError: it contains operations that cannot be recorded.
        """


class CudaRecorder:
    """Records CUDA graphs, on a stream of its own, on which all steps run.

    Args:
        generator: source of all random draws in the steps; its device is theirs.
    """

    def __init__(self, generator: torch.Generator):
        self.generator, self.device = generator, generator.device
        self.stream = torch.cuda.Stream(self.device)
        self.pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def alongside(self) -> Iterator[None]:
        """Run on the recorder's stream, in order with the work on the device's current stream."""
        around = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(around)
        with torch.cuda.stream(self.stream):
            yield
        around.wait_stream(self.stream)

    def record(self, work: Callable[[], Losses]) -> tuple[Callable[[], None], Losses]:
        """See :meth:`Recorder.record`."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        # Another thread may be pinning the memory of the next batch.
        with torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"):
            results = work()
        return graph.replay, results


@dataclass(frozen=True)
class Recording:
    """A recorded step: the tensors it reads its batch from, what replays it, the tensors it writes its losses to."""

    batch: Batch
    replay: Callable[[], None]
    losses: Losses


class Recordings:
    """Runs training steps, by replaying a recording if there is one of their kind.

    Args:
        work: what a step computes.
        generator: source of all random draws in it.
        recorder: what records; None to run every step as it is.
    """

    def __init__(self, work: TrainingStep, generator: torch.Generator, recorder: Recorder | None):
        self.work, self.generator, self.recorder = work, generator, recorder
        self.refused = False
        self.forget()

    def forget(self) -> None:
        """Drop all recordings, because parameters or the optimizer were replaced."""
        self.kept: OrderedDict[Hashable, Recording] = OrderedDict()
        self.rehearsed: Counter[Hashable] = Counter()

    def run(self, kind: Hashable | None, batch: Batch, share: float, step: int) -> Losses:
        """A step of a kind (see :meth:`syncnerf.backend.Backend.step_kind`) on a batch; returns its losses.

        The other arguments are those of :meth:`syncnerf.training.step.TrainingStep.compute`.
        """
        if self.recorder is None:
            return self.work.compute(batch, share, step, self.generator)
        with self.recorder.alongside():
            recording = self._recording((kind, share, _shapes(batch)), batch, step)
            if recording is None:
                return self.work.compute(batch, share, step, self.generator)
            for place, value in zip(_tensors(recording.batch), _tensors(batch), strict=True):
                place.copy_(value)
            recording.replay()
            # The next replay of the same recording overwrites its losses.
            return {name: value.clone() for name, value in recording.losses.items()}

    def _recording(self, key: tuple, batch: Batch, step: int) -> Recording | None:
        """The recording of a kind, made now if enough such steps have run; None to run the step normally."""
        kind, share, _ = key
        if kind is None or self.refused:
            return None
        if key not in self.kept:
            self.rehearsed[key] += 1
            if self.rehearsed[key] <= REHEARSALS:
                return None
            own = batch.apply(torch.clone)
            try:
                recorded = self.recorder.record(lambda: self.work.compute(own, share, step, self.generator))
            except RuntimeError as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                logger.warning("steps run slower than they could: they cannot be recorded (%s)", reason)
                self.refused = True
                self.work.make_scaler(self.work.scaler.state_dict())
                return None
            self.kept[key] = Recording(own, *recorded)
            logger.debug("recorded step %d, the first of its kind", step)
            if len(self.kept) > MOST_KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]


def _tensors(batch: Batch) -> list[Tensor]:
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    batch.apply(note)
    return found


def _shapes(batch: Batch) -> tuple[torch.Size, ...]:
    return tuple(tensor.shape for tensor in _tensors(batch))
