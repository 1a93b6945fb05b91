"""Lags between cameras from the creation times that their files note: coarse, and often wrong."""

import itertools
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import av

from syncnerf.scene import Scene
from syncnerf.scene.video import VideoSource
from syncnerf.sync.prior import PriorLag

CLOCK_ERROR = 3.0
"""Seconds by which clocks that were set by a network, and times noted in whole seconds, may be off."""
START_KEY, TIME_KEY = "com.apple.quicktime.creationdate", "creation_time"
"""The first is always the recording's beginning."""
EITHER_END = "com.android."
"""Android's recorders note the beginning or the end, by version."""
FIRST_YEAR = 2000
"""Earlier times are those of clocks that were never set."""
CREATION_SHARE = 0.9
"""Share of the highest peak's height that one within reach must have: clocks that were never set alike exist."""


@dataclass(frozen=True)
class Creation:
    """When a recording began, in seconds since 1970, and by how much that may be off."""

    seconds: float
    deviation: float


def creation_lags(scene: Scene) -> list[PriorLag]:
    """Lags of all pairs of cameras whose files note when they were made.

    They only choose between peaks of the motion that are nearly equal (see
    :func:`~syncnerf.sync.landscape.find_peak`), and place no camera. Nothing where all files note one time, as copies
    made in one go do.
    """
    found = {}
    # Frames that were never in a file have no source.
    sources = getattr(scene.frame_cache, "sources", {})
    for index, camera in enumerate(scene.cameras):
        source = sources.get(camera.name)
        creation = creation_of(source.path, camera.duration) if isinstance(source, VideoSource) else None
        if creation is not None:
            found[index] = Creation(creation.seconds - float(camera.frame_times[0]), creation.deviation)
    if len({creation.seconds for creation in found.values()}) < 2:
        return []
    lags = []
    for (first, one), (second, two) in itertools.combinations(found.items(), 2):
        deviation = math.hypot(one.deviation, two.deviation)
        lags.append(PriorLag(first, second, one.seconds - two.seconds, deviation, share=CREATION_SHARE))
    return lags


def creation_of(video: Path, duration: float) -> Creation | None:
    """When a video of some seconds began, by what its file notes; None where it notes nothing."""
    try:
        with av.open(str(video)) as container:
            streams = container.streams.video[:1]
            metadata = {**(streams[0].metadata if streams else {}), **container.metadata}
    except (av.error.FFmpegError, ValueError):
        return None
    try:
        noted = datetime.fromisoformat(metadata.get(START_KEY) or metadata.get(TIME_KEY, ""))
    except ValueError:
        return None
    if noted.year < FIRST_YEAR:
        return None
    seconds = noted.replace(tzinfo=noted.tzinfo or UTC).timestamp()
    if START_KEY not in metadata and any(key.startswith(EITHER_END) for key in metadata):
        return Creation(seconds - 0.5 * duration, CLOCK_ERROR + 0.5 * duration)
    return Creation(seconds, CLOCK_ERROR)
