"""Pose2Sim's ``pose-sync``: 2D keypoints of each camera at the same moments, interpolated between its frames."""

import json
import math
import re
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from syncnerf.errors import UserError
from syncnerf.export.alignment import Alignment
from syncnerf.records import read_json_object
from syncnerf.sync.common_interval import common_interval

NUMBER = re.compile(r"(\d+)(?=\D*\.json$)")
"""The frame's number in a file's name (``cam01_000042.json``, ``cam01_000000000042_keypoints.json``)."""
KEYPOINTS = ("pose_keypoints_2d", "face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")
"""Lists of x, y, confidence; all zeros where a point was not found."""


@dataclass(frozen=True)
class PoseFiles:
    """A camera's files by number of the frame, and how their names are made.

    Attributes:
        files: by number.
        before: what names begin with.
        after: what they end with, behind the number.
        digits: of the number at least, zeros first.
    """

    files: dict[int, Path]
    before: str
    after: str
    digits: int

    def name(self, number: int) -> str:
        """The name of a frame's file."""
        return f"{self.before}{number:0{self.digits}d}{self.after}"


def write_pose2sim(alignment: Alignment, poses: Path, folder: Path) -> list[str]:
    """Write ``<camera>_json`` folders whose files of equal number show the same moment.

    The moments are those of the camera with the highest frame rate, from the beginning to the end of the common time.
    A frame with one person on both sides of a moment is interpolated: places linearly, the confidence the lower one;
    with several persons, of whom nobody knows who is who, the nearest frame is taken.

    Args:
        alignment: the cameras' clocks.
        poses: Pose2Sim's folder ``pose``, with a ``<camera>_json`` for each camera.
        folder: to be made.

    Returns:
        Notes, one line each.

    Raises:
        UserError: a camera has no files, or one of them is unfit.
    """
    scene = alignment.scene
    inputs = [_pose_files(poses / f"{name}_json") for name in scene.names]
    begin, end = common_interval(scene, alignment.result())
    fps = max(camera.fps for camera in scene.cameras)
    moments = [begin + step / fps for step in range(int((end - begin) * fps + 1e-6) + 1)]
    folder.mkdir()
    notes = []
    for camera, (name, given) in enumerate(zip(scene.names, inputs, strict=True)):
        target = folder / f"{name}_json"
        target.mkdir()
        times = alignment.times(camera).tolist()
        nearest = 0
        for number, moment in enumerate(moments):
            record, blended = _at(given, times, moment)
            nearest += not blended
            (target / given.name(number)).write_text(json.dumps(record), encoding="utf-8")
        if nearest:
            notes.append(
                f"camera {name}: {nearest} of {len(moments)} moments have not one person: nearest frames taken"
            )
    return notes


def _pose_files(folder: Path) -> PoseFiles:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; --poses should name Pose2Sim's folder 'pose'")
    found = {path: match for path in sorted(folder.glob("*.json")) if (match := NUMBER.search(path.name))}
    if not found:
        raise UserError(f"{folder}: holds no numbered json files; run Pose2Sim's pose estimation first")
    path, match = next(iter(found.items()))
    files = {int(match.group(1)): path for path, match in found.items()}
    return PoseFiles(files, path.name[: match.start()], path.name[match.end() :], len(match.group(1)))


def _at(given: PoseFiles, times: list[float], moment: float) -> tuple[dict[str, Any], bool]:
    """The keypoints at a moment, and whether they are interpolated (or those of a frame at that very moment)."""
    after = min(max(bisect_left(times, moment), 1), len(times) - 1)
    share = min(max((moment - times[after - 1]) / (times[after] - times[after - 1]), 0.0), 1.0)
    one, two = (_read(given, number) for number in (after - 1, after))
    nearest = two if share >= 0.5 else one
    if share in (0.0, 1.0):
        return nearest, True
    people = [record["people"] for record in (one, two)]
    if [len(group) for group in people] != [1, 1]:
        return nearest, False
    return {**nearest, "people": [_between(people[0][0], people[1][0], nearest["people"][0], share)]}, True


def _read(given: PoseFiles, number: int) -> dict[str, Any]:
    """A frame's record; one without people where pose estimation wrote no file."""
    if number not in given.files:
        return {"version": 1.3, "people": []}
    path = given.files[number]
    record = read_json_object(path)
    people = record.get("people")
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise UserError(f"{path}: 'people' should list the persons; run pose estimation again")
    for person in people:
        for key in KEYPOINTS:
            if not _is_triples(person.get(key, [])):
                raise UserError(f"{path}: '{key}' should hold x, y and confidence of each point")
    return record


def _is_triples(values: Any) -> bool:
    if not isinstance(values, list) or len(values) % 3:
        return False
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _between(one: dict[str, Any], two: dict[str, Any], nearest: dict[str, Any], share: float) -> dict[str, Any]:
    """A person between two frames; a point that one of them lacks is lacking."""
    person = dict(nearest)
    for key in KEYPOINTS:
        first, second = (torch.tensor(p.get(key, []), dtype=torch.float64).reshape(-1, 3) for p in (one, two))
        if first.shape != second.shape or not len(first):
            continue
        mixed = torch.lerp(first, second, share)
        confidence = torch.minimum(first[:, 2], second[:, 2]).nan_to_num(nan=0.0)
        found = (confidence > 0) & mixed.isfinite().all(1)
        mixed[:, 2] = confidence
        mixed[~found] = 0.0
        person[key] = [value if math.isfinite(value) else 0.0 for value in mixed.reshape(-1).tolist()]
    return person
