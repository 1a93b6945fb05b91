"""``offsets.json``: what is written comes back, the truth of a scene folder is read too, anything else is named."""

import json
import math

import pytest
import torch

from syncnerf.errors import UserError
from syncnerf.offsets_file import Estimates, read_offsets, read_rates, write_offsets
from syncnerf.scene.true_offsets import read_true_clocks


def test_true_offsets_in_another_unit_are_refused(tmp_path):
    path = tmp_path / "offsets.json"
    path.write_text(json.dumps({"unit": "milliseconds", "seconds": [1.0, 2.0]}))
    with pytest.raises(UserError, match="unit is 'milliseconds'"):
        read_true_clocks(tmp_path, ["a", "b"], [0, 1])
    # With the mark that editors on Windows write.
    path.write_text("\ufeff" + json.dumps({"unit": "seconds", "seconds": [1.0, 2.0]}), encoding="utf-8")
    assert read_true_clocks(tmp_path, ["a", "b"], [0, 1])["true_offsets"].tolist() == [1.0, 2.0]
    assert read_offsets(path, ["a", "b"]).tolist() == [1.0, 2.0]


def test_offsets_in_a_scene_that_neither_are_true_nor_say_their_source_are_refused(tmp_path):
    path, cameras = tmp_path / "offsets.json", {"a": {"offset": 1.0}, "b": {"offset": 2.0}}
    path.write_text(json.dumps({"cameras": cameras}))
    with pytest.raises(UserError, match=r"holds 'cameras' without 'source'.* as \"seconds\": .*one number per camera"):
        read_true_clocks(tmp_path, ["a", "b"], [0, 1])
    path.write_text(json.dumps({"cameras": cameras, "source": "sync"}))
    assert read_true_clocks(tmp_path, ["a", "b"], [0, 1])["true_offsets"] is None
    assert read_offsets(path, ["a", "b"]).tolist() == [1.0, 2.0]


def test_offsets_file_keeps_what_is_written(tmp_path):
    path = tmp_path / "offsets.json"
    names, offsets = ["a", "b", "c"], torch.tensor([0.0, -0.25, math.nan], dtype=torch.float64)
    errors = torch.tensor([0.001, 0.002, math.nan], dtype=torch.float64)
    reasons, rates = {"c": "nothing moves"}, {"b": {"rate_ppm": 120.0}}
    write_offsets(path, Estimates(names, "a", offsets, errors, "joint", reasons, rates))
    record = json.loads(path.read_text())
    assert record["cameras"]["c"] == {"offset": None, "stderr": None, "reason": "nothing moves"}
    assert record["source"] == "joint"
    read = read_offsets(path, ["c", "a", "b"])
    assert read[1:].tolist() == [0.0, -0.25]
    assert read[0].isnan()
    assert read_rates(path, ["c", "a", "b"]).tolist() == pytest.approx([0.0, 0.0, 1.2e-4])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("seconds", [[0.5, 1.5], {"b": 1.5, "a": 0.5}])
def test_ground_truth_files_are_read_too(tmp_path, seconds):
    path = tmp_path / "offsets.json"
    path.write_text(json.dumps({"seconds": seconds}))
    assert read_offsets(path, ["a", "b"]).tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid json"),
        ("[]", "neither"),
        ('{"cameras": {"a": {"offset": 0.0}}}', "no offset for camera 'b'"),
        ('{"cameras": {"a": {"offset": 0.0}, "b": {"offset": "soon"}}}', "finite number"),
        ('{"unit": "frames", "cameras": {}}', "seconds"),
        ('{"seconds": [1.0]}', "neither"),
    ],
)
def test_unfit_offsets_files_are_named(tmp_path, text, message):
    path = tmp_path / "offsets.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_offsets(path, ["a", "b"])
    assert str(path) in str(caught.value)


def test_missing_offsets_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_offsets(tmp_path / "offsets.json", ["a"])
