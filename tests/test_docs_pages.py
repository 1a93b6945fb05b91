"""README and the pages of docs: commands have the options that they are given, links and paths lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest
from odd_recordings import DAMAGES

from syncnerf.cli import _parser
from syncnerf.options import parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN_CONFIG = "runs/first/config.txt"
"""What a reader's first run leaves: written by the configuration that the page names before."""
OF_A_PLUGIN = "--backend blobs"
"""The page on backends trains one that is not installed here: tests/test_sample_plugin.py does."""


def commands(page: Path) -> list[list[str]]:
    """The page's calls of syncnerf as lists of words, those for several processes too."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)).splitlines()
    calls = [re.search(r"^(?:exec |torchrun .*-m )?syncnerf (.*)", line) for line in lines if OF_A_PLUGIN not in line]
    return [shlex.split(call[1], comments=True) for call in calls if call and not call[1].endswith("...")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_the_options_that_they_are_given(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / RUN_CONFIG).parent.mkdir(parents=True)
    (tmp_path / RUN_CONFIG).write_text("datadir = scene\nexpname = first\n")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for words in commands(page):
        if words[0] == "train":
            parse(words[1:])
        else:
            _parser().parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link, anchor in re.findall(r"\]\(([^)#:]*)(#[^)]*)?\)", text):
        target = page.parent / link if link else page
        assert target.is_file(), link
        titles = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
        anchors = {"#" + re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, anchor
    for path in re.findall(r"\b((?:tools|plugins|syncnerf|configs)/[\w./{},*]*\w\b)", text):
        assert any(list(ROOT.glob(one)) for one in spread(path)), path


def spread(path: str) -> list[str]:
    """A path with a choice in braces as one for each."""
    choice = re.search(r"{(.*?)}", path)
    return [path.replace(choice[0], one) for one in choice[1].split(",")] if choice else [path]


def test_the_damages_that_are_told_of_are_those_that_there_are():
    assert f"27 of the {len(DAMAGES)} kinds of damage" in " ".join((ROOT / "README.md").read_text().split())
    assert f"knows {len(DAMAGES)} kinds" in (ROOT / "docs" / "figures.md").read_text()
