"""One tiny scene in every input format: a bright ball on grey, so that reading can be checked by triangulation."""

import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from syncnerf.scene import Scene, load_scene

CAMERAS, FRAMES, FPS = 4, 5, 10
WIDTH, HEIGHT, FOCAL = 48, 32, 40.0
BALL = torch.tensor([0.2, -0.1, 0.15, 1.0], dtype=torch.float64)
FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


def pose_from(place: tuple[float, float, float]) -> torch.Tensor:
    """An upright camera at ``place`` that looks at the origin, OpenGL camera-to-world, float64 [4, 4]."""
    centre = torch.tensor(place, dtype=torch.float64)
    backward = centre / centre.norm()
    right = torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), backward)
    right = right / right.norm()
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3] = torch.stack([right, torch.linalg.cross(backward, right), backward, centre], dim=-1)
    return pose


def rig() -> list[torch.Tensor]:
    """Poses of a rig that faces one way."""
    return [pose_from((4.0, 0.9 * math.cos(2.0 * k), 0.7 * math.sin(2.0 * k) + 0.5)) for k in range(CAMERAS)]


def picture(pose: torch.Tensor, width: int = WIDTH, height: int = HEIGHT, focal: float = FOCAL) -> np.ndarray:
    """The ball from a pose, a soft disc on grey, uint8 [height, width, 3]."""
    point = (FLIP @ torch.linalg.inv(pose) @ BALL)[:3]
    x, y = (focal * point[:2] / point[2]).tolist()
    row, column = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    distance = np.hypot(column - width / 2 - x, row - height / 2 - y)
    value = 60 + 180 * np.clip(3.5 - distance, 0, 1)
    return np.repeat(value.round().astype(np.uint8)[..., None], 3, axis=-1)


def write_video(path: Path, images: list[np.ndarray], fps: int = FPS, index_first: bool = False) -> None:
    """Encode uint8 RGB images [height, width, 3]; ``index_first``: as for streaming, the index before the frames."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if index_first else {}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "6", "preset": "ultrafast"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.codec_context.thread_count = "yuv444p", 1
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def write_videos(folder: Path) -> None:
    """``cam00.mp4`` ... of the rig."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, pose in enumerate(rig()):
        write_video(folder / f"cam{k:02d}.mp4", [picture(pose)] * FRAMES)


def write_images(folder: Path, pose: torch.Tensor, suffix: str) -> None:
    """Numbered images of one camera."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(FRAMES):
        Image.fromarray(picture(pose)).save(folder / f"{frame:06d}{suffix}", quality=95)


def write_json(path: Path, record: object) -> None:
    """Write json; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))


def blender_video(root: Path) -> None:
    """Sync-NeRF's layout."""
    write_videos(root)
    angle = 2 * math.atan(WIDTH / 2 / FOCAL)
    entries = [{"transform_matrix": pose.tolist()} for pose in rig()]
    write_json(root / "transforms.json", {"camera_angle_x": angle, "width": WIDTH, "height": HEIGHT, "frames": entries})
    write_json(root / "offsets.json", {"seconds": [0.1 * k for k in range(CAMERAS)]})


def blender_frames(root: Path) -> None:
    """Sync-MixVoxels' layout."""
    blender_video(root)
    for k, pose in enumerate(rig()):
        (root / f"cam{k:02d}.mp4").unlink()
        write_images(root / "frames_1" / f"cam{k:02d}", pose, ".png")


