"""Reader of ``transforms.json`` with one video per camera: Sync-NeRF's Blender layout and the per-camera json."""

import math
from pathlib import Path
from typing import Any

import torch

from syncnerf.errors import UserError
from syncnerf.scene.camera import Camera, Intrinsics
from syncnerf.scene.frame_cache import FrameCache, cache_directory
from syncnerf.scene.lens import Lens
from syncnerf.scene.read_options import ReadOptions, choose_cameras
from syncnerf.scene.scene import Scene
from syncnerf.scene.transforms import number, read_json, read_true_offsets, rigid_matrix
from syncnerf.scene.video import VideoProperties, VideoSource, probe_video

BOUNDS = 1.3
NEAR, FAR = 2.0, 6.0
WHITE = (1.0, 1.0, 1.0)


def is_blender_video(root: Path) -> bool:
    """Whether the folder holds ``transforms.json`` and videos."""
    return (root / "transforms.json").is_file() and any(root.glob("*.mp4"))


def read_blender_video(root: Path, options: ReadOptions) -> Scene:
    """Read a folder of ``transforms.json`` and one video per camera.

    Shared ``camera_angle_x`` means a rendered scene: near/far 2/6, bounds +-1.3, white background, camera 0 for
    evaluation. Per-camera intrinsics (nerfstudio's keys) mean real footage: bounds come from the cameras unless the
    json gives ``aabb``, ``near`` and ``far``. Lens distortion is undone while reading. An entry with
    ``transform_matrices`` (one per frame) is a moving camera.

    Raises:
        UserError: with the file, what is wrong and what to do.
    """
    path = root / "transforms.json"
    record = read_json(path)
    entries = record.get("frames") if isinstance(record, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: 'frames' should list one entry per camera")
    cameras, sources = [], {}
    for index, (entry, video) in enumerate(zip(entries, _video_paths(root, entries), strict=True)):
        where = f"{path}: frames[{index}]"
        camera, lens = _camera(record, entry, video, where, options)
        if camera.name in sources:
            raise UserError(f"{where}: a second camera called '{camera.name}'; name each video differently")
        cameras.append(camera)
        sources[camera.name] = VideoSource(video, lens)
    true_offsets = read_true_offsets(root, [camera.name for camera in cameras])
    kept, test = choose_cameras([camera.name for camera in cameras], options, path)
    cameras = tuple(cameras[i] for i in kept)
    bounds, near, far, rendered = _bounds(record, cameras, path)
    return Scene(
        root=root,
        format="blender-video",
        cameras=cameras,
        frame_cache=FrameCache(cache_directory(root, options.cache_dir), sources),
        test=test,
        bounds=bounds,
        near=near,
        far=far,
        space="bounded" if rendered else "contraction",
        background=WHITE if rendered else None,
        true_offsets=None if true_offsets is None else true_offsets[kept],
    )


def _video_paths(root: Path, entries: list[dict[str, Any]]) -> list[Path]:
    """Each entry's video: named by ``file_path``, else the sorted videos in order."""
    if all("file_path" in entry for entry in entries):
        paths = [root / str(entry["file_path"]) for entry in entries]
        return [path if path.suffix else path.with_suffix(".mp4") for path in paths]
    videos = sorted(root.glob("*.mp4"))
    if len(videos) != len(entries):
        raise UserError(
            f"{root / 'transforms.json'}: {len(entries)} poses but {len(videos)} videos beside it; "
            "add or remove videos, or name each entry's with file_path"
        )
    return videos


def _camera(
    record: dict[str, Any], entry: dict[str, Any], video: Path, where: str, options: ReadOptions
) -> tuple[Camera, Lens]:
    properties = probe_video(video)
    intrinsics = _intrinsics(record, entry, properties, video, where)
    lens = Lens(*(number({**record, **entry}, key, where, 0.0) for key in ("k1", "k2", "p1", "p2")))
    fps = number({**record, **entry}, "fps", where, properties.fps)
    if fps <= 0:
        raise UserError(f"{video}: has no frame rate; give 'fps' in transforms.json")
    if "transform_matrices" in entry:
        poses = entry["transform_matrices"]
        if not isinstance(poses, list) or len(poses) != properties.frame_count:
            raise UserError(f"{where}: 'transform_matrices' should hold {properties.frame_count} poses, one per frame")
        pose = torch.stack([rigid_matrix(p, f"{where}.transform_matrices[{k}]") for k, p in enumerate(poses)])
    else:
        pose = rigid_matrix(entry.get("transform_matrix"), f"{where}.transform_matrix")
    camera = Camera(video.stem, intrinsics, pose, fps, properties.frame_count)
    return camera.resized(*options.size(intrinsics.width, intrinsics.height)), lens


def _intrinsics(
    record: dict[str, Any], entry: dict[str, Any], properties: VideoProperties, video: Path, where: str
) -> Intrinsics:
    merged = {"w": record.get("width"), "h": record.get("height"), **record, **entry}
    width = int(number(merged, "w", where)) if merged.get("w") is not None else properties.width
    height = int(number(merged, "h", where)) if merged.get("h") is not None else properties.height
    if abs(width * properties.height - height * properties.width) > max(properties.width, properties.height):
        raise UserError(
            f"{video}: is {properties.width}x{properties.height} but transforms.json says {width}x{height}; "
            "correct the json or the video"
        )
    if "fl_x" in merged:
        focal_x = number(merged, "fl_x", where)
        focal_y = number(merged, "fl_y", where, focal_x)
    elif "camera_angle_x" in merged:
        focal_x = focal_y = 0.5 * width / math.tan(0.5 * number(merged, "camera_angle_x", where))
    else:
        raise UserError(f"{where}: has neither 'fl_x' nor 'camera_angle_x'; add the focal length")
    if min(focal_x, focal_y) <= 0:
        raise UserError(f"{where}: the focal length {focal_x:g} is not positive")
    centre_x = number(merged, "cx", where, width / 2)
    centre_y = number(merged, "cy", where, height / 2)
    return Intrinsics(width, height, focal_x, focal_y, centre_x, centre_y)


def _bounds(record: dict[str, Any], cameras: tuple[Camera, ...], path: Path) -> tuple[torch.Tensor, float, float, bool]:
    """Bounds, near, far, and whether the scene is a rendered one on white."""
    if "camera_angle_x" in record:
        near, far = number(record, "near", str(path), NEAR), number(record, "far", str(path), FAR)
        return torch.tensor([[-BOUNDS] * 3, [BOUNDS] * 3]), near, far, True
    centres = torch.stack([camera.pose(0)[:3, 3] for camera in cameras])
    middle, radius = _looked_at(cameras), 0.0
    radius = float((centres - middle).norm(dim=-1).mean())
    bounds = torch.stack([middle - radius / 2, middle + radius / 2]).float()
    if "aabb" in record:
        bounds = torch.tensor(record["aabb"], dtype=torch.float32).reshape(2, 3)
    return bounds, number(record, "near", str(path), 0.05 * radius), number(record, "far", str(path), 4 * radius), False


def _looked_at(cameras: tuple[Camera, ...]) -> torch.Tensor:
    """The point nearest to all optical axes (least squares), float64, shape [3]."""
    normal, right = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for camera in cameras:
        pose = camera.pose(0)
        axis, centre = pose[:3, 2], pose[:3, 3]
        across = torch.eye(3, dtype=torch.float64) - torch.outer(axis, axis)
        normal += across
        right += across @ centre
    # A lone camera, or parallel axes, leave the depth free: a little weight on the cameras' own places decides it.
    centre = torch.stack([camera.pose(0)[:3, 3] for camera in cameras]).mean(0)
    return torch.linalg.solve(normal + 1e-6 * torch.eye(3, dtype=torch.float64), right + 1e-6 * centre)
