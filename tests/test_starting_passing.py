"""What passes before a scene whose background nobody names: the red ball, not the still one."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from filmed_balls import OFFSETS, RADIUS, SIDE, ball_place, filmed, picture, standing

from syncnerf.scene import Camera, Scene
from syncnerf.starting.passing import passing_surfaces

MOMENTS = torch.tensor([-9.0, 0.35, 0.55], dtype=torch.float64)


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Scene:
    """What the six cameras film, the background's colour untold."""
    balls = filmed(tmp_path_factory.mktemp("balls"), picture)
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


def test_what_keeps_within_its_own_width_is_found_whole(tmp_path):
    """Its pixels have no usual colours: they tell nothing, and must not count against it."""

    def place(time: float) -> torch.Tensor:
        return torch.tensor([0.5, 0.3, 0.2]) + RADIUS * torch.tensor([math.sin(9.1 * time), math.cos(6.7 * time), 0.0])

    def picture(view: Camera, time: float) -> np.ndarray:
        rays = view.all_rays(0.1, 10.0)
        towards = place(time).double() - rays.origins
        along = (towards * rays.directions).sum(dim=-1)
        hit = towards.square().sum(dim=-1) - along.square() < RADIUS**2
        floor = (40 + 20 * (rays.directions * 9).sin()).byte()
        stripes = (120 + 80 * torch.sin(30 * (rays.directions + time))).byte()
        return torch.where(hit[:, None], stripes, floor).reshape(SIDE, SIDE, 3).numpy()

    white = filmed(tmp_path, picture)
    scene = replace(white, background=None)
    scene._frames.update(white._frames)
    found = passing_surfaces(scene, MOMENTS[1:2], standing(OFFSETS))
    around = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    surface = place(float(MOMENTS[1])) + RADIUS * around
    near = torch.cdist(surface, found.places).amin(dim=1) < 0.5 * RADIUS
    assert float(near.float().mean()) > 0.95
