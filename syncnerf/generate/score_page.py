"""``scores.html``: one self-contained page on the scores of views, with pictures."""

from __future__ import annotations

from html import escape

import numpy as np
from matplotlib.figure import Figure

from syncnerf.evaluation.charts import FULL_WIDTH, Series, embedded, hue, line_chart
from syncnerf.evaluation.report_page import card, number, page, section
from syncnerf.generate.geometry import WORKING_SIDE, Matches, frame_at, moments
from syncnerf.generate.score import Score
from syncnerf.generate.scores import WEIGHTS_NEEDED, ViewScores
from syncnerf.scene import Scene

SHOWN_MATCHES = 60
"""Matches drawn in the picture of a pair."""
SHOWN_VIEWS = 10
"""Views that are shown side by side at most."""


def score_page(scores: ViewScores) -> str:
    """The page as HTML; it needs no network: styles and pictures are inside it."""
    scene = scores.scene
    frames = min(camera.frame_count for camera in scene.cameras)
    subtitle = f"{len(scene.cameras)} views, {frames} frames, {1 / scene.frame_interval:g} frames per second"
    parts = [
        f'<div class="cards">{"".join(_card(score) for score in scores.scores.values())}</div>',
        _reading(),
        _synchrony(scores.scores["synchrony"]),
        _geometry(scene, scores.scores["geometry"], scores.matches),
        _consistency(scores.scores["consistency_4d"]),
        section(
            "Views at equal times", "What the cameras show together.", embedded(_strip(scene), "all views", "jpeg")
        ),
        _missing(),
        "<footer>Written by syncnerf.</footer>",
    ]
    return page(f"Scores of {scene.root.resolve().name}", subtitle, parts)


def _card(score: Score) -> str:
    note = f"floor {number(score.floor, 2)}, ceiling {number(score.ceiling, 2)}"
    return card(score.label, number(score.value, 2), score.unit, note if score.value is not None else score.reason)


