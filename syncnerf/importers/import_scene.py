"""Makes a scene of a calibration and a folder of videos."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from syncnerf.atomic import atomic_folder, link
from syncnerf.errors import UserError
from syncnerf.importers.calibration import Calibration
from syncnerf.importers.calibration_parts import LENS_KEYS
from syncnerf.importers.timestamps import TIMESTAMPS, read_timestamps
from syncnerf.importers.videos import FilmedCamera, Fit, film, match, videos_by_name
from syncnerf.point_files import write_points

UNKNOWN_UNIT = "the unit is not known (boards are mostly measured in millimetres): the file's numbers stay; see --unit"
POINTS = "points.ply"
"""Name of the file of the calibration's points in the scene's folder."""
PLAUSIBLE_METRES = (0.02, 500.0)
"""Range of a rig's size in metres outside of which the unit is probably wrong."""


@dataclass(frozen=True)
class ImportedScene:
    """The result of an import: the scene's folder, its cameras, and notes for the user, one line each."""

    root: Path
    cameras: tuple[FilmedCamera, ...]
    notes: tuple[str, ...]


def import_scene(calibration: Calibration, videos: Path, out: Path, fit: Fit = "scale") -> ImportedScene:
    """Write ``transforms.json`` and links to the videos into a new folder, which appears only when it is complete.

    Args:
        calibration: from :func:`~syncnerf.importers.formats.read_calibration`; its unit becomes metres where known.
        videos: folder of the videos; a ``timestamps.csv`` in it (caliscope's) gives every frame's time.
        out: the scene's folder, new or empty.
        fit: how a video of another size shows the calibrated image.

    Raises:
        UserError: videos and calibration do not fit, or the folder cannot be written.
    """
    found = videos_by_name(videos)
    pairs, notes = match(calibration, list(found))
    filmed = [film(calibration, calibration.cameras[index], name, found[name], fit) for index, name in pairs]
    times = _frame_times(videos / TIMESTAMPS, filmed)
    metres = calibration.metres
    notes = [*calibration.notes, *notes, *([UNKNOWN_UNIT] if metres is None else [])]
    notes += [f"camera {camera.name}: {camera.note}" for camera in filmed if camera.note]
    if times:
        notes.append(f"every frame's time is that of {TIMESTAMPS}")
    entries = [_entry(camera, metres or 1.0, times.get(camera.name)) for camera in filmed]
    notes += _remark_on_size(entries, metres)
    record = {"source": f"{calibration.format}: {calibration.path.name}", "frames": entries}
    record["unit"] = "metres" if metres is not None else "unknown"
    points = calibration.points
    if points is not None:
        record["ply_file_path"] = POINTS
        points = np.concatenate([points[:, :3] * np.float32(metres or 1.0), points[:, 3:]], axis=1)
        notes.append(f"{len(points)} points of what is at rest come along ({POINTS}); fields start from them")
    _write(out, record, filmed, points)
    return ImportedScene(out, tuple(filmed), tuple(notes))


def _frame_times(path: Path, filmed: list[FilmedCamera]) -> dict[str, np.ndarray]:
    """Frame times by camera name, if the file exists; raises UserError if a camera's number of frames differs."""
    if not path.is_file():
        return {}
    times = read_timestamps(path)
    for camera in filmed:
        count = len(times.get(camera.name, ()))
        if count != camera.properties.frame_count:
            raise UserError(
                f"{path}: holds {count} frames of {camera.name}, whose video has {camera.properties.frame_count}; "
                "mend or remove the file"
            )
    return times


def _entry(camera: FilmedCamera, metres: float, times: np.ndarray | None) -> dict[str, Any]:
    """The camera's entry of ``transforms.json``."""
    calibrated = camera.calibrated
    width, height = calibrated.size
    names = _link_names(camera)
    entry = {
        "file_path": names[0] if len(names) == 1 else names,
        "camera_model": calibrated.model,
        "w": width,
        "h": height,
        "fl_x": float(calibrated.matrix[0, 0]),
        "fl_y": float(calibrated.matrix[1, 1]),
        "cx": float(calibrated.matrix[0, 2]),
        "cy": float(calibrated.matrix[1, 2]),
    }
    entry |= dict(zip(LENS_KEYS[calibrated.model], calibrated.distortion, strict=False))
    key = "transform_matrices" if calibrated.is_moving else "transform_matrix"
    entry[key] = calibrated.camera_to_world(metres).tolist()
    if times is not None:
        entry["frame_times"] = times.tolist()
    return entry


def _remark_on_size(entries: list[dict[str, Any]], metres: float | None) -> list[str]:
    """A warning if the rig, in metres, would be as large as a town or as small as a coin."""
    if metres is None:
        return []
    places = np.stack(
        [np.reshape(e.get("transform_matrix", e.get("transform_matrices")), (-1, 4, 4))[0] for e in entries]
    )
    reach = float(np.linalg.norm(np.ptp(places[:, :3, 3], axis=0)))
    if PLAUSIBLE_METRES[0] <= reach <= PLAUSIBLE_METRES[1]:
        return []
    return [f"warning: the cameras stand {reach:.3g} m apart; if the file is in another unit, say so with --unit"]


def _link_names(camera: FilmedCamera) -> list[str]:
    """Names of the camera's files in the scene: the camera's name, with a number for the second and further ones."""
    first, *chapters = camera.video.paths
    names = [camera.name + first.suffix]
    return names + [f"{camera.name}_part{k}{path.suffix}" for k, path in enumerate(chapters, start=2)]


def _write(
    out: Path, record: dict[str, Any], filmed: list[FilmedCamera], points: Float32[np.ndarray, "P 6"] | None
) -> None:
    with atomic_folder(out) as scratch:
        for camera in filmed:
            for path, name in zip(camera.video.paths, _link_names(camera), strict=True):
                link(path, scratch / name)
        if points is not None:
            write_points(scratch / POINTS, points)
        (scratch / "transforms.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
