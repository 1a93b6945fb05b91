"""Timelines of editing programs: OpenTimelineIO's json without a dependency, Final Cut's XML through the library."""

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

from syncnerf.errors import UserError
from syncnerf.export.alignment import Alignment
from syncnerf.scene.video import probe_video


def timeline(alignment: Alignment) -> dict[str, Any]:
    """OpenTimelineIO's record: a track per camera, its video after a gap (several where it goes on in further files).

    Editors place clips at whole frames: the gap is that number of the clip's own frames, and ``remainder`` in the
    clip's metadata what is left, seconds by which its first frame lies after the place in the timeline.

    Raises:
        UserError: a camera's frames are no video.
    """
    begin = min(float(alignment.times(camera)[0]) for camera in range(len(alignment.scene.cameras)))
    tracks = []
    for camera, name in enumerate(alignment.scene.names):
        video, fps = alignment.video(camera), alignment.scene.cameras[camera].fps
        delay = float(alignment.times(camera)[0]) - begin
        frames = math.floor(delay * fps + 0.5)
        clips = [_clip(name, path, fps) for path in video.paths]
        rate = float(alignment.rates[camera]) * 1e6
        clips[0]["metadata"] = {"syncnerf": {"remainder": delay - frames / fps, "offset": delay, "rate_ppm": rate}}
        tracks.append(_track(name, [_gap(frames, fps), *clips] if frames else clips))
    stack = {"OTIO_SCHEMA": "Stack.1", "name": "tracks", "metadata": {}, "source_range": None, "effects": [],
             "markers": [], "enabled": True, "children": tracks}  # fmt: skip
    return {"OTIO_SCHEMA": "Timeline.1", "name": alignment.scene.root.name, "metadata": {}, "global_start_time": None,
            "tracks": stack}  # fmt: skip


def write_otio(alignment: Alignment, path: Path) -> None:
    """Write :func:`timeline` as an ``.otio`` file; raises UserError."""
    path.write_text(json.dumps(timeline(alignment), indent=4) + "\n", encoding="utf-8")


def write_final_cut(alignment: Alignment, path: Path) -> None:
    """Write :func:`timeline` as XML of Final Cut Pro 7, which Premiere and Resolve read.

    Raises:
        UserError: the extra ``editors`` is not installed, or a camera's frames are no video.
    """
    try:
        import opentimelineio
    except ImportError as error:
        raise UserError(f"{path.name}: needs OpenTimelineIO ({error}); pip install 'syncnerf[editors]'") from error
    rates = sorted({camera.fps for camera in alignment.scene.cameras})
    record = opentimelineio.adapters.read_from_string(json.dumps(timeline(alignment)), "otio_json")
    try:
        text = opentimelineio.adapters.write_to_string(record, "fcp_xml")
    except opentimelineio.exceptions.OTIOError as error:
        reason = str(error).splitlines()[0][:80]
        raise UserError(f"{path.name}: cannot be written ({reason}); pip install 'syncnerf[editors]'") from error
    except ValueError as error:
        shown = " or ".join(f"{rate:g}" for rate in rates)
        raise UserError(f"{path.name}: editors have no timecode for {shown} frames per second; choose otio") from error
    path.write_text(text, encoding="utf-8")


def _clip(name: str, video: Path, fps: float) -> dict[str, Any]:
    properties = probe_video(video)
    frames, begin = properties.frame_count, properties.start_time
    media = {"OTIO_SCHEMA": "ExternalReference.1", "name": video.name, "metadata": {}, "available_image_bounds": None,
             "available_range": _range(frames, fps, begin), "target_url": video.resolve().as_uri()}  # fmt: skip
    return {"OTIO_SCHEMA": "Clip.2", "name": name, "metadata": {}, "source_range": _range(frames, fps), "effects": [],
            "markers": [], "enabled": True, "media_references": {"DEFAULT_MEDIA": media},
            "active_media_reference_key": "DEFAULT_MEDIA"}  # fmt: skip


def _track(name: str, children: list[dict[str, Any]]) -> dict[str, Any]:
    return {"OTIO_SCHEMA": "Track.1", "name": name, "metadata": {}, "source_range": None, "effects": [], "markers": [],
            "enabled": True, "children": children, "kind": "Video"}  # fmt: skip


def _gap(frames: int, fps: float) -> dict[str, Any]:
    return {"OTIO_SCHEMA": "Gap.1", "name": "", "metadata": {}, "source_range": _range(frames, fps), "effects": [],
            "markers": [], "enabled": True}  # fmt: skip


def _range(frames: int, fps: float, begin: float = 0.0) -> dict[str, Any]:
    start = math.floor(begin * fps + 0.5)
    return {"OTIO_SCHEMA": "TimeRange.1", "duration": _time(frames, fps), "start_time": _time(start, fps)}


def _time(frames: int, fps: float) -> dict[str, Any]:
    # Editors know 30000/1001 and the like to many digits, and nothing between.
    rate = float(Fraction(fps).limit_denominator(1001))
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": float(frames)}
