"""Reader of Technicolor's light-field videos (Sabater et al., CVPR Workshops 2017): a 4x4 grid of cameras, images."""

import math
import re
from pathlib import Path

import torch

from syncnerf.errors import UserError, one_line
from syncnerf.records import quaternion_matrix
from syncnerf.scene.camera import Camera, Intrinsics
from syncnerf.scene.images import SUFFIXES, ImageSource, probe_images
from syncnerf.scene.listed_scene import listed_scene
from syncnerf.scene.natural_order import natural_order
from syncnerf.scene.panoptic import OPENCV_TO_OPENGL
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.scene import Scene

PARAMETERS = "cameras_parameters.txt"
FPS = 30.0
COLUMNS = ("focal length", "principal point x", "y", "aspect ratio", "skew", *("quaternion",) * 4, *("place",) * 3)
IMAGE = re.compile(r"(?P<sequence>.+)_(?P<frame>\d+)_(?P<camera>\d+)")
"""Names of the images: sequence, number of the frame, number of the camera (``Birthday_undist_00151_07``)."""
USUAL_TEST, GRID = 5, 16
"""The camera in the second row and column is the usual test view of the whole grid."""
LARGEST_SKEW = 1e-3
"""Share of the focal length that the skew of undistorted images may have."""


def is_technicolor(root: Path) -> bool:
    """Whether the folder holds ``cameras_parameters.txt``."""
    return (root / PARAMETERS).is_file()


def read_technicolor(root: Path, options: ReadOptions) -> Scene:
    """Read ``cameras_parameters.txt`` and the undistorted images ``<sequence>_<frame>_<camera>.png``.

    A row per camera, in the order of the cameras' numbers, after a header: focal length, principal point (x, y), aspect
    ratio (vertical over horizontal focal length) and skew in pixels; a unit quaternion (w, x, y, z) and a translation,
    world to camera in OpenCV axes. The images lie in the folder itself or in one below it. Frames are at number / 30
    seconds; a window of the sequence is what images are there. Camera 5 of 16 is for evaluation, else the first.

    Raises:
        UserError: with the file, what is wrong and what to do.
    """
    path = root / PARAMETERS
    rows = read_parameters(path)
    images = _images(root)
    numbers = sorted(images)
    if len(numbers) != len(rows):
        raise UserError(f"{path}: holds {len(rows)} cameras but there are images of {len(numbers)}; add the others")
    names = [f"cam{number:02d}" for number in numbers]
    own_test = (names[USUAL_TEST],) if len(names) == GRID else ()

    def read(index: int) -> tuple[Camera, ImageSource]:
        source = ImageSource(tuple(images[numbers[index]]))
        properties = probe_images(source.paths, FPS)
        width, height = properties.width, properties.height
        intrinsics, pose = _calibration(rows[index], width, height, f"{path}: camera {names[index]}")
        camera = Camera(names[index], intrinsics, pose, FPS, properties.frame_count)
        return camera.resized(*options.size(width, height)), source

    return listed_scene(path, root, "technicolor", names, read, options, own_test=own_test)


def read_parameters(path: Path) -> list[list[float]]:
    """The numbers of each camera's row; raises UserError where one holds anything else."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as text ({one_line(error)}); copy it again") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        if not words or (not rows and not _is_number(words[0])):  # the header
            continue
        if len(words) != len(COLUMNS) or not all(map(_is_number, words)):
            raise UserError(
                f"{path}: line {number} should hold {len(COLUMNS)} numbers (focal length, principal point, aspect "
                "ratio, skew, quaternion, translation); copy it again"
            )
        rows.append([float(word) for word in words])
    if not rows:
        raise UserError(f"{path}: holds no cameras; copy it again")
    return rows


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _images(root: Path) -> dict[int, list[Path]]:
    """Each camera's images in the order of their frames, by its number; raises UserError."""
    for folder in (root, *natural_order(below for below in root.iterdir() if below.is_dir() and below.name[0] != ".")):
        found: dict[int, list[Path]] = {}
        sequences = set()
        for path in natural_order(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != "."):
            match = IMAGE.fullmatch(path.stem)
            if match:
                sequences.add(match["sequence"])
                found.setdefault(int(match["camera"]), []).append(path)
        if len(sequences) > 1:
            raise UserError(f"{folder}: holds images of several sequences ({', '.join(sorted(sequences))}); keep one")
        if found:
            return found
    raise UserError(f"{root}: holds no images called <sequence>_<frame>_<camera>; add the undistorted images")


def _calibration(row: list[float], width: int, height: int, where: str) -> tuple[Intrinsics, torch.Tensor]:
    """A camera's intrinsics and pose from its row; raises UserError."""
    focal, centre_x, centre_y, aspect, skew, *rest = row
    if not (focal > 0 and aspect > 0):
        raise UserError(f"{where}: focal length and aspect ratio should be more than 0; copy the file again")
    if abs(skew) > LARGEST_SKEW * focal:
        raise UserError(f"{where}: has a skew of {skew:g} pixels, which cannot be read; use the undistorted images")
    if not (0 < centre_x < width and 0 < centre_y < height):
        raise UserError(
            f"{where}: its principal point ({centre_x:g}, {centre_y:g}) lies outside images of {width}x{height}; use "
            "those that the file belongs to"
        )
    world_to_camera = torch.eye(4, dtype=torch.float64)
    world_to_camera[:3, :3] = quaternion_matrix(rest[:4], f"{where}: its quaternion")
    world_to_camera[:3, 3] = torch.tensor(rest[4:], dtype=torch.float64)
    intrinsics = Intrinsics(width, height, focal, aspect * focal, centre_x, centre_y)
    return intrinsics, torch.linalg.inv(world_to_camera) @ OPENCV_TO_OPENGL
