"""Motion energy: what moves counts, what flickers does not."""

import numpy as np
import pytest
import torch
from textured_videos import textured_video

from syncnerf.sync.energy import motion_energy
from syncnerf.sync.flicker import frame_gains
from syncnerf.sync.frame_samples import PIECE_BYTES, of_each_frame, sampled_pixels


def test_still_video_has_no_energy():
    video = np.repeat(textured_video(1), 10, axis=0)
    energy = motion_energy(video)
    assert len(energy.pixels) == 0
    assert energy.values.shape == (0, 9)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_videos_of_a_few_frames_have_the_energy_they_can(count):
    energy = motion_energy(textured_video(count))
    assert energy.values.shape == (len(energy.pixels), count - 1)
    assert energy.informative.shape == (count - 1,)
    assert (len(energy.pixels) > 0) == (count > 1)


def test_energy_is_the_absolute_difference_less_a_floor():
    video = textured_video()
    energy = motion_energy(video)
    difference = np.abs(video[1:].astype(int) - video[:-1]).sum(-1)
    expected = np.clip(difference - 8, 0, None).reshape(len(difference), -1)
    full = torch.zeros(expected.shape[1], expected.shape[0])
    full[energy.pixels] = energy.values.float()
    np.testing.assert_allclose(full.numpy().T, expected, atol=0.5)  # stored in half precision


def test_energy_stays_where_the_motion_is():
    energy = motion_energy(textured_video())
    x, y = energy.pixel_centres.unbind(-1)
    assert y.min() >= 20.5
    assert y.max() <= 33.5
    assert x.min() >= 10.5
    assert x.max() <= 47.5


def test_large_frames_are_averaged_down():
    video = np.repeat(np.repeat(textured_video(6), 6, axis=1), 6, axis=2)
    energy = motion_energy(video)
    assert energy.pool == 3
    assert (energy.width, energy.height) == (160, 120)
    small = motion_energy(textured_video(6))
    total = float(energy.values.float().sum()) * 9
    assert total == pytest.approx(float(small.values.float().sum()) * 36, rel=1e-2)


def test_no_gain_without_flicker():
    assert frame_gains(textured_video()) is None


def test_gains_are_those_of_the_flicker():
    video = textured_video()
    truth = 1 + 0.15 * np.sin(np.arange(24) * 1.7)
    flickering = np.clip(video * truth[:, None, None, None], 0, 255).round().astype(np.uint8)
    gains = frame_gains(flickering)
    assert gains is not None
    ratio = gains.numpy() / truth
    np.testing.assert_allclose(ratio / ratio.mean(), 1.0, atol=0.01)


def test_a_white_wall_tells_the_flicker_while_it_is_dimmed():
    """All else moves and agrees on nothing; what is clipped tells nothing."""
    generator = np.random.default_rng(1)
    video = np.full((24, 60, 80, 3), 255)
    for frame in range(24):
        video[frame, 20:40, 20:60] = generator.integers(40, 200, (20, 40, 3))
    truth = 0.9 + 0.05 * np.sin(np.arange(24) * 1.7)
    truth[::6] = 1.1
    gains = frame_gains(np.clip(video * truth[:, None, None, None], 0, 255).round().astype(np.uint8))
    assert gains is not None
    dimmed = (truth[1:] < 1) & (truth[:-1] < 1)
    np.testing.assert_allclose(np.diff(np.log(gains.numpy()))[dimmed], np.diff(np.log(truth))[dimmed], atol=0.005)


def test_quarters_in_which_only_motion_is_not_clipped_do_not_hide_flicker():
    """Above, a white wall that is clipped most of the time, and things before it; below, what stands still."""
    generator = np.random.default_rng(3)
    video = np.full((24, 60, 80, 3), 255)
    video[:, 30:] = generator.integers(40, 200, (30, 80, 3))
    for frame in range(24):
        for column in (5, 45):
            light = generator.uniform(0.6, 1.2)
            video[frame, 5:25, column : column + 30] = light * generator.integers(90, 130, (20, 30, 3))
    truth = 1.06 + 0.05 * np.sin(np.arange(24) * 2.1)
    gains = frame_gains(np.clip(video * truth[:, None, None, None], 0, 255).round().astype(np.uint8))
    assert gains is not None
    np.testing.assert_allclose(np.diff(np.log(gains.numpy())), np.diff(np.log(truth)), atol=0.005)


@pytest.mark.parametrize("shape", [(5, 1, 40, 3), (5, 40, 1, 3), (2, 40, 40, 3)])
def test_too_little_to_see_flicker_in(shape):
    assert frame_gains(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)) is None


def test_motion_in_each_quarter_is_no_flicker():
    generator = np.random.default_rng(2)
    video = np.full((24, 60, 80, 3), 255)
    for frame in range(24):
        for row, column in ((5, 5), (5, 45), (35, 5), (35, 45)):
            video[frame, row : row + 20, column : column + 30] = generator.integers(40, 240, (20, 30, 3))
    assert frame_gains(video.astype(np.uint8)) is None


def test_flicker_leaves_the_energy_where_it_was():
    video = textured_video()
    truth = 1 + 0.15 * np.sin(np.arange(24) * 1.7)
    flickering = np.clip(video * truth[:, None, None, None], 0, 255).round().astype(np.uint8)
    plain, corrected = motion_energy(video), motion_energy(flickering)

    def total(energy):
        return energy.values.float().sum(0)

    relative = (total(corrected) - total(plain)).abs() / total(plain)
    assert float(relative.max()) < 0.15
    # Without the correction the whole image would light up.
    uncorrected = np.abs(flickering[1:].astype(int) - flickering[:-1]).sum()
    assert uncorrected > 3 * float(total(plain).sum())


def test_long_videos_are_looked_at_in_pieces():
    """All of a long video's sampled pixels as floats, and what is computed of them, would be hundreds of megabytes."""
    frames = np.random.default_rng(4).integers(0, 256, (300, 90, 120, 3), dtype=np.uint8)
    pixels = sampled_pixels(frames, samples=1200)
    np.testing.assert_array_equal(pixels.numpy(), frames[:, ::3, ::3])
    seen = []

    def brightest(part: torch.Tensor) -> torch.Tensor:
        seen.append(part.numel() * part.element_size())
        return part.amax((1, 2, 3))

    found = of_each_frame(pixels, brightest)
    np.testing.assert_array_equal(found.numpy(), frames[:, ::3, ::3].max((1, 2, 3)).astype(np.float32))
    assert max(seen) <= PIECE_BYTES
    assert len(seen) > 1
