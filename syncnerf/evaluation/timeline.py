"""The cameras on a common time axis, before and after synchronisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncnerf.evaluation.charts import ACCENT, HALF_WIDTH, INK, REFERENCE, TEST, TRUTH, drawing_axes, embedded

COLOURS = {"train": ACCENT, "test": TEST, "reference": REFERENCE}
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
    """The videos as they came, all starting at 0, and where synchronisation put them; two drawings as HTML.

    One and the same moment of the scene is marked on every bar: scattered before, in one line after. Ticks show where
    the bars truly belong.
    """
    return _panel(bars, False), _panel(bars, True)


def common_moment(bars: Sequence[Bar], synchronised: bool) -> list[tuple[float, int]]:
    """Where one and the same moment lies on each bar that holds it: seconds on the panel's axis, and the bar's place.

    The moment is the middle of what all cameras filmed, or of the gap where there is no such time.
    """
    first, last = max(bar.offset for bar in bars), min(bar.offset + bar.duration for bar in bars)
    moment = (first + last) / 2
    return [
        (moment if synchronised else moment - bar.offset, place)
        for place, bar in enumerate(bars)
        if 0.0 <= moment - bar.offset <= bar.duration
    ]


def _panel(bars: Sequence[Bar], synchronised: bool) -> str:
    low = min(0.0, *(bar.offset for bar in bars))
    high = max(max(bar.duration, bar.offset + bar.duration) for bar in bars)
    high = high if high > low else low + 1.0  # videos of a single frame last no time at all
    row = max(0.09, min(0.2, 5.2 / len(bars)))
    with drawing_axes(HALF_WIDTH, 0.5 + row * len(bars)) as (figure, axes):
        for place, bar in enumerate(bars):
            start = bar.offset if synchronised else 0.0
            axes.barh(place, bar.duration, left=start, height=0.7, color=COLOURS[bar.role], alpha=0.75)
            if synchronised and bar.true_offset is not None:
                ends = [bar.true_offset, bar.true_offset + bar.duration]
                axes.vlines(ends, place - 0.46, place + 0.46, color=TRUTH, linewidth=2)
        if marks := common_moment(bars, synchronised):
            axes.plot(*zip(*marks, strict=True), "o-", color=INK, markersize=3, markerfacecolor="white", linewidth=1)
        axes.set(xlim=(low - 0.02 * (high - low), high + 0.02 * (high - low)), ylim=(len(bars) - 0.5, -0.5))
        axes.set_yticks(range(len(bars)), [_short(bar.name) for bar in bars], fontsize=min(8.5, 72 * row))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlabel("time [s]")
        return embedded(figure, "videos after synchronisation" if synchronised else "videos as they came")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
