"""Packed samples and the way back to their rays, against loops; budgets that know their length beforehand."""

import pytest
import torch
from step_recorder import refuse_waiting
from torch.utils._python_dispatch import TorchDispatchMode

from syncnerf.rendering.selection import SampleBudget, Selection

RAYS, SAMPLES = 7, 5


def some_mask(share: float = 0.4) -> torch.Tensor:
    return torch.rand(RAYS, SAMPLES, generator=torch.Generator().manual_seed(0)) < share


def by_budget(mask: torch.Tensor, limit: int | None = None) -> Selection:
    budget = SampleBudget()
    budget.limit = limit
    return budget.select(mask)


KINDS = {
    "all": lambda mask: Selection(RAYS, SAMPLES),
    "masked": lambda mask: Selection(RAYS, SAMPLES, mask=mask, fixed=True),
    "marked": Selection.marked,
    "budget": by_budget,
    "roomy": lambda mask: by_budget(mask, int(mask.sum()) + 3),
    "exact": lambda mask: by_budget(mask, int(mask.sum())),
}


@pytest.mark.parametrize("kind", KINDS)
def test_values_find_their_rays(kind):
    """Each selected sample has its own place's values; what is not selected is zero; sums are those of the rays."""
    mask = some_mask() if kind != "all" else torch.ones(RAYS, SAMPLES, dtype=torch.bool)
    selection = KINDS[kind](mask)
    values = torch.arange(1.0, RAYS * SAMPLES + 1).reshape(RAYS, SAMPLES)
    of_rays = torch.rand(RAYS, 3)
    taken, rows, ray = selection.take(values), selection.of_rays(of_rays), selection.ray(values.device)
    assert len(taken) == len(rows) == len(ray)
    if kind == "marked":
        assert len(taken) == mask.sum()
    counted = 0
    for value, row, index in zip(taken, rows, ray, strict=True):
        assert torch.equal(row, of_rays[index])
        if value != 0 and (kind == "all" or mask.reshape(-1)[int(value) - 1]):
            assert index == (int(value) - 1) // SAMPLES
            counted += 1
    assert counted == mask.sum()
    # A field answers fillers too, with whatever; only their weight, which is 0, keeps them out of the sums.
    answers = torch.where(taken == 0, 99.0, taken)
    assert torch.equal(selection.spread(answers), torch.where(mask, values, 0.0))
    weights = selection.take(torch.where(mask, 1.0, 0.0))
    sums = selection.sum_rays((weights * answers)[:, None].expand(-1, 2))
    torch.testing.assert_close(sums, torch.where(mask, values, 0.0).sum(dim=1)[:, None].expand(-1, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_go_the_same_way(kind):
    mask = some_mask() if kind != "all" else torch.ones(RAYS, SAMPLES, dtype=torch.bool)
    selection = KINDS[kind](mask)
    values = torch.rand(RAYS, SAMPLES, dtype=torch.float64, requires_grad=True)
    of_rays = torch.rand(RAYS, 2, dtype=torch.float64, requires_grad=True)

    def through(values, of_rays):
        asked = selection.take(values) * selection.of_rays(of_rays).prod(dim=1)
        return selection.spread(asked), selection.sum_rays(selection.take(selection.spread(asked))[:, None])

    assert torch.autograd.gradcheck(through, (values, of_rays))


def test_among_selects_within_a_selection():
    mask = some_mask()
    values = torch.rand(RAYS, SAMPLES)
    for selection in (Selection.marked(mask), Selection(RAYS, SAMPLES)):
        taken = selection.take(values)
        smaller, places = selection.among(taken > 0.5)
        assert torch.equal(smaller.take(values), taken[places])
        assert torch.equal(smaller.take(values), taken[taken > 0.5])


def test_a_budget_too_small_leaves_out_the_last_samples_and_says_so():
    mask = torch.rand(60, 100, generator=torch.Generator().manual_seed(1)) < 0.5
    marked = int(mask.sum())
    budget = SampleBudget()
    budget.limit = marked - 10
    selection = budget.select(mask)
    assert len(selection.flat) == marked - 10
    assert torch.equal(selection.flat, mask.reshape(-1).nonzero()[: marked - 10, 0])
    assert budget.adjust() == 10
    assert torch.equal(budget.select(mask).spread(torch.ones(budget.limit)), mask.float())
    assert budget.adjust() == 0


def test_a_budget_follows_what_was_needed_but_not_every_whim():
    budget = SampleBudget()
    limits = []
    for needed in (4000, 3900, 4200, 6000, 5000, 3100, 1300, 1400, 0):
        mask = torch.arange(8000).reshape(80, 100) < needed
        for _ in range(2):
            budget.select(mask)
        missing = budget.adjust()
        assert missing == (max(0, needed - limits[-1]) if limits else 0)
        limits.append(budget.limit)
    assert limits == [6144, 6144, 6144, 6144, 6144, 6144, 2048, 2048, 768]
    assert int(budget.most) == 0
    assert "most" not in budget.state_dict()


def test_a_budget_never_waits_for_the_device():
    class Refusing(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            refuse_waiting(function, arguments)
            return function(*arguments, **(options or {}))

    mask = some_mask()
    with Refusing():
        by_budget(mask, 8)
        with pytest.raises(RuntimeError, match="nonzero"):
            Selection.marked(mask)
