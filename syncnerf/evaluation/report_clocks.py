"""The report's section on what clocks have beside offsets: rates and readout times."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from syncnerf.evaluation.offset_errors import relative_rates
from syncnerf.evaluation.report_page import number, section
from syncnerf.evaluation.run_record import RunRecord
from syncnerf.scene.scene import Scene
from syncnerf.scene.true_offsets import PARTS_PER_MILLION


@dataclass(frozen=True)
class Quantity:
    """What clocks have beside an offset.

    Attributes:
        title: of its column.
        key: of its value in ``offsets.json``; its standard error has ``_stderr`` behind it.
        scale: shown units per unit of the file.
        digits: shown behind the point.
    """

    title: str
    key: str
    scale: float
    digits: int


QUANTITIES = (Quantity("rate [ppm]", "rate_ppm", 1.0, 1), Quantity("readout [ms]", "row_time", 1e3, 2))


def clock_table(record: RunRecord, scene: Scene | None) -> str:
    """The table of the clocks' rates and readout times, and of the true ones; empty where there are none."""
    shown = [each for each in QUANTITIES if any(each.key in entry for entry in record.offsets.values())]
    if not shown:
        return ""
    truth = {} if scene is None else true_clocks(scene)
    head = ["camera"]
    for each in shown:
        head += [each.title, *["true"] * (each.key in truth)]
    rows = []
    for name, entry in record.offsets.items():
        cells = [escape(name)]
        for each in shown:
            value, error = entry.get(each.key), entry.get(f"{each.key}_stderr")
            spread = f" <small>\N{PLUS-MINUS SIGN} {number(error * each.scale, each.digits)}</small>" if error else ""
            cells.append("" if value is None else number(value * each.scale, each.digits, True) + spread)
            if each.key in truth:
                known = truth[each.key].get(name)
                cells.append("" if known is None else number(known * each.scale, each.digits, True))
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    heading = "".join(f"<th>{escape(text)}</th>" for text in head)
    explanation = (
        "How many parts per million faster than the reference's a clock runs, and how long it takes from reading the "
        "first row of a picture to reading its last."
    )
    table = f'<div class="wide"><table><tr>{heading}</tr>{"".join(rows)}</table></div>'
    return section("Rates and rolling shutters", explanation, table)


def true_clocks(scene: Scene) -> dict[str, dict[str, float]]:
    """True rates against the reference's and readout times, as ``offsets.json`` has them, by its keys and by name."""
    known = {}
    if scene.true_rates is not None:
        known["rate_ppm"] = relative_rates(scene.true_rates, scene.reference) / PARTS_PER_MILLION
    if scene.true_row_times is not None:
        known["row_time"] = scene.true_row_times
    return {key: dict(zip(scene.names, values.tolist(), strict=True)) for key, values in known.items()}
