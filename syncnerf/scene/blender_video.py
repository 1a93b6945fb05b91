"""Reader of ``transforms.json`` with one video per camera: Sync-NeRF's Blender layout and the per-camera json."""

from pathlib import Path

from syncnerf.errors import UserError
from syncnerf.scene.camera import Camera
from syncnerf.scene.listed_scene import listed_scene
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.scene import Scene
from syncnerf.scene.transforms_cameras import CameraEntry, entry_camera, read_entries
from syncnerf.scene.video import VideoSource, probe_video
from syncnerf.scene.video_files import VideoFiles, named_videos, videos_of_poses


def is_blender_video(root: Path) -> bool:
    """Whether the folder holds ``transforms.json``."""
    return (root / "transforms.json").is_file()


def read_blender_video(root: Path, options: ReadOptions) -> Scene:
    """Read a folder of ``transforms.json`` and one video per camera.

    Shared ``camera_angle_x`` means a rendered scene: near/far 2/6, bounds +-1.3, white background, camera 0 for
    evaluation. Per-camera intrinsics (nerfstudio's keys) mean real footage: bounds come from the cameras unless the
    json gives ``bounds``, ``near`` and ``far``. Lens distortion is undone while reading. An entry with
    ``transform_matrices`` (one per frame) is a moving camera.

    Raises:
        UserError: with the file, what is wrong and what to do.
    """
    path = root / "transforms.json"
    record, entries = read_entries(path)
    videos, options = _videos(root, path, entries, options)

    def read(index: int) -> tuple[Camera, VideoSource]:
        name, (video, *chapters) = videos[index].name, videos[index].paths
        properties = probe_video(video, tuple(chapters))
        camera, lens = entry_camera(entries[index], name, video, properties, options)
        return camera, VideoSource(video, lens, tuple(chapters))

    names = [video.name for video in videos]
    return listed_scene(path, root, "blender-video", names, read, options, record)


def _videos(
    root: Path, path: Path, entries: list[CameraEntry], options: ReadOptions
) -> tuple[list[VideoFiles], ReadOptions]:
    """Each entry's video: named by ``file_path``, else the videos in order; and what is left of the options."""
    named = ["file_path" in entry.values for entry in entries]
    if all(named):
        files = [entry.values["file_path"] for entry in entries]
        return named_videos(root, files, [entry.where for entry in entries]), options
    if any(named):
        raise UserError(f"{entries[named.index(False)].where}: has no 'file_path' while others have; add it")
    return videos_of_poses(path, len(entries), root, options, "name each entry's video with file_path")
