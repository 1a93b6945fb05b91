"""Remarks on what may be unexpected in a scene's files: given while they are read, and by ``syncnerf info``."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from syncnerf.scene.camera import Camera
from syncnerf.scene.frame_numbers import LONGEST_STEP, numbers_of
from syncnerf.scene.images import ImageSource, image_remarks
from syncnerf.scene.rays import clip_to_box
from syncnerf.scene.scene import Scene
from syncnerf.scene.video import VideoSource, probe_video
from syncnerf.scene.video_remarks import APART, video_remarks

logger = logging.getLogger(__name__)

GAP = 1.5
"""An interval between frames that is so many times longer than the median is a gap."""
UNEVEN = 0.02
"""The rate varies if other intervals differ from the median by more than this share of it."""
RAYS = 24
"""Rays per side of an image with which it is estimated how much of the box the camera sees."""
SEEN = 0.02
"""A camera is blind if its rays pass through less of the box than this, between near and far, on the average and as a
share of the box's shortest side."""
ENLARGED = 1.02
"""Enlargement by undistortion from which on it is remarked on."""
ONE_PLACE = 1e-8
"""Cameras no farther apart, as a share of the first one's distance from the origin, stand in one place."""


def warn_of_untimed(scene: Scene) -> None:
    """One warning that names the videos whose timestamps do not say when their frames were taken."""
    found = {}
    for camera in scene.cameras:
        source = scene.frame_cache.sources[camera.name]
        if camera.frame_count > 1 and camera.given_times is None and isinstance(source, VideoSource):
            reason = probe_video(source.path, source.chapters).untimed
            if reason:
                found.setdefault(reason, []).append(source.path.name)
    for reason, names in found.items():
        logger.warning("%s: %s; a constant frame rate is taken for granted", ", ".join(names), reason)


def warn_of_copies(scene: Scene) -> None:
    """Warn of each recording that several cameras share: at most one of their poses can be right."""
    found: dict[tuple, list[str]] = {}
    for camera in scene.cameras:
        source = scene.frame_cache.sources[camera.name]
        if isinstance(source, VideoSource):
            found.setdefault((source.path.stat().st_size, _beginning(source.path)), []).append(camera.name)
    for names in found.values():
        if len(names) > 1:
            logger.warning("%s: %s have the same recording; is one of them misnamed?", scene.root, ", ".join(names))


