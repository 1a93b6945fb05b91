"""caliscope's ``timestamps.csv`` beside the videos of a recording: the true time of every frame."""

import csv
import math
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from syncnerf.errors import UserError
from syncnerf.importers.text import read_text

TIMESTAMPS = "timestamps.csv"


def read_timestamps(path: Path) -> dict[str, Float64[np.ndarray, " _"]]:
    """Each camera's frame times, ascending, in seconds from the first frame of all cameras; float64, shape [T].

    One row per frame: ``cam_id`` (``port`` in older files) and ``frame_time`` in seconds on one clock, in any order.
    Videos are named ``cam_<cam_id>``, and so are the cameras here.

    Raises:
        UserError: a column is missing, a row holds no number, or two frames of a camera have one time.
    """
    rows = csv.DictReader(read_text(path).splitlines())
    columns = rows.fieldnames or []
    identity = next((key for key in ("cam_id", "port") if key in columns), None)
    if identity is None or "frame_time" not in columns:
        raise UserError(f"{path}: should have the columns cam_id and frame_time; write it again or remove it")
    times: dict[str, list[float]] = {}
    for number, row in enumerate(rows, start=2):
        try:
            time = float(row["frame_time"])
        except (TypeError, ValueError):
            time = math.nan
        if not math.isfinite(time):
            raise UserError(f"{path}: line {number} has no frame_time in seconds; mend or remove the file")
        times.setdefault(f"cam_{row[identity]}", []).append(time)
    if not times:
        raise UserError(f"{path}: holds no frame; write it again or remove it")
    begin = min(min(own) for own in times.values())
    ordered = {name: np.sort(np.array(own)) - begin for name, own in times.items()}
    for name, own in ordered.items():
        if (np.diff(own) <= 0).any():
            raise UserError(f"{path}: two frames of {name} have the same time; mend or remove the file")
    return ordered
