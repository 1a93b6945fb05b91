"""Frames that lack at equal places of most files: put back where one file alone tells it too weakly."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from syncnerf.scene import Camera, load_scene
from syncnerf.sync.cadence import LIKELY, find_cadence
from syncnerf.sync.energies import motion_energies, odd_repeats, shared_period
from syncnerf.sync.energy import MotionEnergy, motion_energy
from syncnerf.sync.pulldown import EVEN_AMONG_EVEN, EVEN_AMONG_UNEVEN

PERIOD = 4
"""Intervals of the files here: every fifth frame lacks."""


@dataclass(frozen=True)
class Lights:
    """Pixels that go on and off at random, and some that climb: over two frames these alone change twice as much."""

    rising: float
    seed: int

    def film(self, count: int) -> np.ndarray:
        """Frames, uint8, shape [count, 20, 20, 3]."""
        generator = np.random.default_rng(self.seed)
        levels = 100 + 70 * generator.integers(0, 2, (count, 400))
        speed = 1 + 0.2 * np.sin(np.arange(count) / 4)
        climb = 60 + 140 * np.sin(0.2 * np.cumsum(speed)[:, None] + np.linspace(0, 3, 400)) ** 2
        levels = np.where(np.arange(400) < 400 * self.rising, climb, levels)
        # The noise floor is taken from what stands still, and most does.
        frames = np.full((count, 50, 20, 3), 60.0)
        frames[:, :20] = levels.reshape(count, 20, 20, 1)
        return frames.astype(np.uint8)

    def shortened(self, count: int, phase: int) -> np.ndarray:
        """The same with every fifth frame left out, the first of them after ``phase``."""
        return self.film(count)[np.arange(count) % (PERIOD + 1) != phase]


@pytest.mark.parametrize("phase", range(5))
def test_what_most_files_lack_is_put_back_in_one_that_shows_it_weakly(phase):
    """Planted: the pattern, and the number of frames that the film has."""
    frames = Lights(0.35, phase).shortened(90, phase)
    alone = motion_energy(frames)
    assert (alone.pace, alone.lacking) == (1, PERIOD)
    helped = motion_energy(frames, lacking=PERIOD)
    assert (helped.pace, helped.lacking) == (1 + 1 / PERIOD, PERIOD)
    assert abs(helped.values.shape[1] - 89) <= 1
    whole = motion_energy(Lights(0.35, phase).film(90), lacking=PERIOD)
    assert (whole.pace, whole.lacking) == (1, 0)


class Shelf:
    """Opens films by camera, instead of a scene's cache."""

    def __init__(self, films: dict[str, np.ndarray]):
        self.films = films

    def open(self, camera: Camera) -> np.ndarray:
        """A camera's film."""
        return self.films[camera.name]


@pytest.mark.parametrize(("shortened", "put_back"), [(3, 3), (2, 2), (1, 0), (0, 0)])
def test_a_rig_puts_back_what_half_of_it_shows(tiny_scene, shortened, put_back):
    """Each camera lacks every fifth frame from another one on, or none; one of four is not believed."""
    scene = load_scene(tiny_scene)
    films = [Lights(0.35, k).shortened(90, k) if k < shortened else Lights(0.35, k).film(72) for k in range(4)]
    cameras = tuple(replace(camera, frame_count=72, given_times=None) for camera in scene.cameras[:4])
    shelf = Shelf({camera.name: film for camera, film in zip(cameras, films, strict=True)})
    energies = motion_energies(replace(scene, cameras=cameras, frame_cache=shelf, true_offsets=None))
    assert [energy.pace for energy in energies] == [1.25] * put_back + [1.0] * (4 - put_back)


def test_half_of_the_files_must_agree():
    nothing = torch.zeros(0, dtype=torch.int64)
    energy = MotionEnergy(torch.zeros(0, 0), nothing, 1, 1, 1, torch.zeros(0).bool())

    def lacking(*periods: int) -> list[MotionEnergy]:
        return [replace(energy, lacking=period) for period in periods]

    assert shared_period(lacking(4, 4, 0, 0)) == 4
    assert shared_period(lacking(4, 4, 0, 0, 0)) == 0
    assert shared_period(lacking(5, 4, 5, 0)) == 5
    assert shared_period(lacking(0, 0, 0)) == 0


def test_what_most_files_repeats_hide_the_others_do_too():
    nothing = torch.zeros(0, dtype=torch.int64)
    energy = MotionEnergy(torch.zeros(0, 0), nothing, 1, 1, 1, torch.zeros(0).bool())
    even, film = energy, replace(energy, pace=0.8)
    stutter, slower, thinned = replace(energy, divided=0.39), replace(energy, pace=0.4), replace(energy, pace=1.25)
    assert odd_repeats([stutter, film, stutter, even]) == ([1], EVEN_AMONG_UNEVEN)
    assert odd_repeats([film, film, stutter, even, film]) == ([2], EVEN_AMONG_EVEN)
    # Films of another rate repeat other shares; a tie tells nothing, nor do lost frames.
    assert odd_repeats([stutter, slower, stutter])[0] == []
    assert odd_repeats([stutter, film, even, thinned])[0] == []
    assert odd_repeats([film, film, even])[0] == odd_repeats([])[0] == []


def test_a_frame_lost_of_five_is_not_taken_for_one_of_three():
    """Every second interval then holds a long one half of the time, which passes for a pattern of two."""
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        count = 45 + seed % 3
        motion = (5 + torch.linspace(0, 8, count).sin() + 0.1 * torch.randn(count, generator=generator)).double()
        totals = torch.where(torch.arange(count) % PERIOD == seed % PERIOD, 1.7 * motion, motion)
        everything = torch.ones(count, dtype=torch.bool)
        assert find_cadence(totals, everything).period == PERIOD
        assert find_cadence(totals, everything, LIKELY, [2]) is None
