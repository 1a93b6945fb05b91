"""What flies too fast for its frames: a spinning ball that six cameras film at times of their own."""

from dataclasses import replace

import pytest
import torch
from filmed_balls import FPS, FRAMES, OFFSETS, clock_between, filmed, standing
from spinning_ball import CELL, HULL, MIDDLE, RADIUS, SPIN, VELOCITY, picture

from syncnerf.scene import Scene
from syncnerf.starting.flying import flying_points
from syncnerf.starting.options import StartConfig
from syncnerf.starting.passing import passing_surfaces
from syncnerf.starting.start import starting_points
from syncnerf.starting.surfaces import ColouredPoints, moment_surfaces


@pytest.fixture(scope="module")
def flight(tmp_path_factory) -> Scene:
    return filmed(tmp_path_factory.mktemp("flight"), picture)


@pytest.fixture(scope="module")
def found(flight):
    # Halfway between frames, from which all cameras' offsets are whole frames away.
    moments = torch.tensor([-9.0, 0.35, 0.55, 0.65], dtype=torch.float64)
    return flying_points(flight, HULL, moments, standing(OFFSETS))


def test_what_flies_is_found_at_its_moments_sharper_than_frames_show_it(flight, found):
    assert found.times.unique().tolist() == [0.35, 0.55, 0.65]  # no camera saw the first
    carved = moment_surfaces(flight, HULL, found.times.unique(), standing(OFFSETS))
    for moment in found.times.unique():
        middle = VELOCITY * (float(moment) - MIDDLE)
        there = found.places[found.times == moment]
        apart = (there - middle).norm(dim=-1)
        assert 0.9 * RADIUS < float(apart.median()) < 1.2 * RADIUS
        # To a cell: all cameras look down on it, and hulls reach beyond where none looks from.
        assert float((there.mean(dim=0) - middle).norm()) < 3**0.5 * CELL
        blurred = (carved.places[carved.times == moment] - middle).norm(dim=-1)
        assert float((apart - RADIUS).abs().mean()) < 0.8 * float((blurred - RADIUS).abs().mean())


def test_it_is_found_with_its_velocity_and_its_spin(found):
    assert float((found.velocities.mean(dim=0) - VELOCITY).abs().max()) < 0.3
    spins = []
    for moment in found.times.unique():
        mine = found.times == moment
        arms = (found.places[mine] - found.places[mine].mean(dim=0)).double()
        own = (found.velocities[mine] - found.velocities[mine].mean(dim=0)).double()
        # own = spin x arms, by least squares.
        x, y, z = arms.unbind(-1)
        zero = torch.zeros_like(x)
        across = torch.stack([zero, z, -y, -z, zero, x, y, -x, zero], dim=-1).reshape(-1, 3)
        spins.append(torch.linalg.lstsq(across, own.reshape(-1, 1)).solution[:, 0])
    spin = torch.stack(spins).mean(dim=0)
    assert float((spin - torch.tensor([0.0, 0.0, SPIN])).abs().max()) < 0.4 * SPIN


def test_it_is_not_found_where_the_clocks_are_wrong(flight, found):
    wrong = flying_points(flight, HULL, found.times.unique(), standing(OFFSETS.flip(0)))
    assert wrong is None or len(wrong.places) < 0.5 * len(found.places)


def test_nothing_flies_where_frames_hardly_differ(flight, monkeypatch):
    slow = {index: frames[:1].repeat(FRAMES, axis=0) for index, frames in flight._frames.items()}
    monkeypatch.setattr(flight, "_frames", slow)
    assert flying_points(flight, HULL, torch.tensor([0.5], dtype=torch.float64), standing(OFFSETS)) is None


CLOCK = clock_between(0.3, 0.7, 5, lambda times: times * FPS)


def test_a_start_has_what_flies_instead_of_what_frames_show_of_it(flight):
    start = starting_points(flight, CLOCK, HULL, StartConfig())
    flies = start.velocities.isfinite().all(dim=-1)
    assert set(start.times[flies].round().tolist()) == {3.0, 5.0, 7.0}
    assert float((start.velocities[flies].mean(dim=0) * FPS - VELOCITY).abs().max()) < 0.3
    carved = moment_surfaces(flight, HULL, torch.linspace(0.3, 0.7, 5, dtype=torch.float64), standing(OFFSETS))
    left = start.times.isfinite() & ~flies
    assert int(left.sum()) < 0.2 * int(carved.times.isfinite().sum())


def test_a_start_in_a_room_has_what_flies_too(flight, monkeypatch):
    room = replace(flight, background=None)
    room._frames.update(flight._frames)
    wall = torch.tensor([[1.0, 1.0, -1.0]])
    still = ColouredPoints(wall, torch.full((1,), torch.nan, dtype=torch.float64), torch.zeros(1, 3))
    monkeypatch.setattr("syncnerf.starting.start.can_be_compared", lambda scene: True)
    monkeypatch.setattr("syncnerf.starting.start.still_points", lambda scene, moment: still)
    monkeypatch.setattr("syncnerf.starting.passing.CELLS", 48)  # as wide as a pixel, about
    start = starting_points(room, CLOCK, None, StartConfig())
    flies = start.velocities.isfinite().all(dim=-1)
    carved = passing_surfaces(room, torch.linspace(0.3, 0.7, 5, dtype=torch.float64), standing(OFFSETS))
    assert int(flies.sum()) > 0.8 * len(carved.places)
    assert float((start.velocities[flies].mean(dim=0) * FPS - VELOCITY).norm()) < 0.15 * float(VELOCITY.norm())
    middles = VELOCITY * (start.times[flies, None] / FPS - MIDDLE)
    assert float((start.places[flies] - middles).norm(dim=-1).median()) < 1.2 * RADIUS