def per_camera_json(root: Path) -> None:
    """nerfstudio's keys in each entry; the json describes images of twice the size."""
    write_videos(root)
    lens = {"k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0}
    size = {"w": 2 * WIDTH, "h": 2 * HEIGHT, "cx": WIDTH, "cy": HEIGHT, "fl_x": 2 * FOCAL, "fl_y": 2 * FOCAL}
    entries = [
        {"file_path": f"cam{k:02d}.mp4", "transform_matrix": pose.tolist(), **size, **lens}
        for k, pose in enumerate(rig())
    ]
    write_json(root / "transforms.json", {"frames": entries})


def n3v(root: Path) -> None:
    """LLFF's table; height, width and focal length of images twice the size."""
    write_videos(root)
    rows = []
    for pose in rig():
        right, up, back, centre = pose[:3].unbind(-1)
        size = torch.tensor([2.0 * HEIGHT, 2.0 * WIDTH, 2.0 * FOCAL], dtype=torch.float64)
        matrix = torch.stack([-up, right, back, centre, size], dim=-1)
        rows.append([*matrix.reshape(-1).tolist(), 3.0, 6.0])
    np.save(root / "poses_bounds.npy", np.array(rows))


def panoptic(root: Path) -> None:
    """Dynamic 3D Gaussians' layout; the last camera is the test one."""
    for k, pose in enumerate(rig()):
        write_images(root / "ims" / str(k), pose, ".jpg")
    matrix = [[FOCAL, 0.0, WIDTH / 2], [0.0, FOCAL, HEIGHT / 2], [0.0, 0.0, 1.0]]
    for name, chosen in (("train", range(CAMERAS - 1)), ("test", (CAMERAS - 1,))):
        w2c = [torch.linalg.inv(rig()[k] @ FLIP).tolist() for k in chosen]
        files = [[f"{k}/{frame:06d}.jpg" for k in chosen] for frame in range(FRAMES)]
        tables = {"k": [[matrix] * len(chosen)] * FRAMES, "w2c": [w2c] * FRAMES, "fn": files}
        record = {"w": WIDTH, "h": HEIGHT, **tables, "cam_id": [list(chosen)] * FRAMES}
        write_json(root / f"{name}_meta.json", record)


def syncam(root: Path) -> None:
    """SynCamVideo: left-handed world, transposed matrices, another order of axes, centimetres; f = 24/23.76 width."""
    cameras = {}
    (root / "videos").mkdir(parents=True)
    for k, pose in enumerate(rig()):
        focal = 24 / 23.76 * WIDTH
        write_video(root / "videos" / f"cam{k + 1:02d}.mp4", [picture(pose, focal=focal)] * FRAMES)
        left_handed = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=torch.float64)) @ pose @ FLIP
        left_handed[:3, 3] *= 100
        left_handed[:, 1] *= -1
        stored = left_handed[:, [2, 0, 1, 3]].T
        cameras[f"cam{k + 1:02d}"] = "".join("[" + " ".join(map(repr, row)) + "] " for row in stored.tolist())
    write_json(root / "cameras" / "camera_extrinsics.json", {f"frame{k}": cameras for k in range(FRAMES)})


def technicolor(root: Path) -> None:
    """Technicolor's grid: a row per camera after a header, world-to-camera quaternions, images in one folder."""
    lines = ["#focal ppx ppy AR Skew qw qx qy qz Tx Ty Tz"]
    for k, pose in enumerate(rig()):
        world_to_camera = torch.linalg.inv(pose @ FLIP)
        x, y, z, w = Rotation.from_matrix(world_to_camera[:3, :3].numpy()).as_quat()
        row = [FOCAL, WIDTH / 2, HEIGHT / 2, 1.0, 0.0, w, x, y, z, *world_to_camera[:3, 3].tolist()]
        lines.append(" ".join(map(repr, map(float, row))))
        for frame in range(FRAMES):
            Image.fromarray(picture(pose)).save(root / f"Walk_undist_{frame + 51:05d}_{k:02d}.png")
    (root / "cameras_parameters.txt").write_text("\n".join(lines) + "\n")


def dnerf(root: Path) -> None:
    """One moving camera per split, transparent png, times out of order in the file."""
    angle = 2 * math.atan(WIDTH / 2 / FOCAL)
    for split in ("train", "test"):
        entries = []
        for k, pose in enumerate(rig()):
            (root / split).mkdir(parents=True, exist_ok=True)
            layer = np.concatenate([picture(pose), np.full((HEIGHT, WIDTH, 1), 255, np.uint8)], axis=-1)
            layer[0, 0] = (0, 0, 0, 0)
            Image.fromarray(layer).save(root / split / f"r_{k:03d}.png")
            time = (CAMERAS - 1 - k) / (CAMERAS - 1)
            entries.append({"file_path": f"./{split}/r_{k:03d}", "time": time, "transform_matrix": pose.tolist()})
        write_json(root / f"transforms_{split}.json", {"camera_angle_x": angle, "frames": entries})


FORMATS: dict[str, Callable[[Path], None]] = {
    "blender-video": blender_video,
    "blender-frames": blender_frames,
    "per-camera-json": per_camera_json,
    "n3v": n3v,
    "panoptic": panoptic,
    "syncam": syncam,
    "technicolor": technicolor,
    "dnerf": dnerf,
}
"""Writers by name; ``per-camera-json`` is read by the reader ``blender-video``."""


def noisy_scene(folder: Path, change: Callable[[np.ndarray], None]) -> Scene:
    """A scene of the rig's videos with noise in its cached frames, so that every pixel is told from any other.

    Args:
        folder: where to write it.
        change: what is to be done to each camera's noise, uint8 [frames, height, width, 3], in place.
    """
    blender_video(folder)
    scene, generator = load_scene(folder), np.random.default_rng(0)
    for index in range(CAMERAS):
        scene.frames(index)
        noise = generator.integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
        change(noise)
        np.save(scene.frame_cache.path_of(scene.cameras[index]), noise)
    return load_scene(folder)
