"""The report: whole from any part of a run's folder, self-contained, and honest about the gauge."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from evaluation_fixtures import FPS, pattern_scene, synced_pattern

from syncnerf.errors import UserError
from syncnerf.evaluation import report_images
from syncnerf.evaluation.evaluate import Scoring, evaluate, write_metrics
from syncnerf.evaluation.protocols import FULL
from syncnerf.evaluation.report import write_report
from syncnerf.evaluation.report_clocks import clock_table
from syncnerf.evaluation.report_offsets import recovered_cameras
from syncnerf.evaluation.run_record import read_history, read_run

NAMES = ["a<b>test", "cam&1", "cam_2", "cam_3"]
TRUE_OFFSETS = [0.23, 0.1, -0.15, 0.4]
FOUND = [0.13, 0.0, -0.27, 0.3]
VOID = {"meta", "img", "i"}
DRAWING = "data:image/svg+xml;base64,"


class Page(HTMLParser):
    """Collects a page's text, that of drawings too, and addresses, and fails where elements are not closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.text, self.addresses, self.tags = [], [], [], set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        addresses = [value for name, value in attributes if name in ("src", "href", "poster", "srcset")]
        self.addresses += addresses
        for address in addresses:
            if address.startswith(DRAWING):
                self.text += ElementTree.fromstring(base64.b64decode(address.removeprefix(DRAWING))).itertext()
        if tag not in VOID - {"i"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def write_run(folder, scene, metrics=True):
    """A run's folder as training leaves it."""
    folder.mkdir()
    lines = [",".join(["step", *scene.names])]
    lines += [",".join([str(step), *(f"{value * step / 50:.6f}" for value in FOUND)]) for step in range(0, 51, 10)]
    (folder / "offsets.csv").write_text("\n".join(lines) + "\n")
    entries = {name: {"offset": value, "stderr": 0.001} for name, value in zip(scene.names, FOUND, strict=True)}
    record = {"unit": "seconds", "reference": scene.names[1], "cameras": entries, "source": "test-optim"}
    (folder / "offsets.json").write_text(json.dumps(record))
    (folder / "config.txt").write_text("steps = 50\nexpname = <script>alert(1)</script>\n")
    if metrics:
        synced = synced_pattern(scene, FOUND)
        before = evaluate(synced, scene, Scoring(FULL.without_fit(), step=50))
        after = evaluate(synced, scene, Scoring(FULL, step=50, renders=folder / "renders"))
        write_metrics(folder / "metrics.json", after, before)
    return folder


@pytest.fixture
def scene(tmp_path):
    return pattern_scene(tmp_path / "scene", TRUE_OFFSETS, names=NAMES)


def test_the_page_is_whole_and_self_contained(tmp_path, scene):
    path = write_report(write_run(tmp_path / "run", scene), scene)
    source = path.read_text()
    page = Page(source)
    assert path.name == "report.html"
    assert "script" not in page.tags
    assert "url(" not in source
    assert "@import" not in source
    for address in page.addresses:
        assert address.startswith(("data:", "renders/")), address[:80]
    text = "".join(page.text)
    for name in NAMES:
        assert name in text
    assert "<script>alert(1)</script>" in text
    for heading in ("Recovered time offsets", "Timeline", "Offsets over training", "PSNR per frame", "Test views"):
        assert heading in text
    for label in ("offset [frames]", "training step", "PSNR [dB]", "time [s]", "absolute error [frames]"):
        assert label in text
    for caption in report_images.KIND_CAPTIONS.values():
        assert caption in text
    assert list((tmp_path / "run").glob(".*")) == []


def test_the_page_shows_the_scores(tmp_path, scene):
    run = write_run(tmp_path / "run", scene)
    text = "".join(Page(write_report(run, scene).read_text()).text)
    metrics = json.loads((run / "metrics.json").read_text())
    assert f"{metrics['mean']['psnr']:.2f}" in text
    assert f"{metrics['none']['mean']['psnr']:.2f} before the test-time fit" in text
    assert f"{metrics['offsets']['max_frames']:.3f} frames" in text


def test_true_offsets_are_moved_to_the_gauge_of_the_run(tmp_path, scene):
    cameras = {c.name: c for c in recovered_cameras(read_run(write_run(tmp_path / "run", scene, False)), scene)}
    # Differences of the training cameras: -0.1, -0.12, -0.1, so their median is -0.1.
    assert [cameras[name].error for name in NAMES] == pytest.approx([0.0, 0.0, -0.02, 0.0])
    assert cameras[NAMES[0]].true == pytest.approx(0.13)
    assert [cameras[name].role for name in NAMES] == ["test", "reference", "train", "train"]
    text = "".join(Page(write_report(tmp_path / "run", scene).read_text()).text)
    assert "cannot be observed" in text
    assert f"\N{MINUS SIGN}{0.02 * FPS:.3f}" in text


def test_rates_and_readouts_are_shown_beside_the_true_ones(tmp_path, scene):
    truth = torch.tensor([0.0, -100e-6, 300e-6, 0.0], dtype=torch.float64), torch.tensor([0.0, 0, 0.015, 0]).double()
    planted = replace(scene, true_rates=truth[0], true_row_times=truth[1])
    run = write_run(tmp_path / "run", scene, False)
    assert "Rates and rolling shutters" not in write_report(run, planted).read_text()
    record = json.loads((run / "offsets.json").read_text())
    found = {"rate_ppm": 350.0, "rate_ppm_stderr": 20.0, "row_time": 0.012, "row_time_stderr": 0.002}
    record["cameras"][NAMES[2]] |= found
    (run / "offsets.json").write_text(json.dumps(record))
    source = write_report(run, planted).read_text()
    section = source[source.index("Rates and rolling shutters") :]
    row = next(row for row in section.split("<tr>") if NAMES[2] in row)
    cells = re.sub("<[^>]+>", "", row.split("</tr>")[0].replace("</td>", "|"))
    plus = "\N{PLUS-MINUS SIGN}"
    assert cells == f"{NAMES[2]}|+350.0 {plus} 20.0|+400.0|+12.00 {plus} 2.00|+15.00|"
    assert "true" not in clock_table(read_run(run), None)


def test_without_the_scene_the_page_shows_seconds(tmp_path, scene):
    text = "".join(Page(write_report(write_run(tmp_path / "run", scene), None).read_text()).text)
    assert "recovered [s]" in text
    assert "true [s]" not in text
    assert "offset [s]" in text
    assert NAMES[2] in text


def test_an_empty_folder_has_a_page(tmp_path):
    (tmp_path / "run").mkdir()
    text = "".join(Page(write_report(tmp_path / "run", None).read_text()).text)
    assert "run" in text
    assert "could not be made" not in text


@pytest.mark.parametrize("part", ["offsets.csv", "offsets.json", "metrics.json", "config.txt"])
def test_any_part_may_be_missing(tmp_path, scene, part):
    run = write_run(tmp_path / "run", scene)
    whole = len(Page(write_report(run, scene).read_text()).text)
    (run / part).unlink()
    left = Page(write_report(run, scene).read_text())
    assert 0 < len(left.text) < whole
    assert not [text for text in left.text if "could not be made" in text]


def test_no_ground_truth_no_errors(tmp_path, scene):
    run = write_run(tmp_path / "run", scene, metrics=False)
    scene.true_offsets = None
    text = "".join(Page(write_report(run, scene).read_text()).text)
    assert "recovered [frames]" in text
    assert "error [" not in text
    assert "true offset not known" in text


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(UserError, match=r"metrics\.json"):
        write_report(tmp_path, None)


def test_history_survives_a_kill_and_a_resume(tmp_path):
    path = tmp_path / "offsets.csv"
    path.write_text("step,a,b\n0,0,0\n10,1,1\n20,2,2\n10,1.5,1\n20,3,x\n30,4")
    history = read_history(path)
    assert history.steps == [0, 10, 20]
    assert torch.equal(history.seconds[:, 0], torch.tensor([0.0, 1.5, 2.0], dtype=torch.float64))
    path.write_text("")
    assert read_history(path) is None


def test_large_videos_are_linked_and_small_ones_embedded(tmp_path, scene, monkeypatch):
    run = write_run(tmp_path / "run", scene)
    link = "renders/test_a%3Cb%3Etest.mp4"
    addresses = Page(write_report(run, scene).read_text()).addresses
    assert addresses.count(link) == 1
    assert sum(address.startswith("data:video/mp4") for address in addresses) == 1
    monkeypatch.setattr(report_images, "LARGEST_VIDEO", 10)
    addresses = Page(write_report(run, scene).read_text()).addresses
    assert addresses.count(link) == 2
    assert not any(address.startswith("data:video") for address in addresses)


def test_large_pictures_are_reduced(tmp_path):
    path = tmp_path / "test_cam_0001_truth.png"
    imageio.imwrite(path, np.random.default_rng(0).integers(0, 255, (700, 1400, 3), dtype=np.uint8))
    address = report_images.embedded_picture(path)
    assert address.startswith("data:image/jpeg;base64,")
    assert len(address) < path.stat().st_size


def test_a_part_that_cannot_be_made_costs_no_other(tmp_path, scene, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a <chart> of nothing")

    monkeypatch.setattr("syncnerf.evaluation.report.offset_timeline", broken)
    run = write_run(tmp_path / "run", scene)
    text = "".join(Page(write_report(run, scene).read_text()).text)
    assert "a <chart> of nothing" in text
    assert "could not be made" in text
    assert "Recovered time offsets" in text
    assert "PSNR per frame" in text


def test_a_camera_without_an_error_among_others_is_called_undetermined(tmp_path, scene):
    run = write_run(tmp_path / "run", scene, metrics=False)
    assert "undetermined" not in write_report(run, scene).read_text()
    record = json.loads((run / "offsets.json").read_text())
    for name in NAMES[1:3]:
        record["cameras"][name]["stderr"] = None
    (run / "offsets.json").write_text(json.dumps(record))
    # The reference's is 0 by definition.
    assert write_report(run, scene).read_text().count("<small>undetermined</small>") == 1
