"""Which of the samples along rays a field is asked at, and the way back to the rays.

Fields are asked at packed samples: one list, without those that lie in empty space. How many those are only the device
knows; a host that wants to know has to wait for it. :meth:`Selection.marked` waits, which on a CPU costs nothing.
:class:`SampleBudget` does not: its lists have a length that was set before, so that a step's shapes are known without
looking, and the step can be recorded as a CUDA graph.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor, nn


class Selection:
    """M of the samples of N rays with S samples each.

    Attributes:
        flat: their places in the flattened [N, S], ascending, int64, shape [M]; ``N * S`` marks a filler, whose values
            are dropped. None for all samples.
        mask: with ``flat`` None, samples whose values count, bool, shape [N, S]; None for all.
        fixed: M was known beforehand, and what is computed from these samples must keep that: no list of fewer.
    """

    def __init__(
        self,
        rays: int,
        samples: int,
        flat: Int64[Tensor, " M"] | None = None,
        mask: Bool[Tensor, "N S"] | None = None,
        fixed: bool = False,
    ):
        self.rays, self.samples = rays, samples
        self.flat, self.mask, self.fixed = flat, mask, fixed

    @classmethod
    def marked(cls, mask: Bool[Tensor, "N S"]) -> Selection:
        """The marked samples of [N, S], as many as there are."""
        return cls(*mask.shape, mask.reshape(-1).nonzero()[:, 0])

    def among(self, chosen: Bool[Tensor, " M"]) -> tuple[Selection, Int64[Tensor, " K"]]:
        """Those of the selected samples that a bool [M] marks, and their places in the list, int64."""
        places = chosen.nonzero()[:, 0]
        flat = places if self.flat is None else self.flat.index_select(0, places)
        return Selection(self.rays, self.samples, flat), places

    @property
    def places(self) -> Int64[Tensor, " M"] | None:
        """The places again, a filler's at the last sample instead of beyond it."""
        return None if self.flat is None else self.flat.clamp(max=self.rays * self.samples - 1)

    def ray(self, device: torch.device) -> Int64[Tensor, " M"]:
        """Each selected sample's ray, int64, shape [M]."""
        if self.flat is None:
            return torch.arange(self.rays, device=device)[:, None].expand(-1, self.samples).reshape(-1)
        return self.places // self.samples

    def of_rays(self, values: Shaped[Tensor, " N *rest"]) -> Shaped[Tensor, " M *rest"]:
        """Each selected sample's row of its ray's values [N, ...], shape [M, ...]."""
        if self.flat is None:
            expanded = values[:, None].expand(-1, self.samples, *values.shape[1:])
            return expanded.reshape(-1, *values.shape[1:])
        # index_select, here and below: the backward pass of plain indexing is many times slower on a CPU.
        return values.index_select(0, self.ray(values.device))

    def take(self, values: Shaped[Tensor, "N S"]) -> Shaped[Tensor, " M"]:
        """The selected ones of values [N, S], shape [M]; a filler's is 0."""
        flat = values.reshape(-1)
        if self.flat is None:
            return flat
        return torch.nn.functional.pad(flat, (0, 1)).index_select(0, self.flat)

    def spread(self, values: Shaped[Tensor, " M"]) -> Shaped[Tensor, "N S"]:
        """Values [M] at their places in [N, S], zero elsewhere."""
        if self.flat is None:
            whole = values.reshape(self.rays, self.samples)
            return whole if self.mask is None else torch.where(self.mask, whole, 0.0)
        whole = values.new_zeros(self.rays * self.samples + 1).index_put((self.flat,), values)
        return whole[:-1].reshape(self.rays, self.samples)

    def sum_rays(self, values: Shaped[Tensor, "M C"]) -> Shaped[Tensor, "N C"]:
        """Sums over each ray of values [M, C], a filler's being 0; shape [N, C]."""
        if self.flat is None:
            return values.reshape(self.rays, self.samples, -1).sum(dim=1)
        return values.new_zeros(self.rays, values.shape[1]).index_add(0, self.ray(values.device), values)


class SampleBudget(nn.Module):
    """Selections of a length that is known beforehand, for devices that should not be waited for.

    The length follows what was needed, but only when asked (:meth:`adjust`), between steps. Where more samples are
    marked than the list has room for, the last rays' are missing in that step: room is left for that to be rare.
    """

    def __init__(self) -> None:
        super().__init__()
        self.limit: int | None = None
        # Not in the checkpoint: a run that continues measures again.
        self.register_buffer("most", torch.zeros((), dtype=torch.int64), persistent=False)

    def select(self, mask: Bool[Tensor, "N S"]) -> Selection:
        """The marked samples of [N, S] and fillers, or the first of them, :attr:`limit` in all (None: N * S)."""
        marked = mask.reshape(-1)
        rank = marked.cumsum(0)
        torch.maximum(self.most, rank[-1], out=self.most)
        room = len(marked) if self.limit is None else min(self.limit, len(marked))
        # Each marked sample's place goes where its rank says, everything else to one entry too many.
        target = torch.where(marked & (rank <= room), rank - 1, room)
        flat = rank.new_full((room + 1,), len(marked))
        flat.scatter_(0, target, torch.arange(len(marked), device=mask.device))
        return Selection(*mask.shape, flat[:-1], fixed=True)

    def adjust(self) -> int:
        """Set the length by what was needed since the last time, and return how many samples were missing at most."""
        needed = int(self.most)
        self.most.zero_()
        missing = 0 if self.limit is None else max(0, needed - self.limit)
        wanted = _room(needed)
        # Every new length costs a new recording: only a clear change is worth one.
        if self.limit is None or missing or wanted <= self.limit // 2:
            self.limit = wanted
        return missing


def _room(needed: int) -> int:
    """A length for about so many: a quarter more, rounded up to 1 or 1.5 times a power of two."""
    power = 2 ** max(10, math.ceil(math.log2(max(1.25 * needed, 1.0))))
    return 3 * power // 4 if 1.25 * needed <= 3 * power // 4 else power
