"""Which video belongs to which camera of a calibration, and whether their sizes fit."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from syncnerf.errors import UserError
from syncnerf.importers.calibration import CalibratedCamera, Calibration
from syncnerf.scene.video import VideoProperties, probe_video
from syncnerf.scene.video_files import VideoFiles, find_videos

MACROBLOCK = 16
"""Encoders may pad or crop a picture to whole blocks, by fewer pixels than this at its right and lower edges."""

Fit = Literal["scale", "crop"]


@dataclass(frozen=True)
class FilmedCamera:
    """A camera of the calibration together with its video; its calibration matrix is in the video's pixels.

    Attributes:
        name: the camera's name in the scene, which is that of the video.
        calibrated: the camera, with intrinsics for the video's size.
        video: the file, or several where the camera began a new one while it filmed.
        properties: of the video.
        note: how the calibration was adapted; empty if it was not.
    """

    name: str
    calibrated: CalibratedCamera
    video: VideoFiles
    properties: VideoProperties
    note: str = ""


def videos_by_name(folder: Path) -> dict[str, VideoFiles]:
    """The recordings of a folder (see :func:`~syncnerf.scene.video_files.find_videos`) by their names, in their order.

    Raises:
        UserError: there is no such folder, fewer than two recordings, or two of one name.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name the videos' folder with --videos")
    videos: dict[str, VideoFiles] = {}
    for found in find_videos(folder):
        if found.name in videos:
            raise UserError(f"{found.paths[0]}: has the name of another video; give each camera's video its own name")
        videos[found.name] = found
    if len(videos) < 2:
        raise UserError(f"{folder}: holds {len(videos)} videos; at least two cameras are needed")
    return videos


def match(calibration: Calibration, names: Sequence[str]) -> tuple[list[tuple[int, str]], list[str]]:
    """Match cameras and videos: by name, else by the number in the name, else by order.

    Returns pairs of a camera's index and a video's name, and notes for the user.

    Args:
        calibration: the cameras.
        names: of the videos, sorted.

    Raises:
        UserError: neither names nor counts agree.
    """
    cameras = [camera.name for camera in calibration.cameras]
    for alike in (_letters_and_digits, _number_in):
        pairs = _pairs(cameras, names, alike)
        if len(pairs) >= 2:
            break
    else:
        pairs = _contained(cameras, names)
    notes = []
    if len(pairs) < 2:
        if len(cameras) != len(names):
            raise UserError(
                f"{calibration.path}: its {len(cameras)} cameras ({_some(cameras)}) match none of the {len(names)} "
                f"videos ({_some(names)}); rename the videos as the cameras"
            )
        pairs = list(enumerate(names))
        shown = ", ".join(f"{cameras[index]} = {name}" for index, name in pairs[:4])
        notes.append(f"warning: names say nothing, so videos are taken in the calibration's order: {shown}")
    matched = {name for _, name in pairs}
    notes += [
        f"warning: video {name} is left out: no camera of the calibration" for name in names if name not in matched
    ]
    absent = [name for index, name in enumerate(cameras) if index not in {index for index, _ in pairs}]
    if absent:
        notes.append(f"{len(absent)} cameras of the calibration have no video ({_some(absent)})")
    return sorted(pairs, key=lambda pair: names.index(pair[1])), notes


def _pairs(cameras: Sequence[str], names: Sequence[str], alike: Callable[[str], str]) -> list[tuple[int, str]]:
    """Cameras and videos whose names have the same non-empty key; none at all if such a key occurs twice."""
    own, others = [alike(name) for name in cameras], [alike(name) for name in names]
    shared = {key for key in own if key and key in others}
    if any(own.count(key) > 1 or others.count(key) > 1 for key in shared):
        return []
    return [(own.index(key), names[others.index(key)]) for key in sorted(shared)]


