"""The report's sections on the offsets: table, curves over training, timeline."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import torch

from syncnerf.evaluation.charts import (
    ACCENT,
    FULL_WIDTH,
    HALF_WIDTH,
    INK,
    REFERENCE,
    TEST,
    TRUTH,
    Series,
    hue,
    line_chart,
)
from syncnerf.evaluation.offset_errors import align_gauge, aligned_errors
from syncnerf.evaluation.report_page import number, section
from syncnerf.evaluation.run_record import OffsetHistory, RunRecord
from syncnerf.evaluation.timeline import Bar, timelines
from syncnerf.scene.scene import Scene

TIMELINE_LEGEND = (
    f'<div class="legend"><span><i class="block" style="background:{ACCENT}"></i>training camera</span>'
    f'<span><i class="block" style="background:{TEST}"></i>test camera</span>'
    f'<span><i class="block" style="background:{REFERENCE}"></i>reference camera</span>'
    f'<span><i style="border-top:2px solid {INK}"></i>one and the same moment</span>{{truth}}</div>'
)
TRUTH_LEGEND = f'<span><i style="border-top:3px solid {TRUTH}"></i>true start and end</span>'


@dataclass(frozen=True)
class RecoveredCamera:
    """What was found of a camera's clock.

    Attributes:
        name: the camera's.
        role: reference, train or test.
        offset: seconds.
        stderr: its standard error, seconds; None where it is not known.
        true: the true offset in the run's gauge, seconds; None where it is not known.
    """

    name: str
    role: str
    offset: float
    stderr: float | None
    true: float | None

    @property
    def error(self) -> float | None:
        """Offset minus truth, seconds."""
        return None if self.true is None else self.offset - self.true


def recovered_cameras(record: RunRecord, scene: Scene | None) -> list[RecoveredCamera]:
    """The cameras whose offset is on record, with the truth moved to the run's gauge by the median difference."""
    offsets = {name: entry.get("offset") for name, entry in record.offsets.items()}
    if not offsets and record.history is not None:
        offsets = dict(zip(record.history.names, record.history.seconds[-1].tolist(), strict=True))
    offsets = {name: float(value) for name, value in offsets.items() if value is not None}
    true: dict[str, float] = {}
    if scene is not None and scene.true_offsets is not None:
        values = torch.tensor([offsets.get(name, torch.nan) for name in scene.names], dtype=torch.float64)
        if not values[list(scene.train)].isnan().all():
            shift = aligned_errors(values, scene)[1]
            true = dict(zip(scene.names, (scene.true_offsets + shift).tolist(), strict=True))
    test = {scene.names[i] for i in scene.test} if scene is not None else set()
    return [
        RecoveredCamera(
            name,
            "reference" if name == record.reference else "test" if name in test else "train",
            value,
            record.offsets.get(name, {}).get("stderr"),
            true.get(name),
        )
        for name, value in offsets.items()
    ]


def offset_table(cameras: list[RecoveredCamera], interval: float | None) -> str:
    """The table of recovered and true offsets; in frames where the frame interval (seconds) is known."""
    if not cameras:
        return ""
    known = any(camera.true is not None for camera in cameras)
    explanation = "Scene time of each camera's first frame, relative to the reference camera's."
    if known:
        explanation += (
            " A shift that all cameras share cannot be observed, so the true offsets are moved by the median difference"
            " of the training cameras before they are compared."
        )
    frames = interval is not None
    head = ["camera", "recovered [s]", *["recovered [frames]"] * frames, *["true [s]"] * known]
    head += [*["true [frames]"] * (known and frames), *["error [frames]" if frames else "error [s]", ""] * known]
    largest = max((abs(camera.error) for camera in cameras if camera.error is not None), default=0.0)
    rows = []
    for camera in cameras:
        tag = "" if camera.role == "train" else f'<span class="tag {camera.role}">{camera.role}</span>'
        spread = _spread(camera, cameras)
        cells = [escape(camera.name) + tag, number(camera.offset, 4, True) + spread]
        if frames:
            cells.append(number(camera.offset / interval, 2, True))
        if known:
            cells.append(number(camera.true, 4, True))
            if frames:
                cells.append(number(None if camera.true is None else camera.true / interval, 2, True))
            scale = interval if frames else 1.0
            cells.append(number(None if camera.error is None else camera.error / scale, 3 if frames else 4, True))
        meter = ""
        if known:
            share = abs(camera.error or 0.0) / largest if largest > 0 else 0.0
            meter = f'<td class="meter"><i class="{camera.role}" style="width:{100 * share:.1f}%"></i></td>'
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + meter + "</tr>")
    heading = "".join(f"<th>{escape(text)}</th>" for text in head)
    table = f'<div class="wide"><table><tr>{heading}</tr>{"".join(rows)}</table></div>'
    return section("Recovered time offsets", explanation, table)


