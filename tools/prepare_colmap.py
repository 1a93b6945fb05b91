#!/usr/bin/env python3
"""Finds the cameras of a folder of videos without poses, and writes them beside the videos as transforms.json.

For static cameras: one picture per video (the median of frames spread over it, so that what moves is gone, or the
first frame) goes through COLMAP's structure from motion. The result is the per-camera json that the package reads:
``fl_x fl_y cx cy w h k1 k2 p1 p2 transform_matrix`` for each video; its scale is arbitrary. Videos that COLMAP cannot
place end the tool with an error that names them; --drop leaves them out instead.

Needs pycolmap: pip install "syncnerf[colmap]".
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from scene_output import ToolError, write_json
from tqdm import tqdm

OPENCV_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
SHARED, SEPARATE = "shared", "separate"


def still(video: Path, frames: int) -> np.ndarray:
    """One picture of a static camera, uint8 [height, width, 3]: the median of ``frames`` frames, or the first for 1."""
    try:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            count = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
            container.seek(0)
            wanted = set(np.linspace(0, max(count - 1, 0), min(frames, max(count, 1))).round().astype(int).tolist())
            pictures = []
            for number, frame in enumerate(container.decode(stream)):
                if number in wanted:
                    pictures.append(frame.to_ndarray(format="rgb24"))
                if len(pictures) == len(wanted):
                    break
    except (av.FFmpegError, IndexError) as error:
        raise ToolError(f"{video}: is not a readable video ({error})") from None
    if not pictures:
        raise ToolError(f"{video}: holds no frames")
    return np.median(np.stack(pictures), axis=0).astype(np.uint8) if len(pictures) > 1 else pictures[0]


def write_png(path: Path, picture: np.ndarray) -> None:
    """Writes one picture, uint8 [height, width, 3]."""
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode(None))


def reconstruct(images: Path, work: Path, intrinsics: str, seed: int):
    """COLMAP's largest reconstruction of the pictures in ``images``; :class:`ToolError` where it finds none."""
    try:
        import pycolmap
    except ImportError as error:
        raise ToolError(f'pycolmap is missing ({error}); pip install "syncnerf[colmap]"') from None
    database = work / "database.db"
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = "OPENCV"
    mode = pycolmap.CameraMode.SINGLE if intrinsics == SHARED else pycolmap.CameraMode.PER_IMAGE
    cpu = pycolmap.Device.cpu
    pycolmap.set_random_seed(seed)
    pycolmap.extract_features(database, images, camera_mode=mode, reader_options=reader, device=cpu)
    pycolmap.match_exhaustive(database, device=cpu)
    options = pycolmap.IncrementalPipelineOptions()
    options.min_model_size = 3
    options.random_seed = seed
    models = pycolmap.incremental_mapping(database, images, work, options)
    if not models:
        raise ToolError(f"{images.name}: no cameras could be placed; the videos need texture and overlap")
    return max(models.values(), key=lambda model: model.num_reg_images())


def camera_entry(image) -> dict:
    """The ``frames`` entry of a placed picture, without its file; OpenGL camera-to-world."""
    camera = image.camera
    world_to_camera = np.eye(4)
    world_to_camera[:3] = image.cam_from_world().matrix()
    pose = np.linalg.inv(world_to_camera) @ OPENCV_TO_OPENGL
    names = ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2")
    values = dict(zip(names, (float(value) for value in camera.params), strict=True))
    return {"w": camera.width, "h": camera.height, **values, "transform_matrix": pose.tolist()}


def run(options: argparse.Namespace) -> None:
    """Finds and writes the cameras."""
    target = options.folder / "transforms.json"
    if target.exists() and not options.force:
        raise ToolError(f"{target}: exists; use --force to replace it")
    videos = sorted(path for path in options.folder.glob("*") if path.suffix.lower() in (".mp4", ".mov", ".mkv"))
    if len(videos) < 3:
        raise ToolError(f"{options.folder}: holds {len(videos)} videos; at least 3 are needed")
    with tempfile.TemporaryDirectory() as scratch:
        images = Path(scratch) / "images"
        images.mkdir()
        files = {f"{k:04d}.png": video for k, video in enumerate(videos)}
        for name, video in tqdm(files.items(), desc="stills", unit="video"):
            write_png(images / name, still(video, options.frames))
        model = reconstruct(images, Path(scratch), options.intrinsics, options.seed)
        placed = {image.name: camera_entry(image) for image in model.images.values() if image.has_pose}
        error = model.compute_mean_reprojection_error()
    lost = [video.name for name, video in files.items() if name not in placed]
    if lost and not options.drop:
        count = f"{len(lost)} of {len(videos)}"
        raise ToolError(f"{options.folder / lost[0]}: cannot be placed (with it {count}); leave them out with --drop")
    entries = [{"file_path": video.name, **placed[name]} for name, video in files.items() if name in placed]
    write_json(target, {"camera_model": "OPENCV", "frames": entries})
    print(f"{target}: {len(entries)} of {len(videos)} cameras, mean reprojection error {error:.2f} px")


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of videos, one per camera")
    parser.add_argument("--frames", type=int, default=15, help="frames that the median is of; 1: the first frame")
    parser.add_argument("--intrinsics", choices=(SEPARATE, SHARED), default=SEPARATE,
                        help="one set per camera, or one for all (equal cameras and zoom; steadier)")  # fmt: skip
    parser.add_argument("--drop", action="store_true", help="leave out videos that cannot be placed")
    parser.add_argument("--seed", type=int, default=0, help="of COLMAP's random draws (default: 0)")
    parser.add_argument("--force", action="store_true", help="replace an existing transforms.json")
    try:
        run(parser.parse_args(arguments))
    except ToolError as error:
        print(f"prepare_colmap: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
