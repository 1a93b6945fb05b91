"""Whatever a file holds, a reader ends well or in one line that names it (hypothesis)."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from calibration_files import FORMATS as CALIBRATIONS
from format_scenes import FORMATS as SCENES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncnerf.errors import UserError
from syncnerf.importers.formats import read_calibration
from syncnerf.offsets_file import read_offsets
from syncnerf.option import Range, options_of
from syncnerf.options import parse, write_config
from syncnerf.scene import load_scene
from syncnerf_kplanes.spec import KPlanesConfig

few = settings(
    max_examples=25, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

NUMBERS = st.integers(-3, 10**20) | st.floats(allow_nan=False) | st.sampled_from([0, -1, 1e308, -0.0])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module", autouse=True)
def all_numbers():
    """Commands that ran in this process before have numbers next to zero taken for zero; hypothesis draws them too."""
    torch.set_flush_denormal(False)


def places(value, path=()) -> list[tuple]:
    """The way to each part of a json record, itself first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


@st.composite
def spoilt(draw, record):
    """The record with one or two of its parts replaced by anything or left out."""
    record = json.loads(json.dumps(record))
    for _ in range(draw(st.integers(1, 2))):
        ways = places(record)[1:]
        if not ways:
            break
        *way, last = draw(st.sampled_from(ways))
        parent = record
        for key in way:
            parent = parent[key]
        if draw(st.booleans()):
            parent[last] = draw(VALUES)
        else:
            del parent[last]
    return record


def ends_well(action, *words: str) -> bool:
    """Whether an action succeeds; an error is the user's, one line, with the words in it."""
    try:
        action()
    except UserError as error:
        message = str(error)
        assert "\n" not in message
        assert any(word in message for word in words), message
        return False
    return True


@pytest.fixture(scope="module", params=["blender-video", "blender-frames", "dnerf", "panoptic"])
def scene(request, tmp_path_factory) -> tuple[Path, Path, dict]:
    """A scene whose cameras stand in a json file: its folder, the file, and what it holds."""
    root = tmp_path_factory.mktemp("scene")
    SCENES[request.param](root)
    path = max(root.glob("*.json"), key=lambda file: file.stat().st_size)
    return root, path, json.loads(path.read_text())


@few
@given(data=st.data())
def test_a_spoilt_record_of_cameras_is_read_or_named(scene, data):
    root, path, record = scene
    path.write_text(json.dumps(data.draw(spoilt(record))))
    try:
        ends_well(lambda: load_scene(root), root.name)
    finally:
        path.write_text(json.dumps(record))


@pytest.fixture(scope="module", params=sorted(CALIBRATIONS))
def calibration(request, tmp_path_factory) -> tuple[Path, list[Path]]:
    """A calibration, and the files that it consists of."""
    root = tmp_path_factory.mktemp("calibration")
    path = CALIBRATIONS[request.param][0](root)
    return path, [file for file in sorted(root.rglob("*")) if file.is_file()]


@few
@given(data=st.data())
def test_a_calibration_with_other_bytes_is_read_or_named(calibration, data):
    path, files = calibration
    file = data.draw(st.sampled_from(files))
    content = file.read_bytes()
    begin = data.draw(st.integers(0, len(content)))
    end = data.draw(st.sampled_from([begin, begin + 1, begin + 5, len(content)]))
    file.write_bytes(content[:begin] + data.draw(st.binary(max_size=8)) + content[end:])
    try:
        ends_well(lambda: read_calibration(path), path.name, file.name)
    finally:
        file.write_bytes(content)


@few
@given(text=st.text(max_size=80))
def test_any_text_is_a_configuration_or_named(tmp_path, text):
    path = tmp_path / "config.txt"
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    ends_well(lambda: parse([f"--config={path}"]), "config file", "option", "should", "expected")


@few
@given(data=st.data())
def test_any_values_survive_the_configuration_file(tmp_path, data):
    """Of a backend's options: each within its range or its choices."""
    given_options = {}
    items = st.lists(st.sampled_from(options_of(KPlanesConfig)), max_size=5, unique_by=lambda item: item.name)
    for item in data.draw(items):
        limits, choices = item.metadata["range"], item.metadata["choices"]
        if choices:
            given_options[item.name] = data.draw(st.sampled_from(choices))
        elif isinstance(limits, Range) and not isinstance(item.default, str):
            kind = st.integers if isinstance(item.default, int) else st.floats
            given_options[item.name] = data.draw(kind(limits.least, limits.most).filter(limits.admits))
    arguments = [f"--{name}={value!r}".replace("'", "") for name, value in given_options.items()]
    found = []
    if ends_well(lambda: found.append(parse(arguments)), "should"):
        path = tmp_path / "config.txt"
        path.write_text(write_config(found[0]))
        assert parse([f"--config={path}"]) == found[0]
        assert {name: found[0].values()[name] for name in given_options} == given_options


@few
@given(record=VALUES | st.fixed_dictionaries({"unit": VALUES, "cameras": VALUES}))
def test_any_json_is_an_offsets_file_or_named(tmp_path, record):
    path = tmp_path / "offsets.json"
    path.write_text(json.dumps(record))
    ends_well(lambda: read_offsets(path, ["a", "b"]), path.name)


def test_what_is_spoilt_can_also_be_read(tmp_path):
    """The fixtures above are fit until they are spoilt: else all of this would prove nothing."""
    for name, (write, *_) in CALIBRATIONS.items():
        (tmp_path / name).mkdir()
        assert len(read_calibration(write(tmp_path / name)).cameras) > 1
    shutil.rmtree(tmp_path)
