"""Own times against the clock that they read backwards."""

import torch

from syncnerf.camera_times import CameraTimes, ClockSpan
from syncnerf.starting.own_times import OwnTimes


def test_own_times_undo_the_clock():
    """Frame times of every camera, corrected and asked for again; of the reference they are the scene's own."""
    span = ClockSpan(torch.zeros(4).double(), torch.tensor([5.0, 20, 7, 20]).double(), 1 / 30)
    offsets, rates = torch.tensor([0.3, 0, -2, 1]).double(), torch.tensor([1e-2, 0, -3e-4, 2e-4]).double()
    clock = CameraTimes(span, 1, (3,), offsets, rates, torch.zeros(4).double(), ())
    clock.range.copy_(torch.tensor([-3.0, 25]))
    own, moments = torch.linspace(0, 20, 7).double(), torch.linspace(-3, 25, 9).double()
    own_times = OwnTimes.of(clock)
    for camera in range(4):
        coordinates = clock(torch.full((7,), camera), own)
        scene_times = -3.0 + 14.0 * (coordinates + 1.0)
        torch.testing.assert_close(own_times(camera, scene_times), own)
        assert own_times(camera, float(scene_times[3])) == float(own_times(camera, scene_times)[3])
    torch.testing.assert_close(own_times(1, moments), moments)
