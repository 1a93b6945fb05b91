"""What cameras' clocks share along their places: the directions, and that they are learned as fast as the others."""


import pytest
import torch
from moving_spheres import sphere_scene

from syncnerf.assembly import make_clock
from syncnerf.camera_times import ClockSpan
from syncnerf.clock import Clock
from syncnerf.clock_modes import place_modes
from syncnerf.config import OffsetsConfig
from syncnerf.options import parse

CAMERAS, TEST = 17, 16
"""Cameras, and the one that is not trained."""


def places(seed: int = 0) -> torch.Tensor:
    return 3.0 + torch.randn(CAMERAS, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trained() -> torch.Tensor:
    return torch.arange(CAMERAS) != TEST


def test_modes_are_all_linear_functions_of_the_places_but_common_shifts():
    where, modes = places(), place_modes(places(), trained())
    torch.testing.assert_close(modes.T @ modes, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(modes.sum(dim=0), torch.zeros(3, dtype=torch.float64))
    assert (modes[TEST] == 0.0).all()
    for slope in torch.eye(3, dtype=torch.float64):
        delays = where[:TEST] @ slope
        delays = delays - delays.mean()
        torch.testing.assert_close(modes[:TEST] @ (modes[:TEST].T @ delays), delays)


def test_a_row_of_cameras_has_one_mode_and_a_single_place_none():
    row = torch.linspace(0.0, 1.0, CAMERAS, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2.0, -1.0]).double()
    assert place_modes(row, trained()).shape == (CAMERAS, 1)
    assert place_modes(torch.ones(CAMERAS, 3, dtype=torch.float64), trained()).shape == (CAMERAS, 0)


def learned(known_places: bool, wrong: torch.Tensor, steps: int, last_rate: float = 1e-3) -> torch.Tensor:
    """Shifts after so many steps of Adam from 0 towards ``wrong``; a camera's slopes are nearly all noise."""
    last = torch.ones(CAMERAS, dtype=torch.float64)
    where = places() if known_places else None
    clock = Clock(OffsetsConfig(), ClockSpan(0 * last, last, 0.1), 0, steps, untrained=(TEST,), places=where)
    optimizer = torch.optim.Adam([clock.shifts], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, last_rate)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        noise = torch.randn(CAMERAS, generator=generator, dtype=torch.float64)
        slope = (clock.shifts.detach() - wrong) / 0.05
        clock.shifts.grad = torch.where(clock.is_trained, 0.1 * slope + noise, 0.0)
        clock.after_backward()
        optimizer.step()
        schedule.step()
    return clock.shifts.detach()


def test_what_goes_with_the_places_is_found_several_times_as_fast():
    mode = place_modes(places(), trained())[:, 0]
    plain, hastened = (mode @ learned(known, 0.2 * mode, 150) for known in (False, True))
    assert float(plain) < 0.05
    assert float(hastened) > 2.5 * float(plain)


def test_it_settles_where_all_slopes_vanish():
    mode = place_modes(places(), trained())[:, 0]
    settled = learned(True, 0.2 * mode, 4000, last_rate=0.0)
    assert float(mode @ settled) == pytest.approx(0.2, abs=0.02)
    assert settled[TEST] == 0.0


def test_what_does_not_is_found_as_before():
    modes = place_modes(places(), trained())
    other = torch.where(trained(), torch.randn(CAMERAS, generator=torch.Generator().manual_seed(7)).double(), 0.0)
    other = other - torch.where(trained(), other[:TEST].mean(), 0.0)
    other = other - modes @ (modes.T @ other)
    other = 0.2 * other / other.norm()
    plain, hastened = (float(other @ learned(known, other, 150)) for known in (False, True))
    assert hastened == pytest.approx(plain, rel=0.15)


def test_a_training_knows_where_its_cameras_stand(tmp_path):
    scene = sphere_scene(tmp_path, [0.0, 0.1, -0.1, 0.2, 0.05, 0.0], frames=2, size=(16, 16))
    modes, train = make_clock(parse(["--backend=kplanes"]), scene).modes, list(scene.train)
    eastward = torch.stack([camera.pose(0)[0, 3].double() for camera in scene.cameras])[train]
    eastward = eastward - eastward.mean()
    torch.testing.assert_close(modes[train] @ (modes[train].T @ eastward), eastward)
    assert 0 < modes.shape[1] < len(train) - 1
    assert (modes[list(scene.test)] == 0.0).all()
