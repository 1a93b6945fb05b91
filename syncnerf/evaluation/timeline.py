"""The cameras on a common time axis, before and after synchronisation, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from syncnerf.evaluation.charts import Axis, svg, tick_text

WIDTH = 520
LEFT, RIGHT, TOP, BOTTOM = 92, 14, 8, 44
LONGEST_NAME = 13


@dataclass(frozen=True)
class Bar:
    """One camera's video.

    Attributes:
        name: the camera's.
        offset: scene time of its first frame, seconds.
        duration: seconds from its first frame to its last.
        role: reference, train or test; chooses the colour.
        true_offset: where its first frame truly lies, seconds, or None.
    """

    name: str
    offset: float
    duration: float
    role: str
    true_offset: float | None = None


def timelines(bars: Sequence[Bar]) -> tuple[str, str]:
    """The videos as they came, all starting at 0, and where synchronisation put them; two SVG elements.

    One and the same moment of the scene is marked on every bar: scattered before, in one line after. Ticks show where
    the bars truly belong.
    """
    low = min(0.0, *(bar.offset for bar in bars))
    high = max(max(bar.duration, bar.offset + bar.duration) for bar in bars)
    high = high if high > low else low + 1.0  # videos of a single frame last no time at all
    axis = Axis("time [s]", low - 0.02 * (high - low), high + 0.02 * (high - low), (LEFT, WIDTH - RIGHT))
    first, last = max(bar.offset for bar in bars), min(bar.offset + bar.duration for bar in bars)
    moment = (first + last) / 2
    return _panel(bars, axis, moment, False), _panel(bars, axis, moment, True)


def _panel(bars: Sequence[Bar], axis: Axis, moment: float, synchronised: bool) -> str:
    row = max(9.0, min(20.0, 520.0 / len(bars)))
    bottom = TOP + row * len(bars)
    parts = [_time_axis(axis, bottom)]
    marks = []
    for index, bar in enumerate(bars):
        top = TOP + row * index
        start = bar.offset if synchronised else 0.0
        parts.append(_bar(bar, axis, start, top, row, synchronised))
        place = moment - bar.offset
        if 0.0 <= place <= bar.duration:
            marks.append((axis.place(start + place), top + row / 2))
    if len(marks) > 1:
        parts.append(f'<polyline class="moment" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in marks)}"/>')
    parts += [f'<circle class="moment" cx="{x:.1f}" cy="{y:.1f}" r="{min(3.0, row / 4):.1f}"/>' for x, y in marks]
    title = "videos after synchronisation" if synchronised else "videos as they came"
    return svg(WIDTH, bottom + BOTTOM, parts, title)


def _bar(bar: Bar, axis: Axis, start: float, top: float, row: float, synchronised: bool) -> str:
    x, end = axis.place(start), axis.place(start + bar.duration)
    name = bar.name if len(bar.name) <= LONGEST_NAME else bar.name[: LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
    size = min(12.0, row)
    text = (
        f'<text x="{LEFT - 8}" y="{top + row / 2 + 0.35 * size:.1f}" text-anchor="end" style="font-size:{size:g}px">'
        f"{escape(name)}</text>"
        f'<rect class="bar {escape(bar.role)}" x="{x:.1f}" y="{top + 0.15 * row:.1f}" width="{end - x:.1f}" '
        f'height="{0.7 * row:.1f}" rx="3"><title>{escape(bar.name)}: starts at {start:.4f} s</title></rect>'
    )
    if synchronised and bar.true_offset is not None:
        for place in (bar.true_offset, bar.true_offset + bar.duration):
            text += f'<path class="truth" d="M{axis.place(place):.1f},{top + 0.04 * row:.1f}v{0.92 * row:.1f}"/>'
    return text


def _time_axis(axis: Axis, bottom: float) -> str:
    ticks = axis.ticks()
    spacing = ticks[-1] - ticks[-2] if len(ticks) > 1 else 1.0
    parts = [f'<path class="axis" d="M{LEFT},{bottom:g}H{WIDTH - RIGHT}"/>']
    for value in ticks:
        x = axis.place(value)
        parts.append(f'<path class="grid" d="M{x:.1f},{TOP}V{bottom + 4:g}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18:g}" text-anchor="middle">{tick_text(value, spacing)}</text>')
    parts.append(
        f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{bottom + 37:g}" text-anchor="middle">'
        f"{escape(axis.label)}</text>"
    )
    return "".join(parts)
