"""The report's drawings: what lies where, and odd data that must not break them."""

import base64
import math
import re
from xml.etree import ElementTree

import pytest

from syncnerf.evaluation.charts import TRUTH, Series, hue, line_chart
from syncnerf.evaluation.timeline import COLOURS, Bar, common_moment, timelines

SVG = "{http://www.w3.org/2000/svg}"


def drawing(text: str) -> ElementTree.Element:
    """The drawing inside a piece of a page."""
    ElementTree.fromstring(f"<div>{text}</div>".replace('"></figure>', '"/></figure>'))
    (code,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', text)
    return ElementTree.fromstring(base64.b64decode(code))


def paths_of(text: str, colour: str) -> list[list[tuple[float, float]]]:
    """Corners of what is drawn in a colour, in points from the top left."""
    found = [path for path in drawing(text).iter(f"{SVG}path") if colour in path.get("style", "")]
    return [[tuple(map(float, pair)) for pair in re.findall(r"[ML] (\S+) (\S+)", path.get("d"))] for path in found]


def words_of(text: str) -> str:
    return " ".join("".join(word.itertext()) for word in drawing(text).iter(f"{SVG}text"))


def test_lines_follow_their_data():
    (line,) = paths_of(line_chart([Series("a", [0, 1, 2], [0.0, 1.0, 3.0], "#ff0000")], "x [s]", "y [m]"), "#ff0000")
    (x, y), (middle_x, middle_y), (end_x, end_y) = line
    assert middle_x - x == pytest.approx(end_x - middle_x)
    assert y - middle_y == pytest.approx((y - end_y) / 3)


def test_a_logarithmic_axis_has_equal_steps_for_equal_factors():
    chart = line_chart([Series("a", [0, 1, 2], [0.1, 1.0, 10.0], "#ff0000")], "x", "y", logarithmic=True)
    ((_, low), (_, middle), (_, high)) = paths_of(chart, "#ff0000")[0]
    assert low - middle == pytest.approx(middle - high)


def test_a_logarithmic_axis_is_labelled_in_plain_numbers_within_a_decade_too():
    chart = line_chart([Series("a", [0, 1, 2], [0.007, 0.02, 0.06], "#ff0000")], "x", "y", logarithmic=True)
    words = words_of(chart).split()
    assert {"0.01", "0.02", "0.05"} <= set(words)
    assert not any("$" in word or "{" in word for word in words)


def test_axes_and_lines_are_named():
    chart = line_chart([Series("<b>$1", [0, 1], [0.0, 1.0], "#ff0000", target=1.0)], "x < [s]", "y & z")
    assert "x < [s]" in words_of(chart)
    assert "y & z" in words_of(chart)
    assert "&lt;b&gt;$1" in chart
    assert 'alt="y &amp; z by x &lt; [s]"' in chart


def test_a_target_lies_beyond_the_line_at_its_own_height():
    chart = line_chart([Series("a", [0, 1], [0.0, 4.0], "#ff0000", target=4.0)], "x", "y")
    line, target = paths_of(chart, "#ff0000")
    assert target[0][1] == target[1][1] == pytest.approx(line[1][1])
    assert min(x for x, _ in target) > max(x for x, _ in line)


def test_a_chart_is_the_same_whenever_it_is_drawn():
    series = [Series("a", [0, 1], [0.0, 1.0], "#ff0000")]
    assert line_chart(series, "x", "y") == line_chart(series, "x", "y")


@pytest.mark.parametrize("values", [[0.0], [3.0, 3.0], [math.nan, 1.0, math.inf]])
def test_odd_data_still_draws(values):
    drawing(line_chart([Series("a", list(range(len(values))), values, "#ff0000")], "x", "y"))


def test_nothing_to_draw_is_no_chart():
    assert line_chart([], "x", "y") == ""
    assert line_chart([Series("a", [0, 1], [0.0, -1.0], "#ff0000")], "x", "y", logarithmic=True) == ""


def test_colours_of_many_lines_differ():
    assert len({hue(index, 30) for index in range(30)}) == 30


BARS = [Bar("a", 0.0, 2.0, "reference", 0.0), Bar("b$", 0.4, 2.0, "train", 0.41), Bar("c<", -0.3, 2.0, "test", None)]


def test_one_moment_is_a_straight_line_after_synchronisation():
    before, after = common_moment(BARS, False), common_moment(BARS, True)
    assert [place for _, place in before] == [place for _, place in after] == [0, 1, 2]
    assert [seconds for seconds, _ in after] == pytest.approx([(0.4 + 1.7) / 2] * 3)
    for (own, _), (shared, _), bar in zip(before, after, BARS, strict=True):
        assert own + bar.offset == pytest.approx(shared)


def test_bars_lie_where_their_videos_do():
    before, after = timelines(BARS)
    starts = []
    for panel in (before, after):
        boxes = [paths_of(panel, COLOURS[bar.role])[0] for bar in BARS]
        starts.append([min(x for x, _ in box) for box in boxes])
        assert {round(max(x for x, _ in box) - min(x for x, _ in box), 3) for box in boxes} == {
            round(max(x for x, _ in boxes[0]) - min(x for x, _ in boxes[0]), 3)
        }
    assert len(set(starts[0])) == 1
    assert (starts[1][1] - starts[1][0]) / (starts[1][0] - starts[1][2]) == pytest.approx(0.4 / 0.3, rel=1e-3)
    assert paths_of(before, TRUTH) == []
    assert len(paths_of(after, TRUTH)) == 4
    assert "c<" in words_of(after)


def test_videos_without_a_common_moment_still_draw():
    bars = [Bar("a", 0.0, 1.0, "train"), Bar("b", 50.0, 1.0, "train")]
    assert common_moment(bars, True) == []
    for panel in timelines(bars):
        drawing(panel)
