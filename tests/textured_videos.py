"""A textured square that moves over a still, textured ground."""

import numpy as np


def textured_video(frames: int = 24, height: int = 60, width: int = 80, seed: int = 0) -> np.ndarray:
    """A still, textured background with a textured square that moves one pixel per frame."""
    generator = np.random.default_rng(seed)
    background = generator.integers(40, 200, (height, width, 3))
    square = generator.integers(40, 200, (14, 14, 3))
    video = np.repeat(background[None], frames, axis=0)
    for frame in range(frames):
        video[frame, 20:34, 10 + frame : 24 + frame] = square
    return video.astype(np.uint8)
