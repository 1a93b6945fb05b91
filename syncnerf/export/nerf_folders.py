"""Folders of other fields: D-NeRF's and nerfstudio's json with exact times, N3V's videos with ``poses_bounds.npy``."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from tqdm import tqdm

from syncnerf.export.alignment import Alignment
from syncnerf.scene.camera import Camera, Intrinsics

NEARLY_LOSSLESS = {"crf": "10", "preset": "medium"}
ROUNDING = 0.01
"""Relative difference of intrinsics that a layout with one set for all may pass over."""


def write_transforms(alignment: Alignment, folder: Path) -> list[str]:
    """``transforms_{train,val,test}.json`` and undistorted PNGs, every frame with its exact time.

    ``time`` runs from 0 at the earliest frame to 1 at the latest; ``time_seconds`` is the same in seconds.
    Each entry has its own intrinsics (nerfstudio's keys). D-NeRF's readers know one ``camera_angle_x`` alone, which is
    there where all cameras are alike. The scene's test cameras are the test (and validation) views.

    Returns:
        Notes, one line each.
    """
    scene = alignment.scene
    times = [alignment.times(camera) for camera in range(len(scene.cameras))]
    begin = min(float(own[0]) for own in times)
    span = max(float(own[-1]) for own in times) - begin
    folder.mkdir()
    shared, notes = _shared_angle(scene.cameras)
    entries = {"train": [], "test": []}
    count = sum(camera.frame_count for camera in scene.cameras)
    with tqdm(total=count, desc="images", unit="frame", leave=False) as progress:
        for index, camera in enumerate(scene.cameras):
            split = "test" if index in scene.test else "train"
            (folder / split).mkdir(exist_ok=True)
            own = _intrinsics_keys(camera.intrinsics)
            for frame, image in enumerate(scene.frames(index)):
                name = f"{split}/{camera.name}_{frame:05d}"
                Image.fromarray(image).save(folder / f"{name}.png", compress_level=1)
                seconds = float(times[index][frame]) - begin
                entry = {"file_path": f"./{name}", "time": seconds / span, "time_seconds": seconds, **own}
                entries[split].append({**entry, "transform_matrix": scene.world_pose(index, frame).tolist()})
                progress.update()
    for split, chosen in {**entries, "val": entries["test"]}.items():
        record = {**shared, "frames": chosen}
        (folder / f"transforms_{split}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return notes


def _intrinsics_keys(intrinsics: Intrinsics) -> dict[str, float]:
    keys = ("w", "h", "fl_x", "fl_y", "cx", "cy")
    values = (intrinsics.width, intrinsics.height, intrinsics.focal_x, intrinsics.focal_y)
    return dict(zip(keys, (*values, intrinsics.centre_x, intrinsics.centre_y), strict=True))


def _shared_angle(cameras: tuple[Camera, ...]) -> tuple[dict[str, float], list[str]]:
    """``camera_angle_x`` where one angle serves all cameras, or a note that it does not."""
    first = cameras[0].intrinsics
    differing = [
        camera.name for camera in cameras if not _alike(camera.intrinsics, first) or not _is_plain(camera.intrinsics)
    ]
    if differing:
        return {}, [
            f"D-NeRF's readers cannot use it: camera {differing[0]} has intrinsics of its own (nerfstudio's can)"
        ]
    return {"camera_angle_x": 2 * float(np.arctan(0.5 * first.width / first.focal_x))}, []


def _alike(one: Intrinsics, other: Intrinsics) -> bool:
    same_size = (one.width, one.height) == (other.width, other.height)
    return same_size and abs(one.focal_x / other.focal_x - 1) < ROUNDING


def _is_plain(own: Intrinsics) -> bool:
    """Square pixels, and the principal point in the middle."""
    off = max(abs(own.centre_x / own.width - 0.5), abs(own.centre_y / own.height - 0.5))
    return off < ROUNDING and abs(own.focal_y / own.focal_x - 1) < ROUNDING


def write_n3v(alignment: Alignment, folder: Path) -> list[str]:
    """N3V's layout: ``cam00.mp4`` ... of the common time, undistorted, and ``poses_bounds.npy``.

    Videos are whole frames apart by then: up to half a frame remains, which ``alignment.json`` notes. Row c of the
    table is LLFF's: 3x5 of down, right, backward, place and (height, width, focal length), then near and far.

    Returns:
        Notes, one line each.

    Raises:
        UserError: nothing is common to all.
    """
    scene = alignment.scene
    folder.mkdir()
    rows, record, notes, counts = [], {}, [], []
    for part in alignment.cuts():
        camera = scene.cameras[part.camera]
        name = f"cam{part.camera:02d}.mp4"
        frames = scene.frames(part.camera)
        _encode(folder / name, (frames[index] for index in part.frames), camera)
        record[camera.name] = {"file": name, "first_frame": part.frames[0], "remainder": part.remainder}
        right, up, back, place = scene.world_pose(part.camera)[:3].numpy().T
        own = camera.intrinsics
        size = np.array([own.height, own.width, 0.5 * (own.focal_x + own.focal_y)])
        rows.append([*np.stack([-up, right, back, place, size], axis=1).reshape(-1), scene.near, scene.far])
        if not _is_plain(own):
            notes.append(f"camera {camera.name}: its principal point or pixels are not what N3V's readers assume")
        if camera.is_moving:
            notes.append(f"camera {camera.name} moves: N3V's layout holds its first pose alone")
        if not _alike(own, scene.cameras[0].intrinsics):
            notes.append(f"camera {camera.name}: N3V's readers give it the first one's size and focal length")
        counts.append(len(part.frames))
    if min(counts) < max(counts):
        notes.append(f"the videos have {min(counts)} to {max(counts)} frames; N3V's readers take equally many of each")
    np.save(folder / "poses_bounds.npy", np.array(rows))
    (folder / "alignment.json").write_text(
        json.dumps({"unit": "seconds", "cameras": record}, indent=1) + "\n", encoding="utf-8"
    )
    return notes


def _encode(path: Path, images, camera: Camera) -> None:
    """An H.264 video of uint8 RGB images [height, width, 3], nearly without loss."""
    with av.open(str(path), "w") as container:
        rate = Fraction(camera.fps).limit_denominator(100_000)
        stream = container.add_stream("libx264", rate=rate, options=NEARLY_LOSSLESS)
        stream.width, stream.height = camera.intrinsics.width, camera.intrinsics.height
        even = stream.width % 2 == stream.height % 2 == 0
        stream.pix_fmt = "yuv420p" if even else "yuv444p"
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
