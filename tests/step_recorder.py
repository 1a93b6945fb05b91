"""What CUDA graphs do, done on a CPU: operations are noted once and repeated on the same tensors, without Python.

Like CUDA it knows nothing of Python's numbers and branches, which stay as they were when it recorded, and refuses what
would have to wait for the device or to copy numbers from the host.
"""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
WAITING = {
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten._unique2, aten.unique_dim,
    aten.is_nonzero, aten.lift_fresh,
}  # fmt: skip
"""The last is how ``torch.tensor(numbers)`` looks from below."""
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


def tensors(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def storages(tree) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in tensors(tree)}


def refuse_waiting(function, arguments) -> None:
    """Raise as a CUDA stream does that is being captured."""
    packet = function.overloadpacket
    by_mask = packet in INDEXING and any(tensor.dtype == torch.bool for tensor in tensors(arguments[1]))
    if packet in WAITING or by_mask:
        raise RuntimeError(f"operation not permitted when stream is capturing: {function}")


class _Notes(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls: list[tuple] = []
        self.before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.made: set[int] = set()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options = options or {}
        refuse_waiting(function, arguments)
        self._remember_what_changes(function, arguments, options)
        result = function(*arguments, **options)
        new = storages(result) - storages((arguments, options))
        self.made |= new
        self.calls.append(_without_history((function, arguments, options, tensors(result) if new else [])))
        return result

    def _remember_what_changes(self, function, arguments, options) -> None:
        schema = function._schema.arguments
        given = dict(zip((item.name for item in schema), arguments, strict=False)) | options
        for item in schema:
            if item.alias_info is not None and item.alias_info.is_write:
                for tensor in tensors(given.get(item.name)):
                    where = tensor.untyped_storage().data_ptr()
                    if where not in self.made and where not in self.before:
                        numbers = tensor.untyped_storage().nbytes() // tensor.itemsize
                        whole = tensor.detach().as_strided((numbers,), (1,), 0)
                        self.before[where] = (whole, whole.clone())


def _without_history(call: tuple) -> tuple:
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, torch.Tensor) else leaf, call)


class StepRecorder:
    """Stands where :class:`syncnerf.training.recordings.CudaRecorder` stands on a GPU; counts what it did."""

    def __init__(self, generator: torch.Generator):
        self.generator, self.recorded, self.replayed = generator, 0, 0

    def alongside(self):
        return nullcontext()

    def record(self, work: Callable[[], dict]) -> tuple[Callable[[], None], dict]:
        state = self.generator.get_state()
        notes = _Notes()
        try:
            with notes:
                results = work()
        finally:
            # Nothing has happened yet: recording is not doing.
            for whole, values in notes.before.values():
                whole.copy_(values)
            self.generator.set_state(state)
        self.recorded += 1

        @torch.no_grad()
        def replay() -> None:
            self.replayed += 1
            for function, arguments, options, made in notes.calls:
                again = function(*arguments, **options)
                for place, value in zip(made, tensors(again), strict=True) if made else ():
                    place.copy_(value)

        return replay, results
