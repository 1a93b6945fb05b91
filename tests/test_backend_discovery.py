"""Finding backends: a broken plugin is named and left out, a duplicate refused, an unknown name lists what exists."""

import logging
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from syncnerf import installed
from syncnerf.backend import Execution
from syncnerf.errors import UserError
from syncnerf.installed import DEVELOPMENT_VARIABLE, ENTRY_POINT_GROUP, discover_backends, find_backend

PLUGIN = """
from dataclasses import dataclass
from syncnerf.backend import BackendSpec
from syncnerf.option import option

@dataclass(frozen=True)
class Options:
    pass

SPEC = BackendSpec("{name}", "a test", Options, "{module}:make", "rays")
OTHER = 42
def make(config, geometry, execution):
    return (config, geometry, execution)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Writes a module and makes it importable."""

    def write(module: str, text: str) -> None:
        (tmp_path / f"{module}.py").write_text(text)

    monkeypatch.syspath_prepend(str(tmp_path))
    return write


def test_backend_named_in_the_variable_is_found_and_built(plugin, monkeypatch):
    plugin("waving_plugin", PLUGIN.format(name="waving", module="waving_plugin"))
    monkeypatch.setenv(DEVELOPMENT_VARIABLE, "waving=waving_plugin:SPEC")
    spec = find_backend("waving")
    assert spec.summary == "a test"
    assert spec.build("config", "geometry", "execution") == ("config", "geometry", "execution")
    assert spec.build("config", "geometry") == ("config", "geometry", Execution())
    assert "kplanes" in discover_backends()


def test_an_adapter_that_is_not_there_is_one_line(plugin, monkeypatch):
    plugin("halved_plugin", PLUGIN.format(name="halved", module="a_module_that_is_not_there"))
    monkeypatch.setenv(DEVELOPMENT_VARIABLE, "halved=halved_plugin:SPEC")
    with pytest.raises(UserError, match=r"backend 'halved' \(a_module_that_is_not_there:make\) cannot be imported"):
        find_backend("halved").build("config", "geometry")


def test_unknown_name_lists_what_exists_and_guesses():
    with pytest.raises(UserError, match=r"no backend 'kplane'; did you mean 'kplanes'\? \(installed: .*kplanes.*\)"):
        find_backend("kplane")


@pytest.mark.parametrize(
    ("text", "target", "reason"),
    [
        ("raise ValueError('half installed')", "SPEC", "half installed"),
        ("import a_module_that_is_not_there", "SPEC", "a_module_that_is_not_there"),
        ("x = 1", "SPEC", "SPEC"),
        (PLUGIN.format(name="broken", module="broken_plugin"), "OTHER", "int, not a BackendSpec"),
        ("def oops(:", "SPEC", "invalid syntax"),
    ],
)
def test_broken_plugin_gives_a_named_warning_and_the_others_work(plugin, monkeypatch, caplog, text, target, reason):
    plugin("broken_plugin", text)
    monkeypatch.delitem(sys.modules, "broken_plugin", raising=False)
    monkeypatch.setenv(DEVELOPMENT_VARIABLE, f"broken=broken_plugin:{target}")
    with caplog.at_level(logging.WARNING, logger="syncnerf"):
        found = discover_backends()
    assert "broken" not in found
    assert "kplanes" in found
    (record,) = caplog.records
    assert "backend 'broken'" in record.getMessage()
    assert reason in record.getMessage()


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ('"broken"', '"other"', "it calls itself 'other'"),
        ('"rays"', '"ray"', "should be one of rays, time_series, views"),
        (":make", ".make", "should be module:callable"),
        ("Options, ", "None, ", "its config is not a dataclass"),
        ("pass", "width: int = 3", "its option width is not made by"),
        ("pass", "steps: int = option(3, 'its own')", "its option steps has the name of one that all backends share"),
    ],
)
def test_a_spec_that_the_command_line_could_not_use_is_left_out(plugin, monkeypatch, caplog, right, wrong, reason):
    text = PLUGIN.format(name="broken", module="broken_plugin")
    assert right in text
    plugin("broken_plugin", text.replace(right, wrong))
    monkeypatch.delitem(sys.modules, "broken_plugin", raising=False)
    monkeypatch.setenv(DEVELOPMENT_VARIABLE, "broken=broken_plugin:SPEC")
    with caplog.at_level(logging.WARNING, logger="syncnerf"):
        assert "broken" not in discover_backends()
    (record,) = caplog.records
    assert record.getMessage().startswith("backend 'broken' (broken_plugin:SPEC) is left out: ")
    assert reason in record.getMessage()


def test_duplicate_is_refused(plugin, monkeypatch):
    plugin("rival_plugin", PLUGIN.format(name="kplanes", module="rival_plugin"))
    monkeypatch.setenv(DEVELOPMENT_VARIABLE, "kplanes=rival_plugin:SPEC")
    with pytest.raises(UserError, match=r"backend 'kplanes' is provided twice .*rival_plugin:SPEC"):
        discover_backends()


@pytest.mark.parametrize("value", ["kplanes", "name=module", "module:SPEC"])
def test_malformed_variable_is_explained(monkeypatch, value):
    monkeypatch.setenv(DEVELOPMENT_VARIABLE, value)
    with pytest.raises(UserError, match=f"{DEVELOPMENT_VARIABLE}.*name=module:attribute"):
        discover_backends()


def test_entry_points_are_read(plugin, monkeypatch):
    plugin("entered_plugin", PLUGIN.format(name="entered", module="entered_plugin"))
    asked = []

    def entry_points(group):
        asked.append(group)
        return [EntryPoint("entered", "entered_plugin:SPEC", group)]

    monkeypatch.setattr(installed, "entry_points", entry_points)
    assert list(discover_backends()) == ["entered"]
    assert asked == [ENTRY_POINT_GROUP]


def test_looking_for_backends_does_not_import_their_fields():
    """A spec is data: neither --help nor another backend's run should wait for a field's own imports."""
    code = "import sys; from syncnerf.installed import discover_backends; discover_backends(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "syncnerf_kplanes.spec" in loaded
    plugins = [name for name in loaded if name.startswith("syncnerf_") and "." in name]
    assert all(name.endswith((".spec", ".options")) for name in plugins)
