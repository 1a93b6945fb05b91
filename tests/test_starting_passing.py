"""What passes before a scene whose background nobody names: the red ball of the tests of starts, not the still one."""

from dataclasses import replace

import pytest
import torch
from test_starting import OFFSETS, RADIUS, ball_place, balls, standing  # noqa: F401

from syncnerf.scene import Scene
from syncnerf.starting.passing import passing_surfaces

MOMENTS = torch.tensor([-9.0, 0.35, 0.55], dtype=torch.float64)


@pytest.fixture(scope="module")
def room(balls) -> Scene:  # noqa: F811
    """The same without its background."""
    unknown = replace(balls, background=None)
    unknown._frames.update(balls._frames)
    return unknown


def test_surfaces_of_what_passes_are_found_at_its_moments(room):
    found = passing_surfaces(room, MOMENTS, standing(OFFSETS))
    assert found.times.unique().tolist() == [0.35, 0.55]  # no camera saw the first
    apart = (found.places - ball_place(found.times)).norm(dim=-1)
    assert 0.7 * RADIUS < float(apart.median()) < 1.2 * RADIUS
    assert float(apart.max()) < 2.0 * RADIUS  # nothing of the ball that stands still
    red = torch.tensor([200.0, 30.0, 30.0]) / 255
    # A camera that looks along its way has the ball in its median, and takes what is beside it for what passes.
    assert float(((found.colours - red).abs().amax(dim=1) < 1e-5).float().mean()) > 0.9


def test_with_wrong_clocks_little_is_found(room):
    right, wrong = (passing_surfaces(room, MOMENTS, standing(offsets)) for offsets in (OFFSETS, OFFSETS.flip(0)))
    assert len(wrong.places) < 0.5 * len(right.places)


def test_nothing_passes_where_nothing_moves(room, monkeypatch):
    still = {index: frames[:1].repeat(len(frames), axis=0) for index, frames in room._frames.items()}
    monkeypatch.setattr(room, "_frames", still)
    assert len(passing_surfaces(room, MOMENTS, standing(OFFSETS)).places) == 0
