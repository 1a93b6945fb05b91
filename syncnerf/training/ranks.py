"""Several processes that train one field together, on one machine or on many (started by ``torchrun``).

Every process draws the same batch from the same generator and renders its own part of it, of the rays or of the views;
gradients are summed over all processes, so that each takes the step that one process with the whole batch would take.

This is what DistributedDataParallel does, placed by hand: its wrapper expects one ``forward``, a field here is asked
through several methods, and its main service, sending early gradients while later ones are still computed, has little
to give: nearly all numbers of a field are its planes or tables, whose gradients come at the very end of the backward
pass. What does overlap with the sending are the penalties of the parameters, which every process computes alike.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from typing import NoReturn

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor, nn

from syncnerf.batch import Batch
from syncnerf.errors import UserError

PATIENCE = timedelta(hours=12)
"""How long a process waits for one that decodes videos or renders a preview; a dead one is noticed at once."""

SMALL, KEPT = 1024, 64
"""Messages of at most so many numbers are kept for a while after they were sent, and so many of them."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; alone by default, and then nothing is sent or changed.

    Attributes:
        rank: number of this process, from 0.
        count: number of processes.
        pages: memory of messages that are sent again and again, by number type.
        sent: the last small messages, kept alive here. Otherwise the sending thread might have to free one while the
            interpreter is already shutting down.
    """

    rank: int = 0
    count: int = 1
    pages: dict[torch.dtype, Shaped[Tensor, " numbers"]] = field(default_factory=dict, repr=False, compare=False)
    sent: deque[Shaped[Tensor, " ..."]] = field(default_factory=lambda: deque(maxlen=KEPT), repr=False, compare=False)

    @property
    def writes(self) -> bool:
        """Whether this process writes files, shows progress and evaluates: only the first does."""
        return self.rank == 0

    def part(self, batch: Batch) -> tuple[Batch, float]:
        """This process's part of a batch, and its share of it.

        Every ``count``-th ray or view, since batches are sorted by camera and frame.

        Raises:
            UserError: the batch has fewer rays or views than there are processes.
        """
        total = len(batch)
        if total < self.count:
            raise UserError(
                f"batch_size = {batch.pixel_count}: gives a step {total} to render, fewer than the {self.count} "
                "processes; raise it"
            )
        if self.count == 1:
            return batch, 1.0
        mine = batch.apply(lambda tensor: tensor[self.rank :: self.count])
        return mine, len(mine) / total

    @contextmanager
    def summing(self, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
        """Sum the gradients over the processes, in one message per number type, while the block runs.

        The sums are sent while the block runs and added after it. The block itself may add gradients that every process
        computes alike, such as those of penalties, which need not be sent. A parameter that has a gradient only in
        other processes gets theirs.
        """
        if self.count == 1:
            yield
            return
        # All messages are sent at once: on one machine, most of an exchange is waiting for the other's answer.
        present = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.uint8)
        asked = self._send(dist.all_reduce, present, op=dist.ReduceOp.MAX, async_op=True)
        by_type: dict[torch.dtype, list[nn.Parameter]] = {}
        for parameter in parameters:
            by_type.setdefault(parameter.dtype, []).append(parameter)
        messages = []
        for group in by_type.values():
            gradients = [torch.zeros_like(item) if item.grad is None else item.grad for item in group]
            flat = self._page(group[0], sum(item.numel() for item in group))
            torch.cat([gradient.reshape(-1) for gradient in gradients], out=flat)
            messages.append((group, flat, self._send(dist.all_reduce, flat, async_op=True)))
            for parameter in group:
                parameter.grad = None
        yield
        _exchange(asked.wait)
        touched = {id(item) for item, flag in zip(parameters, present.tolist(), strict=True) if flag}
        for group, flat, message in messages:
            _exchange(message.wait)
            for parameter, sent in zip(group, flat.split([item.numel() for item in group]), strict=True):
                alike, summed = parameter.grad, sent.view_as(parameter)
                if id(parameter) in touched:
                    parameter.grad = summed if alike is None else alike.add_(summed)

    def _send(self, operation, message: Tensor, **options):
        if message.numel() <= SMALL:
            self.sent.append(message)
        return _exchange(operation, message, **options)

    def _page(self, like: Tensor, length: int) -> Tensor:
        """Memory for a message of gradients, reused in every step: allocating it costs more than sending."""
        page = self.pages.get(like.dtype)
        if page is None or len(page) != length:
            page = self.pages[like.dtype] = like.new_empty(length)
        return page

    def add_up(self, tensors: Sequence[Shaped[Tensor, " ..."]]) -> None:
        """Sum tensors over the processes, in place."""
        if self.count == 1:
            return
        for message in [self._send(dist.all_reduce, tensor, async_op=True) for tensor in tensors]:
            _exchange(message.wait)

    def mean(self, values: dict[str, float], weight: float) -> dict[str, float]:
        """Mean of numbers over the processes, by each one's weight."""
        if self.count == 1:
            return values
        totals = weight * torch.tensor([*values.values(), 1.0], dtype=torch.float64)
        self._send(dist.all_reduce, totals)
        return dict(zip(values, (totals[:-1] / totals[-1]).tolist(), strict=True))

    def largest(self, value: int) -> int:
        """The largest of the processes' numbers."""
        return self.ask_largest(lambda: value)()

    def ask_largest(self, number: Callable[[], int]) -> Callable[[], int]:
        """Start asking for the largest of the processes' numbers; calling the result waits for the answer.

        A process that trains alone just evaluates its own number then.
        """
        if self.count == 1:
            return number
        numbers = torch.tensor([number()])
        message = self._send(dist.all_reduce, numbers, op=dist.ReduceOp.MAX, async_op=True)

        def answer() -> int:
            _exchange(message.wait)
            return int(numbers)

        return answer

    @torch.no_grad()
    def share_state(self, module: nn.Module) -> None:
        """Copy the first process's parameters and buffers to all others."""
        if self.count == 1:
            return
        for tensor in chain(module.parameters(), module.buffers()):
            sent = tensor.detach().contiguous()
            self._send(dist.broadcast, sent, src=0)
            tensor.copy_(sent)


