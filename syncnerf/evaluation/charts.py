"""Line charts and other drawings of a page, made by matplotlib in colours that suit light and dark pages alike."""

from __future__ import annotations

import base64
import colorsys
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.ticker import LogLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCENT, TEST, REFERENCE, TRUTH = "#4a86ea", "#d9822b", "#7f8b9d", "#12a150"
"""Colours of training, test and reference cameras, and of the truth."""
INK = "#808a99"
"""Colour of axes and their labels."""
HALF_WIDTH, FULL_WIDTH, HEIGHT = 5.4, 11.0, 3.0
"""Inches, of which a hundredth is a pixel of the page."""
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "syncnerf",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        label: its name in the legend.
        x: values along the horizontal axis.
        y: values along the vertical axis; those that are not finite are left out.
        colour: any colour of matplotlib.
        dashed: whether it is drawn with dashes.
        target: value that the line should reach, marked beyond the right edge; or None.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dashed: bool = False
    target: float | None = None


@contextmanager
def drawing_axes(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A new figure of so many inches and its axes, in the page's style; drawn on and embedded inside the block."""
    from matplotlib.figure import Figure  # here: slow to load, and only who draws needs it

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        yield figure, figure.subplots()


def line_chart(
    series: Sequence[Series], x_label: str, y_label: str, logarithmic: bool = False, width: float = HALF_WIDTH
) -> str:
    """A line chart with grid, labelled axes and a legend, as HTML; nothing where there is nothing to draw.

    Args:
        series: the lines; drawn in this order.
        x_label: what the horizontal axis shows, with its unit.
        y_label: likewise for the vertical axis.
        logarithmic: whether the vertical axis is logarithmic; values that are not positive are left out then.
        width: of half or of the whole page, inches.
    """
    lines = [(item, _points(item, logarithmic)) for item in series]
    lines = [(item, points) for item, points in lines if points]
    if not lines:
        return ""
    with drawing_axes(width, HEIGHT) as (figure, axes):
        for item, points in lines:
            axes.plot(*zip(*points, strict=True), color=item.colour, linestyle="--" if item.dashed else "-")
            if item.target is not None and not logarithmic:
                beside = axes.get_yaxis_transform()  # shares of the width, values of the height
                axes.plot([1.01, 1.04], 2 * [item.target], color=item.colour, transform=beside, clip_on=False)
        if logarithmic:
            axes.set_yscale("log")
            # Labelled within a decade too, and in plain numbers: markup of mathematics would be shown as it is written.
            axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
            axes.yaxis.set_major_formatter(_plain)
            axes.yaxis.set_minor_formatter(_plain)
        axes.margins(x=0)
        axes.grid(axis="y")
        axes.set(xlabel=x_label, ylabel=y_label)
        return embedded(figure, f"{y_label} by {x_label}") + _legend([item for item, _ in lines])


def embedded(figure: Figure, description: str, form: str = "svg") -> str:
    """A figure inside the page, as HTML.

    Args:
        figure: what is shown.
        description: in words, for readers who do not see it.
        form: ``svg`` for drawings, ``jpeg`` for photographs.
    """
    buffer = io.BytesIO()
    kind = "svg+xml" if form == "svg" else form
    options = {"metadata": {"Date": None}, "transparent": True} if form == "svg" else {"dpi": 110}
    figure.savefig(buffer, format=form, **options)
    address = f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return f'<figure class="{form}"><img src="{address}" alt="{escape(description)}"></figure>'


def hue(index: int, count: int) -> str:
    """One of ``count`` colours that can be told apart on a light and on a dark page."""
    odd = index % 2
    colour = colorsys.hls_to_rgb(index / max(count, 1), 0.46 if odd else 0.56, 0.62 if odd else 0.75)
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)


def _plain(value: float, _: object = None) -> str:
    """A tick's label."""
    return f"{value:g}"


def _points(item: Series, logarithmic: bool) -> list[tuple[float, float]]:
    pairs = zip(map(float, item.x), map(float, item.y), strict=True)
    return [(x, y) for x, y in pairs if math.isfinite(y) and (y > 0 or not logarithmic)]


def _legend(series: Sequence[Series]) -> str:
    def swatch(item: Series) -> str:
        style = "dashed" if item.dashed else "solid"
        return f'<span><i style="border-top:3px {style} {item.colour}"></i>{escape(item.label)}</span>'

    return f'<div class="legend">{"".join(map(swatch, series))}</div>'
