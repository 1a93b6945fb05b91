"""All scores of a scene's views, and ``scores.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncnerf.atomic import write_text
from syncnerf.errors import UserError
from syncnerf.generate.geometry import Matches, score_geometry
from syncnerf.generate.score import Score
from syncnerf.generate.synchrony import score_synchrony
from syncnerf.scene import Scene

WEIGHTS_NEEDED = {
    "clip_view": "CLIP similarity of views at equal times needs CLIP's weights, which are not part of this package",
    "fvd_view": "Frechet video distance over views needs the I3D network's weights, which are not part of this package",
    "fid": "Frechet inception distance needs the Inception network's weights, which are not part of this package",
}
"""Scores that papers report and that cannot be had without weights, with the reason."""


@dataclass(frozen=True)
class ViewScores:
    """Scores by name, and what the page draws besides.

    Attributes:
        scene: the views.
        scores: by name, in the order of the page.
        matches: of the geometric score.
    """

    scene: Scene
    scores: dict[str, Score]
    matches: list[Matches]

    def to_dict(self) -> dict[str, Any]:
        """The layout of ``scores.json``."""
        record = {
            "scene": self.scene.root.resolve().name,
            "views": self.scene.names,
            "frames": min(camera.frame_count for camera in self.scene.cameras),
            "frames_per_second": 1 / self.scene.frame_interval,
        }
        missing = {name: {"value": None, "reason": reason} for name, reason in WEIGHTS_NEEDED.items()}
        return record | {"scores": {name: score.to_dict() for name, score in self.scores.items()} | missing}


def score_views(scene: Scene, consistency: Score) -> ViewScores:
    """Score views that should be synchronous and consistent.

    Args:
        scene: the views and the poses that they should have.
        consistency: the score of a field trained on them (:mod:`syncnerf.generate.consistency`), which takes longer.

    Raises:
        UserError: there are fewer than two views.
    """
    if len(scene.cameras) < 2:
        raise UserError(f"{scene.root}: has one view; scores compare at least two")
    geometry, matches = score_geometry(scene)
    scores = {"synchrony": score_synchrony(scene), "geometry": geometry, "consistency_4d": consistency}
    return ViewScores(scene, scores, matches)


def write_scores(path: Path, scores: ViewScores) -> None:
    """Write ``scores.json`` whole or not at all; raises UserError where it cannot be written."""
    write_text(path, json.dumps(scores.to_dict(), indent=1, allow_nan=False) + "\n")
