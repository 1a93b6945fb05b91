"""The report's drawings: what lies where, and odd data that must not break them."""

import math
import re
from xml.etree import ElementTree

import pytest

from syncnerf.evaluation.charts import MOST_POINTS, Axis, Series, line_chart, tick_text
from syncnerf.evaluation.timeline import Bar, timelines


def parse(text):
    return ElementTree.fromstring(f"<div>{text}</div>")


def points_of(chart):
    return [
        [tuple(map(float, p.split(","))) for p in line.get("points").split()] for line in parse(chart).iter("polyline")
    ]


def test_axis_places_values():
    assert Axis("x", 0.0, 10.0, (100.0, 0.0)).place(2.5) == 75.0
    assert Axis("x", 0.01, 100.0, (0.0, 400.0), True).place(0.1) == pytest.approx(100.0)


def test_lines_follow_their_data():
    (line,) = points_of(line_chart([Series("a", [0, 1, 2], [0.0, 1.0, 2.0], "red")], "x [s]", "y [m]"))
    assert line[1][0] == pytest.approx((line[0][0] + line[2][0]) / 2, abs=0.1)
    assert line[0][1] > line[1][1] > line[2][1]


def test_long_lines_are_thinned_and_keep_their_end():
    values = list(range(10_000))
    (line,) = points_of(line_chart([Series("a", values, values, "red")], "x", "y"))
    (ends,) = points_of(line_chart([Series("a", [0, 9999], [0, 9999], "red")], "x", "y"))
    assert len(line) <= MOST_POINTS + 1
    assert (line[0], line[-1]) == (ends[0], ends[-1])


@pytest.mark.parametrize("values", [[0.0], [3.0, 3.0], [math.nan, 1.0, math.inf]])
def test_odd_data_still_draws(values):
    parse(line_chart([Series("a", list(range(len(values))), values, "red")], "x", "y"))


def test_nothing_to_draw_is_no_chart():
    assert line_chart([], "x", "y") == ""
    assert line_chart([Series("a", [0, 1], [0.0, -1.0], "red")], "x", "y", logarithmic=True) == ""


def test_labels_are_escaped():
    chart = line_chart([Series("<b>", [0, 1], [0.0, 1.0], "red", target=1.0)], "x<", "y&")
    assert "<b>" not in chart
    assert "<b>" in "".join(parse(chart).itertext())


def test_tick_text_has_the_decimals_of_its_spacing():
    assert tick_text(0.75, 0.25) == "0.75"
    assert tick_text(0.5, 0.1) == "0.5"
    assert tick_text(-2.0, 1.0) == "\N{MINUS SIGN}2"
    assert tick_text(0.02, 0.01) == "0.02"
    assert tick_text(90_000, 10_000) == "90\N{NARROW NO-BREAK SPACE}000"


def test_one_moment_is_a_straight_line_after_synchronisation():
    bars = [
        Bar("a", 0.0, 2.0, "reference", 0.0),
        Bar("b", 0.4, 2.0, "train", 0.41),
        Bar("c<", -0.3, 2.0, "test", None),
    ]
    before, after = timelines(bars)
    moments = [[float(c.get("cx")) for c in parse(panel).iter("circle")] for panel in (before, after)]
    assert max(moments[1]) - min(moments[1]) < 0.11
    assert moments[0][2] > moments[0][0] > moments[0][1]
    starts = [[float(bar.get("x")) for bar in parse(panel).iter("rect")] for panel in (before, after)]
    assert len(set(starts[0])) == 1
    assert starts[1][2] < starts[1][0] < starts[1][1]
    assert len(re.findall('class="truth"', after)) == 4
    assert "truth" not in before


def test_videos_without_a_common_moment_still_draw():
    for panel in timelines([Bar("a", 0.0, 1.0, "train"), Bar("b", 50.0, 1.0, "train")]):
        parse(panel)
