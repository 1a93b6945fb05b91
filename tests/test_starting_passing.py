"""What passes before a scene whose background nobody names: the red ball of the tests of starts, not the still one."""

from dataclasses import replace

import pytest
import torch
from test_starting import OFFSETS, RADIUS, ball_place, balls  # noqa: F401

from syncnerf.scene import Scene
from syncnerf.starting import passing
from syncnerf.starting.passing import passing_surfaces

MOMENTS = torch.tensor([-9.0, 0.35, 0.55], dtype=torch.float64)


@pytest.fixture(scope="module")
def room(balls) -> Scene:  # noqa: F811
    """The same without its background."""
    unknown = replace(balls, background=None)
    unknown._frames.update(balls._frames)
    return unknown


def test_surfaces_of_what_passes_are_found_at_its_moments(room):
    found = passing_surfaces(room, MOMENTS, OFFSETS)
    assert found.times.unique().tolist() == [0.35, 0.55]  # no camera saw the first
    apart = (found.places - ball_place(found.times)).norm(dim=-1)
    assert 0.7 * RADIUS < float(apart.median()) < 1.2 * RADIUS
    assert float(apart.max()) < 2.0 * RADIUS  # nothing of the ball that stands still
    red = torch.tensor([200.0, 30.0, 30.0]) / 255
    # A camera that looks along its way has the ball in its median, and takes what is beside it for what passes.
    assert float(((found.colours - red).abs().amax(dim=1) < 1e-5).float().mean()) > 0.9


def test_with_wrong_clocks_little_is_found(room):
    right, wrong = (passing_surfaces(room, MOMENTS, offsets) for offsets in (OFFSETS, OFFSETS.flip(0)))
    assert len(wrong.places) < 0.5 * len(right.places)


def test_nothing_passes_where_nothing_moves(room, monkeypatch):
    still = {index: frames[:1].repeat(len(frames), axis=0) for index, frames in room._frames.items()}
    monkeypatch.setattr(room, "_frames", still)
    assert len(passing_surfaces(room, MOMENTS, OFFSETS).places) == 0


def test_cells_are_about_a_pixel_wide_and_lone_ones_do_not_count(room):
    """In a room many times as wide as the ball, too."""
    wide = replace(room, bounds=6.0 * torch.tensor([[-1.0] * 3, [1.0] * 3]))
    wide._frames.update(room._frames)
    found = passing_surfaces(wide, MOMENTS[1:2], OFFSETS)
    apart = torch.cdist(found.places, found.places).fill_diagonal_(torch.inf).amin(dim=1)
    pixel = 4.0 / room.cameras[0].intrinsics.focal_x
    assert float(apart.median()) == pytest.approx(pixel, rel=0.1)
    cells = torch.tensor([[0.1, 0.2, 0.3], [0.12, 0.21, 0.31], [0.14, 0.22, 0.33], [0.9, 0.1, 0.1]])
    assert passing._together(cells, torch.full((3,), 0.5)).tolist() == [True, True, True, False]
