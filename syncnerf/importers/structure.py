"""Finds the cameras of videos without a calibration by structure from motion, with COLMAP."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from syncnerf.errors import UserError
from syncnerf.importers.calibration import Calibration, checked
from syncnerf.importers.calibration_parts import rodrigues
from syncnerf.importers.colmap import read_images
from syncnerf.importers.colmap_points import read_points
from syncnerf.importers.posed_images import PosedImage, cameras_of
from syncnerf.importers.stills import write_stills
from syncnerf.importers.videos import videos_by_name
from syncnerf.scene.video import VideoSource, probe_video

LEAST_VIDEOS = 3
STILL_MOMENTS, STILL_FRAMES = 3, 9
"""Number of pictures of a static camera, and of frames whose median makes each."""
MOVING_PICTURES = 40
"""Number of pictures of a moving camera; poses of the frames between are interpolated."""
LARGEST_GAP = 3
"""Most consecutive pictures of a moving camera that may fail; interpolating across more would be guessing."""


def calibrate(videos: Path, moving: Sequence[str], shared: bool, drop: bool, seed: int) -> Calibration:
    """Find the cameras of a folder of videos; the unit is arbitrary.

    Args:
        videos: folder of one video per camera, which overlap and show texture.
        moving: names of the cameras that move.
        shared: one set of intrinsics for all cameras (equal cameras and zoom) instead of one for each.
        drop: leave out cameras that cannot be placed.
        seed: of COLMAP's random draws.

    Raises:
        UserError: too few videos, cameras that cannot be placed, pycolmap is missing.
    """
    found = {
        name: VideoSource(files.paths[0], chapters=files.paths[1:]) for name, files in videos_by_name(videos).items()
    }
    unknown = [name for name in moving if name not in found]
    if unknown:
        raise UserError(f"{videos}: has no video '{unknown[0]}' (has: {', '.join(found)})")
    if len(found) < LEAST_VIDEOS:
        raise UserError(f"{videos}: holds {len(found)} videos; at least {LEAST_VIDEOS} are needed to place cameras")
    with tempfile.TemporaryDirectory() as scratch:
        images, work = Path(scratch) / "images", Path(scratch) / "model"
        for name, video in tqdm(found.items(), desc="stills", unit="video", leave=False):
            settings = (MOVING_PICTURES, 1) if name in moving else (STILL_MOMENTS, STILL_FRAMES)
            write_stills(video, images / name, *settings)
        error = _reconstruct(images, work, videos, shared, seed)
        file, posed = read_images(work)
        points = read_points(file)
    groups = {name: [image for image in posed if Path(image.file).parent.name == name] for name in found}
    lost = [name for name, group in groups.items() if not group]
    if lost and not drop:
        raise UserError(
            f"{found[lost[0]].path}: cannot be placed ({len(lost)} of {len(found)} videos); it needs texture and "
            "overlap, or leave such videos out with --drop"
        )
    images = []
    for name, group in groups.items():
        if group:
            images += _every_frame(found[name], group) if name in moving else group
    cameras, notes = cameras_of(videos, images)
    wandering = [camera.name for camera in cameras if camera.is_moving and camera.name not in moving]
    if wandering:
        raise UserError(f"{found[wandering[0]].path}: the camera does not stand still; name it with --moving")
    notes += [f"warning: video {name} is left out: it cannot be placed" for name in lost]
    notes.append(f"mean reprojection error {error:.2f} px over {len(posed)} pictures")
    return replace(checked(videos, "COLMAP", cameras, None, notes=notes), points=points)


def _reconstruct(images: Path, work: Path, videos: Path, shared: bool, seed: int) -> float:
    """Write the largest model that COLMAP finds into ``work``; its mean reprojection error in pixels."""
    try:
        import pycolmap
    except ImportError as error:
        raise UserError(
            f"{videos}: placing cameras needs pycolmap ({error}); pip install 'syncnerf[colmap]'"
        ) from error
    work.mkdir()
    database, cpu = work / "database.db", pycolmap.Device.cpu
    reader = pycolmap.ImageReaderOptions()
    # From a few pictures per camera, tangential distortion cannot be distinguished from the focal length.
    reader.camera_model = "OPENCV" if shared else "RADIAL"
    mode = pycolmap.CameraMode.SINGLE if shared else pycolmap.CameraMode.PER_FOLDER
    pycolmap.logging.minloglevel = pycolmap.logging.ERROR
    pycolmap.set_random_seed(seed)
    pycolmap.extract_features(database, images, camera_mode=mode, reader_options=reader, device=cpu)
    pycolmap.match_exhaustive(database, device=cpu)
    options = pycolmap.IncrementalPipelineOptions()
    options.min_model_size, options.random_seed = LEAST_VIDEOS, seed
    models = pycolmap.incremental_mapping(database, images, work, options)
    if not models:
        raise UserError(f"{videos}: no cameras could be placed; the videos need texture and overlap")
    largest = max(models.values(), key=lambda model: model.num_reg_images())
    largest.write_binary(work)
    return largest.compute_mean_reprojection_error()


def _every_frame(video: VideoSource, group: Sequence[PosedImage]) -> list[PosedImage]:
    """A moving camera's poses at all frames, interpolated between its pictures: linear, rotations at constant speed."""
    frames = np.array([int(Path(image.file).stem) for image in group])
    order = np.argsort(frames)
    frames, cameras = frames[order], [group[index].camera for index in order]
    count = probe_video(video.path, video.chapters).frame_count
    expected = max(1.0, (count - 1) / (MOVING_PICTURES - 1))
    ends = np.concatenate([[-1], frames, [count]])
    if np.diff(ends).max() > (LARGEST_GAP + 1) * expected + 1:
        raise UserError(f"{video.path}: its path is lost for a while ({len(frames)} pictures placed); it needs texture")
    centres = np.stack([-camera.rotation.T @ camera.translation for camera in cameras])
    places = np.stack([np.interp(np.arange(count), frames, centres[:, axis]) for axis in range(3)], axis=1)
    images = []
    for frame in range(count):
        after = int(np.clip(np.searchsorted(frames, frame), 1, len(frames) - 1)) if len(frames) > 1 else 0
        before = max(after - 1, 0)
        span = max(int(frames[after] - frames[before]), 1)
        share = float(np.clip((frame - frames[before]) / span, 0, 1))
        rotation = _turned(cameras[before].rotation, cameras[after].rotation, share)
        camera = replace(cameras[before], rotation=rotation, translation=-rotation @ places[frame])
        images.append(PosedImage(f"{Path(group[0].file).parent.name}/{frame:06d}.png", camera))
    return images


def _turned(one: np.ndarray, two: np.ndarray, share: float) -> np.ndarray:
    """The rotation a ``share`` of the way from ``one`` to ``two``, less than half a turn apart, shape [3, 3]."""
    step = two @ one.T
    axis = np.array([step[2, 1] - step[1, 2], step[0, 2] - step[2, 0], step[1, 0] - step[0, 1]])
    sine = 0.5 * float(np.linalg.norm(axis))
    if sine < 1e-12:
        return one
    angle = float(np.arctan2(sine, 0.5 * (np.trace(step) - 1)))
    return rodrigues(axis / (2 * sine) * share * angle) @ one
