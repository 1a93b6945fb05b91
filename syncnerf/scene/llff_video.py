"""Reader of ``poses_bounds.npy`` with one video per camera: Neural 3D Video, and anything else written as LLFF."""

import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.errors import UserError, one_line
from syncnerf.records import rigid_matrix
from syncnerf.scene.camera import Camera, Intrinsics
from syncnerf.scene.forward_facing import NEAREST, faces_forward, nearest_depth, recentred
from syncnerf.scene.frame_cache import FrameCache, cache_directory
from syncnerf.scene.placement import rig_placement
from syncnerf.scene.read_options import ReadOptions, choose_cameras
from syncnerf.scene.scene import Scene
from syncnerf.scene.true_offsets import read_true_clocks
from syncnerf.scene.video import VideoSource, check_same_shape, probe_video
from syncnerf.scene.video_files import VideoFiles, videos_of_poses

logger = logging.getLogger(__name__)

FULL_WIDTH = 2000
"""Videos wider than this many pixels are read at half their size unless asked otherwise, as is the standard on N3V."""


def is_llff_video(root: Path) -> bool:
    """Whether the folder holds ``poses_bounds.npy``."""
    return (root / "poses_bounds.npy").is_file()


def read_llff_video(root: Path, options: ReadOptions) -> Scene:
    """Read ``poses_bounds.npy`` and the sorted videos beside it; camera 0 is for evaluation.

    Poses are taken relative to their average, which looks along -Z, and scaled so that the nearest content lies at
    depth 4/3 (NeRF's convention). The space is normalised device coordinates; contraction can be chosen instead, and
    is what a rig that does not face one way gets.

    Raises:
        UserError: with the file, what is wrong and what to do.
    """
    path = root / "poses_bounds.npy"
    poses, sizes, bounds = read_poses_bounds(path)
    advice = "name them alike, with as many digits each (cam02, cam10)"
    videos, options = videos_of_poses(path, len(poses), root, options, advice)
    names = [video.name for video in videos]
    kept, test = choose_cameras(names, options, path)
    truth = read_true_clocks(root, names, kept)
    poses, bounds = recentred(poses[kept]), bounds[kept]
    depth = nearest_depth(poses, bounds[:, 0])
    # Around an inward-looking rig's mean place there is content on all sides, no nearest depth: take the near bound.
    scale = NEAREST / (depth if depth > 0 else float(bounds[:, 0].min()))
    poses[:, :3, 3] *= scale
    cameras, sources = [], {}
    for k, pose in zip(kept, poses, strict=True):
        cameras.append(_camera(videos[k], pose, sizes[k], f"{path}: row {k}", options))
        sources[names[k]] = VideoSource(videos[k].paths[0], chapters=videos[k].paths[1:])
    cameras = tuple(cameras)
    forward = depth > 0 and faces_forward(cameras)
    if not forward:
        logger.info("%s: the cameras do not face one way; space is contracted, not warped to device coordinates", path)
    return Scene(
        root=root,
        format="n3v",
        cameras=cameras,
        frame_cache=FrameCache(cache_directory(root, options.cache_dir), sources),
        test=test,
        bounds=rig_placement(cameras).bounds,
        near=0.9 * scale * float(bounds[:, 0].min()),
        far=1.1 * scale * float(bounds[:, 1].max()),
        space="ndc" if forward else "contraction",
        background=None,
        **truth,
    )


def read_poses_bounds(
    path: Path,
) -> tuple[Float64[Tensor, "C 4 4"], Float64[Tensor, "C 3"], Float64[Tensor, "C 2"]]:
    """Read LLFF's table: each row a 3x5 matrix (axes down, right, back; centre; height, width, focal), near, far.

    Returns:
        Camera-to-world in OpenGL axes, float64, shape [C, 4, 4]; height, width and focal length in pixels, shape
        [C, 3]; near and far in the poses' units, shape [C, 2].

    Raises:
        UserError: the file cannot be read or holds something else.
    """
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as numpy's .npy ({one_line(error)}); write it again") from error
    if not isinstance(table, np.ndarray) or table.dtype.kind not in "fiu":
        raise UserError(f"{path}: should hold numbers; write it again as float64")
    if table.ndim != 2 or table.shape[1] != 17 or len(table) == 0:
        raise UserError(f"{path}: has shape {table.shape}; (cameras, 17) is expected")
    rows = torch.from_numpy(table.astype(np.float64))
    if not torch.isfinite(rows).all():
        row = int((~torch.isfinite(rows)).any(dim=1).nonzero()[0])
        raise UserError(f"{path}: row {row} holds NaN or infinity; estimate this pose again")
    matrices, bounds = rows[:, :15].reshape(-1, 3, 5), rows[:, 15:]
    down, right, back, centre, sizes = matrices.unbind(-1)
    poses = [
        rigid_matrix(matrix.tolist(), f"{path}: row {row}")
        for row, matrix in enumerate(torch.stack([right, -down, back, centre], dim=-1))
    ]
    if not ((bounds[:, 0] > 0) & (bounds[:, 1] > bounds[:, 0])).all():
        raise UserError(f"{path}: the last two columns should be near and far, with 0 < near < far")
    if not (sizes > 0).all():
        raise UserError(f"{path}: height, width and focal length (column 5 of each matrix) should be more than 0")
    return torch.stack(poses), sizes, bounds


def _camera(files: VideoFiles, pose: Tensor, size: Tensor, where: str, options: ReadOptions) -> Camera:
    video = files.paths[0]
    properties = probe_video(video, files.paths[1:])
    height, width, focal = size.tolist()
    check_same_shape(video, properties, width, height, where)
    if properties.fps <= 0:
        raise UserError(f"{video}: has no frame rate; encode it again with one")
    stated = Intrinsics(max(round(width), 1), max(round(height), 1), focal, focal, width / 2, height / 2)
    standard = 2.0 if properties.width > FULL_WIDTH else 1.0
    camera = Camera(files.name, stated, pose, properties.fps, properties.frame_count, properties.times)
    return camera.resized(*options.size(properties.width, properties.height, standard))
