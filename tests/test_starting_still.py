"""Points of the still scene from what stereo sees, whose distances are planted here."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from filmed_balls import FRAMES, SIDE, camera

from syncnerf.scene import Scene
from syncnerf.scene.still_views import StillView
from syncnerf.starting import still_points as module
from syncnerf.starting.still_points import still_points

SMALL = SIDE // 2
"""Pixels along a side of the comparison."""
RADIUS = 0.5
"""Of a ball about the origin, all that is to be seen."""
SWAYING = slice(14, 18)
"""Rows and columns of the comparison that change in every other frame."""


def view_of(index: int) -> StillView:
    """A ball whose colour is that of its place, as a camera sees it."""
    rays = camera(index).resized(SMALL, SMALL).all_rays(0.0, 1.0)
    along = -(rays.origins * rays.directions).sum(dim=-1)
    beside = rays.origins.square().sum(dim=-1) - along.square()
    distances = (along - (RADIUS**2 - beside).clamp_min(0).sqrt()).where(beside < RADIUS**2, torch.nan)
    colours = 0.5 + 0.5 * (rays.origins + distances[:, None] * rays.directions) / RADIUS
    large = (255 * colours.nan_to_num(1.0)).round().byte().reshape(SMALL, 1, SMALL, 1, 3)
    return StillView(large.expand(-1, 2, -1, 2, -1).reshape(SIDE, SIDE, 3), distances.reshape(SMALL, SMALL).float())


@pytest.fixture
def scene(monkeypatch) -> Scene:
    views = {index: view_of(index) for index in (1, 3, 5)}
    monkeypatch.setattr(module, "still_views", lambda scene: views)
    frames = {index: np.stack([view.colours.numpy()] * FRAMES) for index, view in views.items()}
    swaying = slice(2 * SWAYING.start, 2 * SWAYING.stop)
    frames[3][::2, swaying, swaying] ^= 128
    return Mock(spec=Scene, cameras=[camera(index) for index in range(6)], frames=lambda index: frames[index])


def test_they_lie_where_stereo_sees_something_in_its_colours(scene):
    points = still_points(scene, 0.5)
    known = sum(int(view_of(index).distances.isfinite().sum()) for index in (1, 3, 5))
    assert len(points.places) == known > 200
    torch.testing.assert_close(points.places.norm(dim=1), torch.full((known,), RADIUS), atol=1e-4, rtol=0)
    torch.testing.assert_close(points.colours, 0.5 + 0.5 * points.places / RADIUS, atol=0.01, rtol=0)


def test_what_sways_has_a_moment(scene):
    points = still_points(scene, 0.5)
    moving = points.times.isfinite()
    side = SWAYING.stop - SWAYING.start
    assert side**2 <= int(moving.sum()) <= (side + 2) ** 2
    assert set(points.times[moving].tolist()) == {0.5}
    pixel, _, _ = scene.cameras[3].resized(SMALL, SMALL).pixels_of(points.places[moving].double() * 0.999)
    assert set((pixel // SMALL).tolist()) <= set(range(SWAYING.start - 1, SWAYING.stop + 1))


def test_they_are_not_too_many(scene, monkeypatch):
    monkeypatch.setattr(module, "MOST_POINTS", 50)
    assert len(still_points(scene, 0.5).places) == 50
