"""Line charts as inline SVG: they take the page's colours, so they suit light and dark alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from matplotlib.ticker import LogLocator, MaxNLocator

HALF_WIDTH, FULL_WIDTH, HEIGHT = 540, 1090, 290
LEFT, RIGHT, TOP, BOTTOM = 62, 24, 12, 46
MOST_POINTS = 400


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        label: its name in the legend and under the pointer.
        x: values along the horizontal axis.
        y: values along the vertical axis; those that are not finite break no other.
        colour: any CSS colour.
        dashed: whether it is drawn with dashes.
        target: value that the line should reach, marked beyond the right edge; or None.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dashed: bool = False
    target: float | None = None


@dataclass(frozen=True)
class Axis:
    """One axis: label with its unit, ends in data units and on the drawing, and whether it is logarithmic."""

    label: str
    low: float
    high: float
    drawn: tuple[float, float]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies on the drawing."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return self.drawn[0] + (value - low) / (high - low) * (self.drawn[1] - self.drawn[0])

    def ticks(self, about: int = 6) -> list[float]:
        """Round values inside the axis."""
        locator = LogLocator(numticks=about) if self.logarithmic else MaxNLocator(about, steps=[1, 2, 5, 10])
        slack = 1e-9 * (self.high - self.low)
        return [
            t
            for t in map(float, locator.tick_values(self.low, self.high))
            if self.low - slack <= t <= self.high + slack
        ]


def line_chart(
    series: Sequence[Series], x_label: str, y_label: str, logarithmic: bool = False, width: int = HALF_WIDTH
) -> str:
    """An SVG line chart with grid, labelled axes and a legend, as HTML.

    Args:
        series: the lines; drawn in this order.
        x_label: what the horizontal axis shows, with its unit.
        y_label: likewise for the vertical axis.
        logarithmic: whether the vertical axis is logarithmic; values that are not positive are left out then.
        width: of half or of the whole page, so that the text has the page's size.
    """
    lines = [(item, _points(item, logarithmic)) for item in series]
    lines = [(item, points) for item, points in lines if points]
    if not lines:
        return ""
    targets = [item.target for item, _ in lines if item.target is not None and not logarithmic]
    x_axis = _axis(x_label, [x for _, points in lines for x, _ in points], 0.0, False, (LEFT, width - RIGHT))
    y_axis = _axis(
        y_label, [y for _, points in lines for _, y in points] + targets, 0.06, logarithmic, (HEIGHT - BOTTOM, TOP)
    )
    body = [_frame(x_axis, y_axis)]
    for item, points in lines:
        path = " ".join(f"{x_axis.place(x):.1f},{y_axis.place(y):.1f}" for x, y in points)
        dashes = ' stroke-dasharray="5 4"' if item.dashed else ""
        body.append(
            f'<polyline class="line" points="{path}" stroke="{item.colour}"{dashes}>'
            f"<title>{escape(item.label)}</title></polyline>"
        )
        if item.target is not None and not logarithmic:
            y, edge = y_axis.place(item.target), width - RIGHT
            body.append(
                f'<path class="target" d="M{edge + 4},{y:.1f}h16" stroke="{item.colour}">'
                f"<title>{escape(item.label)}: true {item.target:.3f}</title></path>"
            )
    return f"{svg(width, HEIGHT, body, y_label)}{_legend([item for item, _ in lines])}"


def svg(width: float, height: float, body: Sequence[str], title: str) -> str:
    """An inline SVG element that scales with its column; ``title`` is what a screen reader says."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}">' + "".join(body) + "</svg>"
    )


def tick_text(value: float, spacing: float) -> str:
    """A tick's label with as many decimals as the spacing between ticks asks for."""
    decimals = next((d for d in range(6) if abs(round(spacing, d) - spacing) < 1e-6 * spacing), 6)
    return f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}").replace(",", "\N{NARROW NO-BREAK SPACE}")


def hue(index: int, count: int) -> str:
    """One of ``count`` colours that can be told apart on a light and on a dark page."""
    return f"hsl({360 * index / max(count, 1):.0f} {62 if index % 2 else 75}% {46 if index % 2 else 56}%)"


def _points(item: Series, logarithmic: bool) -> list[tuple[float, float]]:
    points = [
        (float(x), float(y))
        for x, y in zip(item.x, item.y, strict=True)
        if math.isfinite(y) and (y > 0 or not logarithmic)
    ]
    stride = max(1, math.ceil(len(points) / MOST_POINTS))
    # The last point is the result: it stays whatever is thinned out.
    return points[:-1:stride] + points[-1:]


def _axis(label: str, values: list[float], margin: float, logarithmic: bool, drawn: tuple[float, float]) -> Axis:
    low, high = min(values), max(values)
    if logarithmic:
        # Whole decades, so that the grid has lines at round values.
        low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))
        return Axis(label, low, high if high > low else 10 * low, drawn, True)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return Axis(label, low - margin * (high - low), high + margin * (high - low), drawn)


def _frame(x_axis: Axis, y_axis: Axis) -> str:
    bottom, right, parts = HEIGHT - BOTTOM, x_axis.drawn[1], []
    ticks = y_axis.ticks()
    for value in ticks:
        y = y_axis.place(value)
        text = f"{value:g}" if y_axis.logarithmic else tick_text(value, ticks[-1] - ticks[-2] if len(ticks) > 1 else 1)
        parts.append(f'<path class="grid" d="M{LEFT},{y:.1f}H{right}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    ticks = x_axis.ticks(8)
    for value in ticks:
        x = x_axis.place(value)
        text = tick_text(value, ticks[-1] - ticks[-2] if len(ticks) > 1 else 1)
        parts.append(f'<path class="axis" d="M{x:.1f},{bottom}v4"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{text}</text>')
    middle = (TOP + bottom) / 2
    parts.append(f'<path class="axis" d="M{LEFT},{bottom}H{right}"/>')
    parts.append(
        f'<text class="label" x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"{escape(x_axis.label)}</text>"
    )
    parts.append(
        f'<text class="label" transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_axis.label)}</text>"
    )
    return "".join(parts)


def _legend(series: Sequence[Series]) -> str:
    def swatch(item: Series) -> str:
        style = "dashed" if item.dashed else "solid"
        return f'<span><i style="border-top:3px {style} {item.colour}"></i>{escape(item.label)}</span>'

    return f'<div class="legend">{"".join(map(swatch, series))}</div>'
