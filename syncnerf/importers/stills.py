"""Pictures of a video for structure from motion."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.video import VideoSource, probe_video


def write_stills(video: VideoSource, folder: Path, moments: int, frames: int) -> None:
    """Write pictures of evenly spread moments of a video as ``<frame>.png``, named by the frame in their middle.

    Args:
        video: the recording.
        folder: to be made.
        moments: number of pictures (at most one per frame).
        frames: number of frames whose median makes a picture, spread over its share of the video, so that moving things
            vanish; 1 for single frames, as a moving camera needs.

    Raises:
        UserError: the video cannot be read.
    """
    folder.mkdir(parents=True)
    count = probe_video(video.path, video.chapters).frame_count
    if frames == 1:
        # A moving camera's poses are interpolated, so the first and the last frame are among the pictures.
        wanted = [[index] for index in _spread(0, count - 1, moments)]
    else:
        edges = np.linspace(0, count, min(moments, count) + 1).round().astype(int).tolist()
        wanted = [_spread(first, end - 1, frames) for first, end in pairwise(edges)]
    for indices, pictures in _groups(video, wanted):
        picture = np.median(np.stack(pictures), axis=0).astype(np.uint8) if len(pictures) > 1 else pictures[0]
        Image.fromarray(picture).save(folder / f"{indices[len(indices) // 2]:06d}.png", compress_level=1)


def _spread(first: int, last: int, count: int) -> list[int]:
    """At most ``count`` whole numbers from ``first`` to ``last``, evenly."""
    return sorted(set(np.linspace(first, last, count).round().astype(int).tolist()))


def _groups(video: VideoSource, wanted: list[list[int]]) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """Frames by group in one pass, uint8 RGB [height, width, 3]; groups follow each other in time."""
    properties = probe_video(video.path)
    size = Intrinsics(properties.width, properties.height, 1.0, 1.0, 0.0, 0.0)
    groups = iter(wanted)
    indices, pictures = next(groups), []
    for number, image in enumerate(video.decode(size)):
        if number in indices:
            pictures.append(np.array(image))
        if number == indices[-1]:
            yield indices, pictures
            indices, pictures = next(groups, []), []
            if not indices:
                return
