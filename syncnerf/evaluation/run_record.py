"""What lies in a run's folder, read for its report; every part may be missing."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.evaluation.pictures import PICTURE_KINDS, PICTURE_NAME
from syncnerf.records import read_json


@dataclass(frozen=True)
class OffsetHistory:
    """Offsets over training.

    Attributes:
        steps: training steps, ascending.
        names: the cameras' names.
        seconds: offsets, float64, shape [steps, cameras].
    """

    steps: list[int]
    names: list[str]
    seconds: Float64[Tensor, "steps cameras"]


@dataclass(frozen=True)
class RunRecord:
    """A run's results.

    Attributes:
        name: of the run's folder.
        history: offsets over training, or None.
        offsets: by camera, ``offset`` and ``stderr`` in seconds (the latter may be missing or None).
        reference: name of the camera whose offset is exactly 0, or None.
        source: what the offsets come from: sync, joint or test-optim.
        metrics: the contents of ``metrics.json``, or None.
        configuration: the contents of ``config.txt``, or None.
        pictures: paths by camera, frame and kind.
        videos: rendered videos, test views first.
    """

    name: str
    history: OffsetHistory | None = None
    offsets: dict[str, dict[str, Any]] = field(default_factory=dict)
    reference: str | None = None
    source: str | None = None
    metrics: dict[str, Any] | None = None
    configuration: str | None = None
    pictures: dict[tuple[str, int], dict[str, Path]] = field(default_factory=dict)
    videos: list[Path] = field(default_factory=list)


def read_run(folder: Path) -> RunRecord:
    """Read a run's folder.

    Raises:
        UserError: a file is there but cannot be read; it is named.
    """
    offsets = read_json(folder / "offsets.json") if (folder / "offsets.json").exists() else {}
    metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else None
    configuration = folder / "config.txt"
    return RunRecord(
        name=folder.resolve().name,
        history=read_history(folder / "offsets.csv"),
        offsets=offsets.get("cameras", {}),
        reference=offsets.get("reference"),
        source=offsets.get("source"),
        metrics=metrics,
        configuration=configuration.read_text(encoding="utf-8", errors="replace") if configuration.exists() else None,
        pictures=find_pictures(folder / "renders"),
        videos=sorted((folder / "renders").glob("*.mp4"), key=lambda path: (not path.name.startswith("test_"), path)),
    )


def read_history(path: Path) -> OffsetHistory | None:
    """Read ``offsets.csv`` (header ``step`` and the cameras' names, then seconds); None without a complete line.

    A line that a killed run left unfinished is skipped; of a step that a resumed run wrote again, the later one counts.
    """
    if not path.exists():
        return None
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        header, *lines = list(csv.reader(file)) or [[]]
    rows: dict[int, list[float]] = {}
    for line in lines:
        try:
            step, *values = (float(value) for value in line)
        except ValueError:
            continue
        if len(values) == len(header) - 1 and all(map(math.isfinite, values)):
            rows[int(step)] = values
    if not rows:
        return None
    steps = sorted(rows)
    return OffsetHistory(steps, header[1:], torch.tensor([rows[step] for step in steps], dtype=torch.float64))


def find_pictures(renders: Path) -> dict[tuple[str, int], dict[str, Path]]:
    """Pictures of test frames by camera and frame, then by kind in the order in which they are shown."""
    found: dict[tuple[str, int], dict[str, Path]] = {}
    for path in renders.glob("test_*.png"):
        match = PICTURE_NAME.fullmatch(path.name)
        if match:
            found.setdefault((match["camera"], int(match["frame"])), {})[match["kind"]] = path
    return {key: {kind: found[key][kind] for kind in PICTURE_KINDS if kind in found[key]} for key in sorted(found)}