@contextmanager
def join_ranks(device: torch.device) -> Iterator[Ranks]:
    """Connect with the other processes that ``torchrun`` started, while the block runs; without it, train alone.

    Gradients travel over NCCL between GPUs and over gloo between CPUs. With GPUs, process number n of a machine takes
    GPU number n.

    Raises:
        UserError: the others cannot be reached, or there are more processes than GPUs.
    """
    ranks = environment_ranks()
    if ranks.count == 1:
        yield ranks
        return
    transport = "gloo"
    if device.type == "cuda":
        local, gpus = int(os.environ.get("LOCAL_RANK", ranks.rank)), torch.cuda.device_count()
        if device.index is not None or local >= gpus:
            raise UserError(f"process {local} of this machine has no GPU of its own ({gpus} here); use --device cuda "
                            "and as many processes as GPUs")  # fmt: skip
        torch.cuda.set_device(local)
        transport = "cpu:gloo,cuda:nccl"
    _exchange(dist.init_process_group, transport, timeout=PATIENCE)
    try:
        yield ranks
    finally:
        dist.destroy_process_group()


def leave(code: int) -> NoReturn:
    """End a process that trained for another one to write, with an exit code.

    Its interpreter is not torn down: a thread of gloo's that frees its last message just then would have to wait for an
    interpreter that is gone, and ends the process with SIGABRT instead.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def environment_ranks() -> Ranks:
    """The place that ``torchrun`` gave this process, by the variables RANK and WORLD_SIZE; alone without them."""
    if "RANK" not in os.environ:
        return Ranks()
    return Ranks(int(os.environ["RANK"]), int(os.environ.get("WORLD_SIZE", "1")))


def _exchange(operation, *arguments, **options):
    """Carry out an operation of several processes; raises UserError where another one is gone."""
    try:
        return operation(*arguments, **options)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"another process of this run cannot be reached ({reason}); see its own message") from error
