"""Which files of a folder are the cameras' videos, under which names, and which pose each belongs to."""

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from syncnerf.errors import UserError, one_line
from syncnerf.scene.natural_order import natural_order, require_one_order
from syncnerf.scene.read_options import ReadOptions

logger = logging.getLogger(__name__)

SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".3gp", ".wmv", ".flv",
    ".mxf", ".h264", ".h265", ".hevc", ".mjpeg", ".mjpg",
)  # fmt: skip
_CHAPTER = re.compile(r"(G[HX]|GOPR|GP)(?:\d{2})?(\d{4})")
"""GoPro's names of a recording's parts: codec or generation, number of the part, number of the recording."""


@dataclass(frozen=True)
class VideoFiles:
    """One camera's recording: its name and its files, several where the camera began a new file while it filmed."""

    name: str
    paths: tuple[Path, ...]


def find_videos(folder: Path) -> list[VideoFiles]:
    """The recordings of a folder in natural order of their names.

    Hidden files are ignored (macOS leaves one beside every file on other disks). A GoPro's chapters make up one
    recording, named after the first. If the folder itself holds no videos, its subfolders are searched: either each
    holds one recording, which is named after it, or a single one holds them all.

    Raises:
        UserError: a folder of one camera holds several recordings, or cannot be read.
    """
    found = _recordings(folder)
    if found:
        return found
    folders = natural_order(path for path in _listed(folder) if path.is_dir())
    below = {path: own for path in folders if (own := _recordings(path))}
    for path, own in below.items():
        if len(own) > 1 and len(below) == 1:
            return own
        if len(own) > 1:
            raise UserError(f"{path}: holds {len(own)} videos of one camera; leave one, or join them")
        found.append(replace(own[0], name=path.name))
    return found


def videos_of_poses(
    path: Path, count: int, folder: Path, options: ReadOptions, advice: str
) -> tuple[list[VideoFiles], ReadOptions]:
    """The recordings of poses that are listed without names, and the options without excluded cameras that lack a pose.

    Args:
        path: the file with the poses, to name in errors.
        count: how many poses it holds.
        folder: of the videos.
        options: excluded cameras may have a pose or not.
        advice: what to do about names that cannot be put in order.

    Raises:
        UserError: there are more or fewer recordings than poses, or their order is not certain.
    """
    videos = find_videos(folder)
    left = [video for video in videos if video.name not in options.exclude_cameras]
    if len(videos) != count and len(left) == count:
        extra = [video.name for video in videos if video not in left]
        excluded = tuple(name for name in options.exclude_cameras if name not in extra)
        videos, options = left, replace(options, exclude_cameras=excluded)
    if len(videos) != count:
        what = "leave the others out with --exclude-cameras" if len(videos) > count else "add the missing videos"
        if len(videos) > count and options.exclude_cameras:
            out = ", ".join(options.exclude_cameras)
            what = f"which of them have none is not certain with {out} left out; move those elsewhere"
        raise UserError(f"{path}: {count} poses but {len(videos)} videos beside it; {what}")
    require_one_order([video.name for video in videos], path, advice)
    return videos, options


def named_videos(root: Path, names: list[Any], wheres: list[str]) -> list[VideoFiles]:
    """The recordings that ``file_path`` of a json's entries names: a video, or a list of its parts in order.

    They are named after their files, or, if these have equal names, after their folders.

    Args:
        root: the scene's folder.
        names: each entry's ``file_path``.
        wheres: how to name each entry in errors.

    Raises:
        UserError: an entry names no file, or another entry's.
    """
    found = []
    for name, where in zip(names, wheres, strict=True):
        parts = name if isinstance(name, list) else [name]
        if not parts or not all(isinstance(part, str) and part and "\0" not in part for part in parts):
            raise UserError(f"{where}: 'file_path' should name a video, not {str(name)[:40]!r}")
        paths = tuple(_existing(root / part) for part in parts)
        same = next((index for index, video in enumerate(found) if video.paths == paths), None)
        if same is not None:
            entry = wheres[same].rpartition(" ")[2]
            raise UserError(f"{where}: names {paths[0].name}, as {entry} does; correct its 'file_path'")
        found.append(VideoFiles(paths[0].stem, paths))
    _warn_of_unread_parts(found)
    folders = [video.paths[0].parent.name for video in found]
    if len({video.name for video in found}) < len(found) == len(set(folders)):
        found = [replace(video, name=folder) for video, folder in zip(found, folders, strict=True)]
    return found


def _warn_of_unread_parts(found: list[VideoFiles]) -> None:
    """Warn of each recording that continues in files beside it which no entry names."""
    named = {path for video in found for path in video.paths}
    for video in found:
        folder, first = video.paths[0].parent, video.paths[0]
        if not _CHAPTER.fullmatch(first.stem) or not folder.is_dir():
            continue
        whole = next((own for own in _recordings(folder) if first in own.paths), video)
        unread = [path.name for path in whole.paths if path not in named]
        if unread:
            logger.warning(
                "%s: its recording goes on in %s, not named and not read; 'file_path' may be a list of all its files",
                first, ", ".join(unread),
            )  # fmt: skip


def _recordings(folder: Path) -> list[VideoFiles]:
    """The recordings that lie in a folder itself."""
    paths = [path for path in _listed(folder) if path.suffix.lower() in SUFFIXES]
    groups: dict[str, list[Path]] = {}
    for path in natural_order(paths):
        chapter = _CHAPTER.fullmatch(path.stem)
        key = chapter[1].replace("GOPR", "GP") + chapter[2] if chapter else path.name
        groups.setdefault(key, []).append(path)
    return [VideoFiles(parts[0].stem, tuple(parts)) for parts in groups.values()]


def _listed(folder: Path) -> list[Path]:
    """What a folder holds, without what is hidden; raises UserError."""
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({one_line(error)}); it should hold the videos") from error


def _existing(path: Path) -> Path:
    """A file as it is spelled on the disk: the suffix may be missing or in other case; else the path itself."""
    if "\\" in str(path) and not path.is_file():  # written on Windows
        path = Path(str(path).replace("\\", "/"))
    if path.is_file() or not path.parent.is_dir():
        return path
    known = path.suffix.lower() in SUFFIXES
    stem = path.stem if known else path.name
    for suffix in (path.suffix,) if known else SUFFIXES:
        for spelled in (suffix.lower(), suffix.upper()):
            if path.with_name(stem + spelled).is_file():
                return path.with_name(stem + spelled)
    return path if known else path.with_name(path.name + ".mp4")
