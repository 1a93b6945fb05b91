"""Copies of a scene's videos, trimmed to the time that all of them show."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from syncnerf.atomic import atomic_folder
from syncnerf.export.alignment import video_of
from syncnerf.export.trim import trim_video
from syncnerf.scene import Scene
from syncnerf.scene.video import VideoSource
from syncnerf.sync.common_interval import Cut, cuts
from syncnerf.sync.result import SyncResult

logger = logging.getLogger(__name__)


def write_trimmed(scene: Scene, result: SyncResult, folder: Path) -> None:
    """Write a copy of each determined camera's video, trimmed to the common interval.

    The trim is accurate to the frame, as frames are decoded and encoded again (see
    :func:`~syncnerf.export.trim.trim_video`); sound is copied as it is. ``alignment.json`` holds what is left below a
    frame: each camera's ``remainder``, seconds by which its first frame lies after the common beginning. Where clocks
    have rates, each frame of a copy is the nearest in time, and the file names the frames left out and repeated for
    that (the sound keeps its own clock). The folder appears only when it is complete.

    Raises:
        UserError: the folder exists and is not empty, a camera's frames are no video, or nothing is common to all.
    """
    parts = cuts(scene, result)
    sources = [video_of(scene, part.camera) for part in parts]
    files = _file_names([scene.names[part.camera] for part in parts], sources)
    for name, reason in result.reasons.items():
        logger.warning("no aligned copy of %s: its offset is not determined (%s)", name, reason)
    record, total = {}, sum(len(part.frames) for part in parts)
    with atomic_folder(folder) as scratch, tqdm(total=total, desc="aligning", unit="frame", leave=False) as progress:
        for part, source, file in zip(parts, sources, files, strict=True):
            fps = scene.cameras[part.camera].fps
            trim_video(source, scratch / file, part.frames, fps, progress)
            record[scene.names[part.camera]] = _entry(part, file, fps, result)
        (scratch / "alignment.json").write_text(
            json.dumps({"unit": "seconds", "cameras": record}, indent=1) + "\n", encoding="utf-8"
        )


def _file_names(cameras: Sequence[str], sources: Sequence[VideoSource]) -> list[str]:
    """Names of the copies: the videos' own, or the cameras' where videos in several folders are called alike."""
    names = [source.path.name for source in sources]
    if len(set(names)) == len(names):
        return names
    return [f"{camera}{source.path.suffix}" for camera, source in zip(cameras, sources, strict=True)]


def _entry(part: Cut, file: str, fps: float, result: SyncResult) -> dict:
    """What ``alignment.json`` says of one camera."""
    entry = {
        "file": file,
        "first_frame": part.frames[0],
        "frames": len(part.frames),
        "fps": fps,
        "remainder": part.remainder,
    }
    if result.rates is not None:
        rate = float(result.rates[part.camera]) * 1e6
        entry |= {"rate_ppm": rate, "left_out": part.left_out, "repeated": part.repeated}
    return entry
