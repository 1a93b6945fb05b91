"""``report.html``: one self-contained page on a run, from what lies in its folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from syncnerf.atomic import write_text
from syncnerf.evaluation.charts import ACCENT, FULL_WIDTH, REFERENCE, Series, line_chart
from syncnerf.evaluation.protocols import PROTOCOLS
from syncnerf.evaluation.report_clocks import clock_table
from syncnerf.evaluation.report_images import picture_rows, video_gallery
from syncnerf.evaluation.report_offsets import (
    RecoveredCamera,
    offset_curves,
    offset_table,
    offset_timeline,
    recovered_cameras,
)
from syncnerf.evaluation.report_page import card, number, page, section
from syncnerf.evaluation.run_record import RunRecord, read_run
from syncnerf.scene.scene import Scene

logger = logging.getLogger(__name__)

BEFORE_COLOURS = (REFERENCE, "#a56bc7", "#3fa684", "#d16b8d")
AFTER_COLOURS = (ACCENT, "#b04de6", "#1ab37f", "#ea3e76")


def write_report(run_folder: Path, scene: Scene | None) -> Path:
    """Write ``report.html`` into a run's folder; parts that are not there yet are left out.

    The page needs no network: styles, plots, pictures and small videos are inside it, large videos are linked.

    Args:
        run_folder: with any of ``offsets.csv``, ``offsets.json``, ``metrics.json``, ``config.txt``, ``renders/``.
        scene: gives durations, frame rate, split and true offsets; without it the page shows seconds alone.

    Returns:
        The path of the page.

    Raises:
        UserError: a json file of the run cannot be read.
    """
    record = read_run(run_folder)
    cameras = recovered_cameras(record, scene)
    interval = None if scene is None else scene.frame_interval
    parts = {
        "numbers": lambda: _headline(record, cameras, interval),
        "offsets": lambda: offset_table(cameras, interval),
        "rates and rolling shutters": lambda: clock_table(record, scene),
        "timeline": lambda: offset_timeline(cameras, scene),
        "offsets over training": lambda: offset_curves(record, cameras, scene),
        "PSNR": lambda: _psnr_chart(record),
        "pictures": lambda: picture_rows(record),
        "videos": lambda: video_gallery(record),
        "configuration": lambda: _configuration(record),
    }
    text = page(
        record.name,
        _subtitle(record, scene),
        [*(_made(name, make) for name, make in parts.items()), "<footer>Written by syncnerf.</footer>"],
    )
    path = run_folder / "report.html"
    write_text(path, text)
    return path


def _made(name: str, make: Callable[[], str]) -> str:
    """A part of the page; one that cannot be made never costs the others, but says so."""
    try:
        return make()
    except Exception as error:  # whatever it is, the run's results are worth more than a chart
        logger.warning("report: the part '%s' is left out (%s: %s)", name, type(error).__name__, error)
        return section(name.capitalize(), "This part could not be made.", f"<p>{escape(str(error))}</p>")


def _subtitle(record: RunRecord, scene: Scene | None) -> str:
    parts = []
    if scene is not None:
        size = scene.cameras[0].intrinsics
        parts.append(f"scene {scene.root.resolve().name}")
        parts.append(f"{len(scene.cameras)} cameras, {len(scene.test)} of them for testing")
        parts.append(f"{max(camera.frame_count for camera in scene.cameras)} frames of {size.width}x{size.height}")
        parts.append(f"{1 / scene.frame_interval:g} frames per second")
    if record.metrics is not None:
        parts.append(f"after {record.metrics['step']:,} training steps".replace(",", "\N{NARROW NO-BREAK SPACE}"))
    return " \N{MIDDLE DOT} ".join(parts)


def _headline(record: RunRecord, cameras: list[RecoveredCamera], interval: float | None) -> str:
    """The numbers one looks for first."""
    cards = []
    metrics = record.metrics or {}
    before = metrics.get("none", {}).get("mean", {})
    for name, label, unit, decimals in (
        ("psnr", "PSNR", "dB", 2),
        ("psnr_colours", "PSNR in fitted colours", "dB", 2),
        ("ssim", "SSIM", "", 3),
    ):
        value = metrics.get("mean", {}).get(name)
        if value is not None:
            fitted = metrics["protocol"] != "none"
            note = "without a test-time fit"
            if fitted:
                note = (
                    f"{number(before.get(name), decimals)} before the test-time fit"
                    if before.get(name)
                    else "after the fit"
                )
            cards.append(card(f"{label} on test views", number(value, decimals), unit, note))
    errors = metrics.get("offsets")
    if errors:
        note = f"median {number(errors['median_frames'], 3)}, largest {number(errors['max_frames'], 3)} frames"
        cards.append(card("mean offset error", number(errors["mae_frames"], 3), "frames", note))
    cards += [_test_card(camera, interval) for camera in cameras if camera.role == "test"][:2]
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _test_card(camera: RecoveredCamera, interval: float | None) -> str:
    scale, unit = (1.0, "s") if interval is None else (interval, "frames")
    spread = f"\N{PLUS-MINUS SIGN} {number(camera.stderr / scale, 3)} {unit}" if camera.stderr else unit
    note = "true offset not known"
    if camera.true is not None:
        note = f"true {number(camera.true / scale, 3, True)}, error {number(camera.error / scale, 3, True)} {unit}"
    return card(f"fitted offset of {camera.name}", number(camera.offset / scale, 3, True), spread, note)


def _psnr_chart(record: RunRecord) -> str:
    """PSNR of every scored frame, before and after the fit."""
    if record.metrics is None:
        return ""
    protocol = record.metrics["protocol"]
    runs = [(record.metrics, protocol, AFTER_COLOURS, False)]
    if "none" in record.metrics:
        runs.insert(0, (record.metrics["none"], "none", BEFORE_COLOURS, True))
    series = []
    for metrics, name, colours, dashed in runs:
        label = "before the fit" if name == "none" else "after the fit"
        for index, camera in enumerate(dict.fromkeys(score["camera"] for score in metrics["frames"])):
            scores = [score for score in metrics["frames"] if score["camera"] == camera]
            seen = [score["psnr"] for score in scores if score.get("seen", True)]
            mean = f"mean {sum(seen) / len(seen):.2f} dB" if seen else "no training camera saw these moments"
            series.append(
                Series(
                    f"{camera}, {label} ({mean})",
                    [score["frame"] for score in scores],
                    [score["psnr"] for score in scores],
                    colours[index % len(colours)],
                    dashed,
                )
            )
    explanation = f"Protocol \N{LEFT DOUBLE QUOTATION MARK}{protocol}\N{RIGHT DOUBLE QUOTATION MARK}"
    if protocol in PROTOCOLS:
        explanation += f": {PROTOCOLS[protocol].summary}"
    apart = record.metrics.get("unseen")
    if apart:
        explanation += (
            f"; {apart['frames']} frames are at moments that no training camera saw: shown, and counted in no mean"
        )
    chart = line_chart(series, "frame", "PSNR [dB]", width=FULL_WIDTH)
    return section("PSNR per frame", explanation + ".", chart, _metric_table(record.metrics))


def _metric_table(metrics: dict[str, Any]) -> str:
    """All mean metrics, and why one is missing; none of what the scene does not have."""
    notes = metrics.get("notes", {})
    before = metrics.get("none", {}).get("mean")
    rows = []
    for name, value in metrics["mean"].items():
        if value is None and name not in notes:
            continue
        cells = [escape(name.upper().replace("_", " ")), *([number(before.get(name), 4)] if before else [])]
        cells += [number(value, 4), f"<small>{escape(notes.get(name, ''))}</small>"]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = ["mean over frames", *(["before the fit"] if before else []), f"protocol {metrics['protocol']}", ""]
    heading = "".join(f"<th>{escape(text)}</th>" for text in head)
    return f'<div class="wide"><table><tr>{heading}</tr>{"".join(rows)}</table></div>'


def _configuration(record: RunRecord) -> str:
    if record.configuration is None:
        return ""
    return (
        "<section><details><summary>Effective configuration</summary>"
        f"<pre>{escape(record.configuration)}</pre></details></section>"
    )
