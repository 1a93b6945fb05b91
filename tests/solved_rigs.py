"""Four cameras as a synchronisation has them solved: offsets, and landscapes with a peak at the true lag."""

import torch

from syncnerf.sync.comparison import Comparison
from syncnerf.sync.landscape import Landscape
from syncnerf.sync.result import PairLag, SyncResult

STEP = 1 / 30
TRUTH = torch.tensor([0.0, 0.2, -0.1, 0.05], dtype=torch.float64)


def landscape(first: int, second: int, rivals: dict[int, float] | None = None, frames: int = 90) -> Landscape:
    """A peak of height 0.6 at the true lag over noise, and others some frames beside it."""
    shifts = torch.arange(-frames // 2, frames // 2 + 1)
    generator = torch.Generator().manual_seed(first * 10 + second)
    values = 0.03 * torch.randn(len(shifts), generator=generator).double()
    for beside, height in {0: 1.0, **(rivals or {})}.items():
        place = float(TRUTH[first] - TRUTH[second]) / STEP + beside
        values += 0.6 * height * torch.exp(-(((shifts - place) / 1.5) ** 2))
    return Landscape(first, second, shifts.double() * STEP, values, frames - shifts.abs())


def solved(pairs: list[PairLag], offsets: torch.Tensor = TRUTH) -> SyncResult:
    return SyncResult(list("abcd"), 0, "epipolar", offsets, torch.full((4,), 1e-3, dtype=torch.float64), pairs, [])


def all_pairs(rivals: dict[int, float] | None = None) -> list[Comparison]:
    lands = [landscape(i, j, rivals) for i in range(4) for j in range(i + 1, 4)]
    return [Comparison(land.first, land.second, land, None, "", whole=land) for land in lands]