def _contained(cameras: Sequence[str], names: Sequence[str]) -> list[tuple[int, str]]:
    """Cameras whose name occurs as a whole word in the name of exactly one video."""
    pairs = []
    for index, camera in enumerate(cameras):
        word = re.compile(rf"(?<![a-z0-9]){re.escape(camera.lower())}(?![a-z0-9])")
        holders = [name for name in names if word.search(name.lower())]
        if len(holders) == 1:
            pairs.append((index, holders[0]))
    return pairs if len({name for _, name in pairs}) == len(pairs) else []


def _letters_and_digits(name: str) -> str:
    """The name without case, punctuation and leading zeros."""
    return re.sub(r"0+(?=\d)", "", re.sub(r"[^a-z0-9]", "", name.lower()))


def _number_in(name: str) -> str:
    """The only number in a name, without leading zeros; empty where there are none or several."""
    numbers = re.findall(r"\d+", name)
    return str(int(numbers[0])) if len(numbers) == 1 else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def film(calibration: Calibration, camera: CalibratedCamera, name: str, files: VideoFiles, fit: Fit) -> FilmedCamera:
    """Join a camera with its video, adapting its intrinsics to the video's size.

    Args:
        calibration: to name in errors.
        camera: one of its cameras.
        name: the camera's name in the scene.
        files: the video.
        fit: what the video shows: ``scale``: the whole calibrated image; ``crop``: its largest centred part.

    Raises:
        UserError: the sizes do not fit, or the video is no video, or a moving camera has another number of poses.
    """
    video, *chapters = files.paths
    properties = probe_video(video, tuple(chapters))
    width, height = properties.width, properties.height
    if camera.is_moving and len(camera.rotation) != properties.frame_count:
        raise UserError(
            f"{video}: has {properties.frame_count} frames but {calibration.path} holds {len(camera.rotation)} poses "
            f"of camera '{camera.name}'; calibrate every frame"
        )
    if camera.size is None:
        note = "the calibration does not say its size: the video's is assumed"
        return FilmedCamera(name, replace(camera, size=(width, height)), files, properties, note)
    scale, corner, note = _placement(calibration, camera, video, (width, height), fit)
    matrix = camera.matrix.copy()
    matrix[:2] *= scale[:, None]
    matrix[:2, 2] -= corner
    return FilmedCamera(name, replace(camera, matrix=matrix, size=(width, height)), files, properties, note)


def _placement(
    calibration: Calibration, camera: CalibratedCamera, video: Path, size: tuple[int, int], fit: Fit
) -> tuple[np.ndarray, np.ndarray, str]:
    """How the video lies in the calibrated image: scale (x, y), the video's corner in scaled pixels, and a note."""
    (width, height), (own_width, own_height) = size, camera.size
    none, exact = np.zeros(2), np.ones(2)
    if (width, height) == (own_width, own_height):
        return exact, none, ""
    stated = f"calibrated at {own_width}x{own_height}"
    short = own_width - width, own_height - height
    if 0 in short and max(map(abs, short)) < MACROBLOCK:
        return exact, none, f"{stated}: the right or lower edge is taken for an encoder's rounding"
    ratios = width / own_width, height / own_height
    if abs(width * own_height - height * own_width) <= max(width, height, own_width, own_height):
        return np.array(ratios), none, f"{stated}, scaled by {ratios[0]:.4g}"
    if fit == "crop":
        scale = max(ratios)
        corner = 0.5 * (scale * np.array([own_width, own_height]) - np.array([width, height]))
        return np.full(2, scale), corner, f"{stated}, scaled by {scale:.4g}, its centre cut out"
    turned = abs(width * own_width - height * own_height) < MACROBLOCK * max(width, height)
    hint = "one of the two is turned by 90 degrees" if turned else "if the video is its centre, give --fit crop"
    raise UserError(
        f"{video}: is {width}x{height} but {calibration.path} is of {own_width}x{own_height} images of camera "
        f"'{camera.name}'; {hint}"
    )
