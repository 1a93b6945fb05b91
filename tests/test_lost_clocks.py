"""Cameras of whose clocks nothing was known: put where their pictures belong once the others have made a field."""

import math

import pytest
import torch
from wave_backend import WaveBackend, clock_of, synced_waves, trainer_of, wave_scene

from syncnerf.clock_search import ClockSearch
from syncnerf.config import HeldOutConfig, OffsetsConfig
from syncnerf.lost_clocks import _sought, find_lost, lost_cameras
from syncnerf.reckoning import Reckoner
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.ray_batches import RayBatches
from syncnerf.synced import SyncedBackend
from syncnerf.training.plan import Callbacks

PLANTED = [0.31, 0.0, -0.17, 0.83, 0.08]
"""Seconds at 10 frames per second; camera 0 is the test view, camera 1 the reference."""


@pytest.fixture
def scene(tmp_path):
    return wave_scene(tmp_path, PLANTED, frame_count=30, side=16)


def waves(scene, lost: tuple[int, ...], steps: int = 100, **settings) -> SyncedBackend:
    """The waves, with the truth known of all but some cameras, and these at their field's zero."""
    start = [math.nan if camera in lost else planted for camera, planted in enumerate(PLANTED)]
    clock = clock_of(scene, OffsetsConfig(**settings), steps, start, 0.01)
    return SyncedBackend(clock, WaveBackend(clock.range))


@pytest.mark.parametrize("lost", [(3,), (2, 3)])
@pytest.mark.parametrize("rates", ["off", "learn"])
def test_lost_cameras_are_put_where_their_pictures_belong(scene, lost, rates):
    synced = waves(scene, lost, offset_rates=rates)
    before = {name: value.clone() for name, value in synced.state_dict().items()}
    assert lost_cameras(synced.clock, scene) == list(lost)
    assert find_lost(synced, scene, HeldOutConfig()) == list(lost)
    torch.testing.assert_close(
        synced.clock.offsets()[list(lost)], torch.tensor([PLANTED[i] for i in lost]).double(), atol=2e-3, rtol=0
    )
    for name, value in before.items():
        if name in ("clock.shifts", "clock.skews"):
            kept = [camera for camera in range(len(PLANTED)) if camera not in lost]
            assert torch.equal(value[kept], synced.state_dict()[name][kept]), name
        else:
            assert torch.equal(value, synced.state_dict()[name]), name
    assert synced.clock.shifts.requires_grad
    assert find_lost(synced, scene, HeldOutConfig()) == []


def test_a_lost_reference_moves_against_all_others(scene):
    """Nothing tells the common zero of the others but its own pictures."""
    synced = waves(scene, (1,))
    with torch.no_grad():
        synced.clock.shifts[1] += 0.5
    others = synced.clock.shifts[2:].clone()
    assert find_lost(synced, scene, HeldOutConfig()) == [1]
    assert torch.equal(synced.clock.shifts[2:], others)
    offsets = synced.clock.offsets()
    torch.testing.assert_close(offsets[1:], torch.tensor(PLANTED[1:]).double(), atol=2e-3, rtol=0)


def test_what_an_early_field_has_left_off_by_half_a_frame_is_found_by_a_better_one(scene):
    synced = waves(scene, (3,))
    synced.clock.move_camera(3, PLANTED[3] + 0.06)
    assert find_lost(synced, scene, HeldOutConfig()) == [3]
    assert synced.clock.offsets()[3].item() == pytest.approx(PLANTED[3], abs=2e-3)


@pytest.mark.parametrize(("errors", "moved"), [(-0.8, []), (0.8, []), (1.2, [3])])
def test_a_camera_within_the_error_of_what_is_found_is_left_to_training(tmp_path, errors, moved):
    scene = wave_scene(tmp_path, PLANTED, frame_count=30, side=16, noise=0.2)
    synced = waves(scene, (3,))
    found = _sought(synced, scene, 3, ClockSearch(synced, scene, HeldOutConfig(), 0, [1, 2, 4]))
    stands = found.seconds + errors * found.stderr
    synced.clock.move_camera(3, stands)
    assert find_lost(synced, scene, HeldOutConfig()) == moved
    assert synced.clock.offsets()[3].item() == pytest.approx(found.seconds if moved else stands, abs=1e-12)


def test_where_the_field_tells_nothing_or_nothing_was_known_of_any_camera_none_moves(scene):
    blind = waves(scene, (3,))
    with torch.no_grad():
        blind.backend.gain.fill_(0.0)
    assert find_lost(blind, scene, HeldOutConfig()) == []
    assert blind.clock.offsets()[3].item() == 0.0
    assert lost_cameras(synced_waves(scene).clock, scene) == []


def test_the_field_that_a_lost_camera_has_made_of_its_own_is_not_asked(scene):
    """Its frames before and after all others' say nothing of when it recorded."""
    synced = waves(scene, (3,))
    synced.clock.move_camera(3, -2.9)
    synced.backend.asked.clear()
    find_lost(synced, scene, HeldOutConfig())
    asked = torch.cat(synced.backend.asked)
    assert asked.min() >= min(PLANTED[1:]) - 1e-9
    assert asked.max() <= 2.9 + max(PLANTED[i] for i in (1, 2, 4)) + 0.1


def test_training_finds_a_lost_camera_and_states_its_error(scene, tmp_path):
    steps = 300
    synced = waves(scene, (3,), steps, offset_refine_lr=0.06)
    trainer = trainer_of(scene, synced, tmp_path / "run", steps, lr=1e-12)
    reckoner = Reckoner(synced, scene, RayBatches(scene, SamplingConfig(batch_size=256)), steps)
    trainer.callbacks = Callbacks(reckoner)
    assert synced.clock.stderr()[3].isnan()
    trainer.fit()
    error = (synced.clock.offsets()[3] - PLANTED[3]).abs().item()
    assert error < 2e-3
    assert error < 4 * synced.clock.stderr()[3].item() < 0.05


def test_only_trained_cameras_are_moved(scene):
    with pytest.raises(ValueError, match="not trained"):
        waves(scene, ()).clock.move_camera(0, 0.1)
