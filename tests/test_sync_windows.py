"""Windows found again: planted shifts of a smooth picture, and the kernel in C against its twin."""

import pytest
import torch

from syncnerf.sync.windows import library, moved_windows, moved_windows_torch

WIDTH, HEIGHT = 61, 47


def picture(shift: torch.Tensor) -> torch.Tensor:
    """Waves of three colours that have moved by ``shift`` (column, row), shape [1, 3, height, width]."""
    generator = torch.Generator().manual_seed(0)
    x = torch.arange(WIDTH) + 0.5 - shift[0]
    y = torch.arange(HEIGHT)[:, None] + 0.5 - shift[1]
    waves = [0.6 * torch.rand(2, generator=generator) for _ in range(3)]
    return torch.stack([120 + 60 * torch.sin(a * x + b * y) + 40 * torch.cos(b * x - a * y) for a, b in waves])[None]


@pytest.mark.parametrize("find", [moved_windows, moved_windows_torch])
def test_a_planted_shift_is_found(find):
    shift = torch.tensor([1.37, -0.82])
    places = torch.tensor([[20.3, 15.8], [33.0, 24.5], [40.9, 30.1]])
    found = find(picture(torch.zeros(2)), picture(shift), places, torch.zeros(3, 2))
    torch.testing.assert_close(found, shift.expand(3, 2), atol=0.03, rtol=0)


def test_the_kernel_is_its_twin_also_at_the_border():
    if library() is None:
        pytest.skip("no C compiler")
    generator = torch.Generator().manual_seed(1)
    before, after = (255.0 * torch.rand(1, 3, HEIGHT, WIDTH, generator=generator) for _ in range(2))
    before, after = (torch.nn.functional.avg_pool2d(one, 5, 1, 2) for one in (before, after))
    places = torch.rand(200, 2, generator=generator) * torch.tensor([WIDTH + 8.0, HEIGHT + 8.0]) - 4.0
    shifts = torch.randn(200, 2, generator=generator)
    start = shifts.clone()
    kernel, twin = moved_windows(before, after, places, shifts), moved_windows_torch(before, after, places, shifts)
    assert torch.equal(shifts, start)
    # Where nothing fits, steps of rounding's size turn others: nearly all of them are the same.
    apart = (kernel - twin).abs().amax(dim=1)
    assert apart.median() < 1e-4
    assert (apart < 0.01).float().mean() > 0.95


@pytest.mark.parametrize("find", [moved_windows, moved_windows_torch])
def test_a_flat_picture_moves_nothing(find):
    flat = torch.full((1, 3, HEIGHT, WIDTH), 80.0)
    guess = torch.tensor([[0.5, -0.25]])
    assert torch.equal(find(flat, flat, torch.tensor([[20.0, 20.0]]), guess), guess)
    assert find(flat, flat, torch.empty(0, 2), torch.empty(0, 2)).shape == (0, 2)