def _beginning(path: Path) -> bytes:
    """A digest of a file's first million bytes."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(1 << 20)).digest()


def blind_cameras(scene: Scene) -> list[str]:
    """Names of cameras that see next to nothing of the box between near and far: nothing can be learned from them."""
    if scene.space == "ndc":  # the box is what the first camera sees
        return []
    blind, side = [], float((scene.bounds[1] - scene.bounds[0]).min())
    for camera in scene.cameras:
        shares = []
        for frame in (0, camera.frame_count // 2):
            rays = camera.resized(RAYS, RAYS).all_rays(scene.near, scene.far, frame)
            enter, leave = clip_to_box(rays, scene.bounds)
            shares.append(float((leave - enter).double().mean()) / side)
        if max(shares) < SEEN:
            blind.append(camera.name)
    return blind


def warn_of_blind(scene: Scene) -> None:
    """One warning that names the cameras of :func:`blind_cameras`, or says that all stand in one place."""
    for remark, names in _of_places(scene).items():
        logger.warning("%s", _said(remark, names, scene))


def _of_places(scene: Scene) -> dict[str, list[str]]:
    """A remark on where the cameras stand, if there is one, with the cameras that it concerns."""
    centres = torch.stack([camera.pose(0)[:3, 3] for camera in scene.cameras]) + scene.origin
    still = len(centres) > 1 and not any(camera.is_moving for camera in scene.cameras)
    if still and float((centres - centres[0]).norm(dim=1).max()) <= ONE_PLACE * float(centres[0].norm()):
        return {"stand in one place, where nothing tells distances; are the poses world-to-camera?": scene.names}
    blind = blind_cameras(scene)
    return {_blindness(scene): blind} if blind else {}


def _blindness(scene: Scene) -> str:
    low, high = scene.bounds.double() + scene.origin
    corners = ", ".join(f"({' '.join(f'{value:.4g}' for value in corner.tolist())})" for corner in (low, high))
    return (
        f"sees next to nothing of the box {corners} between near {scene.near:.4g} and far {scene.far:.4g}; is the "
        "scene of another scale? give --bounds, --near and --far"
    )


def _said(remark: str, names: list[str], scene: Scene) -> str:
    return f"{'all cameras' if len(names) == len(scene.cameras) else ', '.join(names)}: {remark}"


def remarks(scene: Scene) -> list[str]:
    """Lines on what may be unexpected, each with the cameras that it concerns; empty if there is nothing."""
    found = _of_places(scene) | _of_lenses(scene)
    for camera in scene.cameras:
        source = scene.frame_cache.sources[camera.name]
        for remark in _of_times(camera):
            found.setdefault(remark, []).append(camera.name)
        if isinstance(source, VideoSource):
            for remark in video_remarks(source):
                found.setdefault(remark, []).append(camera.name)
        elif isinstance(source, ImageSource):
            for remark in (*image_remarks(source.paths[0]), *_of_numbers(camera, source)):
                found.setdefault(remark, []).append(camera.name)
    return [_said(remark, names, scene) for remark, names in found.items()]


def _of_lenses(scene: Scene) -> dict[str, list[str]]:
    """A remark on pictures that undistortion enlarges to fill their borders, if there are any, with their cameras."""
    zooms = {name: scene.frame_cache.lens(name).zoom for name in scene.names}
    enlarged = {name: zoom for name, zoom in zooms.items() if zoom > ENLARGED}
    if not enlarged:
        return {}
    low, high = (f"{bound:.2f}" for bound in (min(enlarged.values()), max(enlarged.values())))
    remark = (
        f"undistorted pictures are {low if low == high else f'{low} to {high}'} times enlarged (the focal lengths "
        "above say so), as the lens has pushed their borders out of the stored ones"
    )
    return {remark: list(enlarged)}


def _of_times(camera: Camera) -> Iterator[str]:
    """Remarks on when a camera's frames were taken."""
    if camera.given_times is not None and camera.frame_count > 2:
        intervals = np.diff(camera.given_times.numpy())
        usual = float(np.median(intervals))
        gaps = np.flatnonzero(intervals > GAP * usual)
        if len(gaps):
            first, longest = int(gaps[0]), float(intervals.max())
            count = "a gap" if len(gaps) == 1 else f"{len(gaps)} gaps"
            yield f"{count} between frames, of at most {longest:.3f} s; the first after frame {first}"
        even = np.delete(intervals, gaps)
        if len(even) and np.abs(even - usual).max() > UNEVEN * usual:
            low, high = 1000 * even.min(), 1000 * even.max()
            yield f"the rate varies: {low:.1f} to {high:.1f} ms from frame to frame, usually {1000 * usual:.1f}"
    if camera.given_times is not None and float(camera.given_times[0]) > APART:
        yield f"its first frame is at {float(camera.given_times[0]):.3f} s of its clock"
    if camera.row_time:
        yield f"rolling shutter: {1000 * camera.row_time:g} ms from the first row to the last"
    if camera.exposure:
        yield f"exposed for {1000 * camera.exposure:g} ms; half of it is added to the frames' times"


def _of_numbers(camera: Camera, source: ImageSource) -> Iterator[str]:
    """Remarks on the numbers of a camera's images, if its times follow from these alone."""
    numbers = numbers_of(source)
    step = 1 if numbers is None or camera.given_times is not None else int(np.gcd.reduce(np.diff(numbers)))
    if 1 < step <= LONGEST_STEP:
        yield f"images are numbered by {step}, and taken for {camera.fps:g} a second; 'fps' is theirs, not a video's"