def _reading() -> str:
    return section(
        "How to read them",
        "A number means something between its floor, which the same footage scores where it is made wrong on purpose, "
        "and its ceiling, the best that it allows. A dash is a number that cannot be determined, never a zero.",
        " ",
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    """A table of plain texts."""
    cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    heading = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return f'<div class="wide"><table><tr>{heading}</tr>{"".join(f"<tr>{row}</tr>" for row in cells)}</table></div>'


def _synchrony(score: Score) -> str:
    details = score.details
    if score.value is None:
        return section("Synchrony", f"Not determined: {score.reason}.", " ")
    rows = []
    for name, entry in details["offsets"].items():
        note = entry.get("reason") or entry.get("warning") or ""
        if name in details["slips"]:
            note = f"slips by {details['slips'][name]:.1f} frames. {note}".strip()
        rows.append([name, number(entry["frames"], 3, True), number(entry["stderr"], 3), note])
    explanation = (
        "Time offsets between the views in frames, from motion along epipolar lines; a perfect generator makes none. "
        f"Two views are {number(details['median_frames'], 3)} frames apart (median), at most "
        f"{number(details['largest_frames'], 3)}. Best shifts stand out by {number(details['significance'], 1)} "
        f"deviations; with one view of each pair played backwards by {number(details['floor_significance'], 1)}."
    )
    table = _table(["view", "offset", "standard error", ""], rows)
    return section("Synchrony", explanation, table, _window_chart(details["windows"]))


def _window_chart(windows: list[dict]) -> str:
    """Each view's offset in windows of time; a level line does not slip."""
    if not windows:
        return ""
    names, series = list(windows[0]["offsets"]), []
    for index, name in enumerate(names):
        places, values = [], []
        for window in windows:
            if window["offsets"][name]["frames"] is not None:
                places.append((window["from"] + window["to"]) / 2)
                values.append(window["offsets"][name]["frames"])
        series.append(Series(name, places, values, hue(index, len(names))))
    return line_chart(series, "middle of the window [s]", "offset [frames]", width=FULL_WIDTH)


def _geometry(scene: Scene, score: Score, matches: list[Matches]) -> str:
    pairs = score.details.get("pairs", [])
    rows = [[pair["first"], pair["second"], str(pair["matches"]), number(pair["near"], 2)] for pair in pairs]
    explanation = (
        "Matches between views at equal times against the epipolar lines of the commanded cameras; the floor is a "
        "shuffled rig, the ceiling the best epipolar geometry that each pair has by itself."
    )
    if score.value is None:
        explanation += f" Not determined: {score.reason}."
    shown = [pair for pair in matches[:2] if len(pair.distances)]
    pictures = [embedded(_matched(scene, pair), "matches of two views", "jpeg") for pair in shown]
    table = _table(["view", "view", "matches", "near their line"], rows) if rows else " "
    return section("Commanded geometry", explanation, table, *pictures)


def _consistency(score: Score) -> str:
    explanation = "A radiance field is trained on all views but one and has to show that one."
    if score.reason:
        explanation += f" {score.reason[:1].upper()}{score.reason[1:]}."
    rows = [[key.replace("_", " "), number(value, 3)] for key, value in score.details.items()
            if isinstance(value, float)]  # fmt: skip
    return section("4D consistency", explanation, _table(["", ""], rows) if rows else " ")


def _missing() -> str:
    rows = [[name.replace("_", " "), reason] for name, reason in WEIGHTS_NEEDED.items()]
    return section("Not computed", "Scores that papers report and that need weights.", _table(["score", ""], rows))


def _matched(scene: Scene, pair: Matches) -> Figure:
    """Both views at the first moment, matches near their commanded line in green, others in red."""
    moment = int(pair.moments.mode().values)
    views = (pair.first, pair.second)
    frames = [frame_at(scene, view, moments(scene)[moment].item()) for view in views]
    images = [np.asarray(scene.frames(view)[frame]) for view, frame in zip(views, frames, strict=True)]
    scales = [max(1.0, max(image.shape[:2]) / WORKING_SIDE) for image in images]
    figure = Figure(figsize=(11, 11 * images[0].shape[0] / images[0].shape[1] / 2), layout="constrained")
    axes = figure.subplots(1, 2)
    own = (pair.moments == moment).nonzero()[:, 0]
    own = own[:: max(1, len(own) // SHOWN_MATCHES)]
    for axis, image, points, view, scale in zip(axes, images, pair.points, views, scales, strict=True):
        axis.imshow(image)
        colours = ["#12a150" if near else "#d62728" for near in pair.near[own].tolist()]
        axis.scatter(*(points[own].T.numpy() * scale - 0.5), s=22, facecolors="none", edgecolors=colours)
        for index, (x, y) in enumerate((points[own].numpy() * scale - 0.5).tolist()):
            axis.annotate(str(index), (x, y), fontsize=5, color=colours[index], xytext=(3, 3),
                          textcoords="offset points")  # fmt: skip
        axis.set_title(scene.names[view], fontsize=9)
        axis.set_axis_off()
    return figure


def _strip(scene: Scene) -> Figure:
    """Rows of simultaneous frames, a column per view."""
    count = min(len(scene.cameras), SHOWN_VIEWS)
    size = scene.cameras[0].intrinsics
    times = moments(scene).tolist()
    height = len(times) * 11 / count * size.height / size.width
    figure = Figure(figsize=(11, min(height, 16)), layout="constrained")
    axes = figure.subplots(len(times), count, squeeze=False)
    for row, moment in zip(axes, times, strict=True):
        for view, axis in enumerate(row):
            axis.imshow(scene.frames(view)[frame_at(scene, view, moment)])
            axis.set_axis_off()
    for view, axis in enumerate(axes[0]):
        axis.set_title(scene.names[view], fontsize=8)
    return figure
