"""The cameras' clocks: when each row of each frame was exposed, and how true offsets are drawn."""

from __future__ import annotations

import argparse
import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class CameraClock:
    """One camera's clock against the scene's.

    Attributes:
        fps: frames per second that the camera states.
        frames: number of frames.
        offset: scene time, in seconds, at which the camera's own clock shows 0.
        rate: how much faster scene time runs than the camera's clock, without unit (1e-6 is one ppm).
        row_time: seconds from the middle of the first row's exposure to that of the last; negative when the rows are
            read upwards.
        exposure: seconds that the shutter is open, from the frame's time stamp on.
    """

    fps: float
    frames: int
    offset: float = 0.0
    rate: float = 0.0
    row_time: float = 0.0
    exposure: float = 0.0

    def moment(self, frame: int, rows: float = 0.0) -> float:
        """Scene time in seconds of the middle of the exposure.

        Args:
            frame: number of the frame, from 0.
            rows: the row's place, (row + 0.5) / height - 0.5: 0 in the picture's middle.
        """
        return (1.0 + self.rate) * (frame / self.fps + 0.5 * self.exposure) + rows * self.row_time + self.offset

    def bands(self, height: int, finest: float = 1 / 32) -> list[tuple[int, int]]:
        """First and last-plus-one row of each band of rows that may be rendered as of one moment.

        Args:
            height: rows of the picture.
            finest: the most of a frame's interval that may pass within a band; half of it is the largest error.
        """
        count = min(height, max(1, math.ceil(abs(self.row_time) * self.fps / finest)))
        edges = np.linspace(0, height, count + 1).round().astype(int).tolist()
        return list(itertools.pairwise(edges))


def draw_offsets(cameras: int, seed: int, fps: float, std_frames: float = 0.0, range_frames: float = 0.0) -> np.ndarray:
    """True time offsets [C] in seconds, one per camera, continuous (so sub-frame).

    Gaussian with deviation ``std_frames`` frames, or uniform in ``+-range_frames`` frames when that is not 0.
    """
    generator = np.random.default_rng([seed, 1])
    if range_frames:
        return generator.uniform(-range_frames, range_frames, cameras) / fps
    return generator.normal(0.0, 1.0, cameras) * std_frames / fps


def draw_whole_offsets(cameras: int, seed: int, fps: float, reach: int, jitter: float) -> np.ndarray:
    """True time offsets [C] in seconds near whole frames, as of cameras that one trigger started.

    A whole number of frames from ``-reach`` to ``reach``, plus a Gaussian of deviation ``jitter`` frames.
    """
    generator = np.random.default_rng([seed, 1])
    return (generator.integers(-reach, reach + 1, cameras) + generator.normal(0.0, 1.0, cameras) * jitter) / fps


def stated_offsets(text: str, cameras: int, fps: float) -> np.ndarray:
    """Offsets [C] in seconds from ``0,12.5,-3`` in frames, or from the ``seconds`` of the json file ``text``.

    Raises:
        ValueError: with what is wrong, where there is not one number per camera.
    """
    path = Path(text)
    try:
        seconds = json.loads(path.read_text())["seconds"] if path.suffix == ".json" else text.split(",")
        offsets = np.array([float(value) for value in seconds]) / (1.0 if path.suffix == ".json" else fps)
    except (OSError, ValueError, TypeError, KeyError):
        raise ValueError(f"{text}: give one number of frames per camera, as 0,12.5,-3, or an offsets.json") from None
    if len(offsets) != cameras or not np.isfinite(offsets).all():
        raise ValueError(f"{text}: holds {len(offsets)} numbers for {cameras} cameras; give a finite one for each")
    return offsets


def camera_clocks(options: argparse.Namespace) -> list[CameraClock]:
    """The clocks that the command's ``options`` ask for.

    Raises:
        ValueError: ``--offsets`` or ``--row-time-cameras`` do not fit the number of cameras.
    """
    count, fps = options.cameras, options.fps[0]
    if options.offsets is not None:
        offsets = stated_offsets(options.offsets, count, fps)
    elif options.offset_whole is not None:
        offsets = draw_whole_offsets(count, options.seed, fps, options.offset_whole, options.offset_jitter)
    else:
        offsets = draw_offsets(count, options.seed, fps, options.offset_std, options.offset_range)
    rolling = range(1, count, 2) if options.row_time_cameras is None else options.row_time_cameras
    if any(camera >= count for camera in rolling):
        raise ValueError(f"--row-time-cameras {max(rolling)}: there are {count} cameras, counted from 0")
    return [
        CameraClock(
            fps=_in_turn(options.fps, camera),
            frames=max(1, round(options.frames * _in_turn(options.fps, camera) / fps)),
            offset=float(offsets[camera]),
            rate=1e-6 * _in_turn(options.rates, camera),
            row_time=options.row_time if camera in rolling else 0.0,
            exposure=_in_turn(options.exposure, camera),
        )
        for camera in range(count)
    ]


def _in_turn(values: list[float], camera: int) -> float:
    return values[camera % len(values)]
