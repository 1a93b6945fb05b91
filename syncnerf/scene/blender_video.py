"""Reader of ``transforms.json`` with one video per camera: Sync-NeRF's Blender layout and the per-camera json."""

from pathlib import Path

from syncnerf.errors import UserError
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.scene import Scene
from syncnerf.scene.transforms_cameras import CameraEntry, entry_camera, read_entries, transforms_scene
from syncnerf.scene.video import VideoSource, probe_video


def is_blender_video(root: Path) -> bool:
    """Whether the folder holds ``transforms.json``."""
    return (root / "transforms.json").is_file()


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
    record, entries = read_entries(path)
    cameras, sources = [], {}
    for entry, video in zip(entries, _video_paths(root, path, entries), strict=True):
        camera, lens = entry_camera(entry, video.stem, video, probe_video(video), options)
        cameras.append(camera)
        sources[camera.name] = VideoSource(video, lens)
    return transforms_scene(root, "blender-video", record, tuple(cameras), sources, options)


def _video_paths(root: Path, path: Path, entries: list[CameraEntry]) -> list[Path]:
    """Each entry's video: named by ``file_path``, else the sorted videos in order."""
    if all("file_path" in entry.values for entry in entries):
        for entry in entries:
            name = entry.values["file_path"]
            if not isinstance(name, str) or not name or "\0" in name:
                raise UserError(f"{entry.where}: 'file_path' should name a video, not {str(name)[:40]!r}")
        paths = [root / entry.values["file_path"] for entry in entries]
        return [video if video.suffix else video.with_name(video.name + ".mp4") for video in paths]
    videos = sorted(root.glob("*.mp4"))
    if len(videos) != len(entries):
        raise UserError(
            f"{path}: {len(entries)} poses but {len(videos)} videos beside it; "
            "add or remove videos, or name each entry's with file_path"
        )
    return videos
