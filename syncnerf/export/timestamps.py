"""caliscope's ``timestamps.csv``: every frame's corrected time."""

import re
from pathlib import Path

from syncnerf.atomic import link
from syncnerf.export.alignment import Alignment
from syncnerf.export.copies import copy_streams

TIMESTAMPS = "timestamps.csv"


def write_caliscope(alignment: Alignment, folder: Path) -> list[str]:
    """``timestamps.csv`` and links to the whole videos as ``cam_<id>``, in caliscope's layout of a recording.

    The files of a recording that goes on in several are joined to one.

    One row per frame: ``cam_id,frame_time`` in seconds, 0 at the earliest frame of all. Cameras that are called
    ``cam_<id>`` keep their id, else they are counted in the scene's order.

    Returns:
        Notes, one line each.

    Raises:
        UserError: a camera's frames are no video.
    """
    folder.mkdir()
    identities = camera_ids(alignment.scene.names)
    begin = min(float(alignment.times(camera)[0]) for camera in range(len(identities)))
    rows, notes = ["cam_id,frame_time"], []
    for camera, identity in enumerate(identities):
        paths = alignment.video(camera).paths
        place = folder / f"cam_{identity}{paths[0].suffix}"
        if len(paths) == 1:
            link(paths[0], place)
        else:
            copy_streams(paths, place)
            notes.append(f"camera {alignment.scene.names[camera]}: its {len(paths)} files are joined in {place.name}")
        rows += [f"{identity},{time:.9f}" for time in (alignment.times(camera) - begin).tolist()]
    (folder / TIMESTAMPS).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return notes


def camera_ids(names: list[str]) -> list[int]:
    """Whole numbers for cameras: those of their names ``cam_<id>`` where all are called so, else 0, 1, ..."""
    found = [re.fullmatch(r"cam_(\d+)", name) for name in names]
    numbers = [int(match.group(1)) for match in found if match]
    return numbers if len(set(numbers)) == len(names) else list(range(len(names)))