def _spread(camera: RecoveredCamera, cameras: list[RecoveredCamera]) -> str:
    """A camera's standard error behind its offset; a word where others have one and it has none."""
    if camera.stderr:
        return f" <small>\N{PLUS-MINUS SIGN} {number(camera.stderr, 4)}</small>"
    told = camera.role == "reference" or not any(other.stderr for other in cameras)
    return "" if told else " <small>undetermined</small>"


def offset_curves(record: RunRecord, cameras: list[RecoveredCamera], scene: Scene | None) -> str:
    """Offsets over training, and where the truth is known how the error falls."""
    history = record.history
    if history is None or len(history.steps) < 2:
        return ""
    scale, unit = (scene.frame_interval, "frames") if scene is not None else (1.0, "s")
    true = {camera.name: camera.true for camera in cameras}
    # Test cameras are not trained: their curves would be flat.
    names = [n for n in history.names if scene is None or n not in scene.names or scene.index_of(n) in scene.train]
    lines = []
    for index, name in enumerate(names):
        values = (history.seconds[:, history.names.index(name)] / scale).tolist()
        target = None if true.get(name) is None else true[name] / scale
        lines.append(Series(name, history.steps, values, hue(index, len(names)), target=target))
    errors = _error_chart(history, names, true, scale, unit)
    chart = line_chart(lines, "training step", f"offset [{unit}]", width=HALF_WIDTH if errors else FULL_WIDTH)
    explanation = "One curve per training camera."
    if errors:
        explanation += (
            " The strokes beyond the right edge are the true offsets; errors are taken after gauge alignment."
        )
        chart = f'<div class="two"><div>{chart}</div><div>{errors}</div></div>'
    return section("Offsets over training", explanation, chart)


def offset_timeline(cameras: list[RecoveredCamera], scene: Scene | None) -> str:
    """The videos on a common time axis, before and after synchronisation."""
    if scene is None:
        return ""
    durations = {camera.name: camera.duration for camera in scene.cameras}
    bars = [
        Bar(camera.name, camera.offset, durations[camera.name], camera.role, camera.true)
        for camera in cameras
        if camera.name in durations
    ]
    if not bars:
        return ""
    before, after = timelines(bars)
    known = any(bar.true_offset is not None for bar in bars)
    return section(
        "Timeline",
        "Each bar is one camera's video. The line joins one moment of the scene through all videos: scattered as they "
        "came, straight once they are synchronised.",
        f'<div class="two"><div><h3>Before: every video starts at 0</h3>{before}</div>'
        f"<div><h3>After: shifted by the recovered offsets</h3>{after}</div></div>",
        TIMELINE_LEGEND.format(truth=TRUTH_LEGEND if known else ""),
    )


def _error_chart(
    history: OffsetHistory, names: list[str], true: dict[str, float | None], scale: float, unit: str
) -> str:
    columns = [history.names.index(name) for name in names if true.get(name) is not None]
    if not columns:
        return ""
    truth = torch.tensor([true[history.names[column]] for column in columns], dtype=torch.float64)
    errors = torch.stack([align_gauge(row, truth) for row in history.seconds[:, columns]]).abs() / scale
    lines = [
        Series("largest error", history.steps, errors.max(dim=1).values.tolist(), TEST),
        Series("mean error", history.steps, errors.mean(dim=1).tolist(), ACCENT),
    ]
    return line_chart(lines, "training step", f"absolute error [{unit}]", logarithmic=True)
