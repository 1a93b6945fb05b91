"""Reading the layout that the scene tools write: ``transforms.json`` with one entry, and one video, per camera."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from scene_output import ToolError


@dataclass(frozen=True)
class SourceCamera:
    """One camera of the source: its ``frames`` entry, its video, frames per second, frame count, offset in seconds."""

    entry: dict
    video: Path
    fps: Fraction
    frames: int
    offset: float


def read_json(path: Path) -> dict:
    """The JSON object in ``path``; :class:`ToolError` where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ToolError(f"{path}: cannot be read ({error.strerror}); give a folder with one video per camera") from None
    except ValueError as error:
        raise ToolError(f"{path}: is not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise ToolError(f"{path}: holds no JSON object")
    return content


def camera_videos(source: Path, entries: list[dict]) -> list[Path]:
    """The video of each entry: its ``file_path`` where given, else the folder's mp4 files sorted by name."""
    if all("file_path" in entry for entry in entries):
        videos = [source / entry["file_path"] for entry in entries]
        videos = [video if video.suffix else video.with_suffix(".mp4") for video in videos]
    else:
        videos = sorted(source.glob("*.mp4"))
        if len(videos) != len(entries):
            raise ToolError(f"{source}: {len(videos)} mp4 videos for {len(entries)} cameras in transforms.json")
    for video in videos:
        if not video.is_file():
            raise ToolError(f"{video}: named in transforms.json but missing")
    names = [video.name for video in videos]
    if len(set(names)) != len(names):
        raise ToolError(f"{source}: two cameras have videos of the same name")
    return videos


def count_frames(video: Path) -> tuple[int, Fraction]:
    """Number of frames (one per packet, nothing decoded) and the average frame rate of ``video``."""
    try:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            count = sum(1 for packet in container.demux(stream) if packet.size)
            return count, Fraction(stream.average_rate or 0)
    except (av.FFmpegError, IndexError) as error:
        raise ToolError(f"{video}: is not a readable video ({error})") from None


def source_offsets(source: Path, videos: list[Path]) -> list[float]:
    """The source's true offsets in seconds, in camera order (0 where it has no ``offsets.json``)."""
    path = source / "offsets.json"
    if not path.exists():
        return [0.0] * len(videos)
    seconds = read_json(path).get("seconds")
    if isinstance(seconds, dict) and all(video.stem in seconds for video in videos):
        seconds = [seconds[video.stem] for video in videos]
    if not isinstance(seconds, list) or len(seconds) != len(videos):
        raise ToolError(f"{path}: 'seconds' must hold one offset for each of the {len(videos)} cameras")
    return [float(value) for value in seconds]


def read_source(source: Path) -> tuple[dict, list[SourceCamera]]:
    """``transforms.json`` of ``source`` and its cameras in order."""
    transforms = read_json(source / "transforms.json")
    entries = transforms.get("frames")
    if not isinstance(entries, list) or not entries:
        raise ToolError(f"{source / 'transforms.json'}: 'frames' must list the cameras")
    videos = camera_videos(source, entries)
    cameras = []
    for entry, video, offset in zip(entries, videos, source_offsets(source, videos), strict=True):
        count, rate = count_frames(video)
        stated = entry.get("fps", transforms.get("fps"))
        fps = Fraction(stated).limit_denominator(1_000_000) if stated else rate
        if count == 0 or fps <= 0:
            raise ToolError(f"{video}: has no frames or no frame rate")
        cameras.append(SourceCamera(entry, video, fps, count, offset))
    return transforms, cameras
