"""Woven fields are seen in what moves, whatever a file's header says."""

import numpy as np
import pytest
from odd_videos import write_timed

from syncnerf.errors import UserError
from syncnerf.scene.woven import is_woven, row_delay

HEIGHT, WIDTH, COUNT = 96, 128, 24
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
STRIPES = np.where(ROWS % 2 == 0, 70.0, 130.0)


def moment(time: float, background: np.ndarray) -> np.ndarray:
    """Two soft discs that move 3 to 4 pixels from frame to frame, float64 [height, width]."""
    picture = background.copy()
    for phase, size, level in ((0.0, 14, 230.0), (2.0, 9, 20.0)):
        row, column = 0.5 + 0.3 * np.sin(0.1 * time + phase + np.array([1.0, 0.0]))
        inside = (size - np.hypot(ROWS - HEIGHT * row, COLUMNS - WIDTH * column)).clip(0, 1)
        picture += inside * (level - picture)
    return picture


def video(path, later: float, background: np.ndarray, noise: float, crf: str):
    """Frames whose odd rows show a later moment."""
    generator = np.random.default_rng(0)
    frames = np.stack([moment(time, background) for time in range(COUNT)])
    frames[:, 1::2] = np.stack([moment(time + later, background) for time in range(COUNT)])[:, 1::2]
    frames = frames + noise * generator.standard_normal(frames.shape)
    images = np.repeat(frames.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)
    return write_timed(path, images, [k / 25 for k in range(COUNT)], rate=25, crf=crf)


@pytest.mark.parametrize("later", [0.0, 0.5, -0.5], ids=["whole", "odd rows last", "odd rows first"])
@pytest.mark.parametrize(
    ("background", "noise", "crf"),
    [(STRIPES, 0.0, "18"), (STRIPES, 0.0, "30"), (0 * STRIPES + 100, 8.0, "12"), (STRIPES, 4.0, "4")],
    ids=["striped", "compressed", "noisy", "striped and noisy"],
)
def test_woven_rows_are_told_from_whole_frames(tmp_path, later, background, noise, crf):
    assert is_woven(video(tmp_path / "a.mp4", later, background, noise, crf), 0) == (later != 0)


@pytest.mark.parametrize("later", [0.0, 0.5, -0.5])
def test_the_delay_of_rows_is_that_of_a_smooth_wave(later):
    """A wave that passes: sin(k x - w t), whose speed of change is known."""
    frames = np.stack([wave(time) for time in range(30)])
    frames[:, 1::2] = np.stack([wave(time + later) for time in range(30)])[:, 1::2]
    above, below, _ = row_delay(frames.round().astype(np.uint8))
    assert above / below == pytest.approx(later, abs=0.01)


def wave(time: float) -> np.ndarray:
    return 128 + 100 * np.sin(2 * np.pi * COLUMNS / WIDTH - 0.05 * time)


def test_stillness_and_noise_are_not_woven(tmp_path):
    generator = np.random.default_rng(1)
    noise = (STRIPES[..., None] + 12 * generator.standard_normal((COUNT, HEIGHT, WIDTH, 3))).clip(0, 255)
    write_timed(tmp_path / "noise.mp4", noise.astype(np.uint8), [k / 25 for k in range(COUNT)], rate=25)
    still = np.broadcast_to(STRIPES.astype(np.uint8)[None, ..., None], noise.shape)
    write_timed(tmp_path / "still.mp4", still, [k / 25 for k in range(COUNT)], rate=25)
    write_timed(tmp_path / "single.mp4", still[:1], [0.0], rate=25)
    assert not any(is_woven(tmp_path / f"{name}.mp4", 0) for name in ("noise", "still", "single"))


@pytest.mark.parametrize("later", [0.0, 0.5])
def test_bare_streams_that_cannot_be_sought_are_looked_at(tmp_path, later):
    path = video(tmp_path / "a.h264", later, STRIPES, 0.0, "18")
    assert is_woven(path, 0) == (later != 0)


def test_what_cannot_be_decoded_is_told(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match="decoding failed"):
        is_woven(tmp_path / "a.mp4", 0)
