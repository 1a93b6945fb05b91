"""Videos that repeat themselves are told from motion that is nearly periodic, from stillness and from hanging."""

import numpy as np
import pytest

from syncnerf.sync.looping import find_loop


def video(places: np.ndarray, noise: float = 0.0) -> np.ndarray:
    """A textured square at such places before a still background, shape [T, 40, 64, 3]."""
    generator = np.random.default_rng(0)
    background, square = generator.integers(40, 200, (40, 64, 3)), generator.integers(40, 200, (9, 9, 3))
    frames = np.repeat(background[None].astype(float), len(places), axis=0)
    columns = np.arange(64)
    for frame, place in zip(frames, places, strict=True):
        # Between pixels the texture is interpolated: it moves by less than one too.
        inside = (columns >= place) & (columns <= place + 8)
        for row in range(9):
            for channel in range(3):
                values = np.interp(columns[inside] - place, np.arange(9), square[row, :, channel])
                frame[14 + row, inside, channel] = values
    frames += noise * generator.normal(size=frames.shape)
    return frames.round().clip(0, 255).astype(np.uint8)


def there_and_back(period: float, count: int) -> np.ndarray:
    return 27 + 20 * np.sin(2 * np.pi * np.arange(count) / period)


def wandering(count: int) -> np.ndarray:
    return 4 + 46 * np.arange(count) / count + np.sin(np.arange(count))


@pytest.mark.parametrize(("length", "count"), [(20, 30), (20, 90), (37, 60), (150, 400)])
@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_frames_shown_again_are_a_loop(length, count, noise):
    assert find_loop(video(wandering(length)[np.arange(count) % length], noise)) == length


def test_motion_that_repeats_in_whole_frames_is_a_loop():
    assert find_loop(video(there_and_back(24.0, 70))) == 24


@pytest.mark.parametrize(
    "places",
    [
        there_and_back(23.4, 70),
        wandering(60),
        np.maximum(wandering(60), 20),
        wandering(60)[np.minimum(np.arange(60), 30)],
        wandering(60)[np.arange(120) // 2],
        np.full(60, 20.0),
        wandering(10),
    ],
    ids=["nearly periodic", "once", "still first", "hangs", "all shown twice", "nothing moves", "too short"],
)
@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_other_videos_are_none(places, noise):
    assert find_loop(video(places, noise)) is None
