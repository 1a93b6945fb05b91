"""C kernels: what is told where they cannot be had, and that a changed header makes another one."""

import logging
from pathlib import Path

import pytest

from syncnerf.native import compile_native, useful_threads
from syncnerf_gaussians import kernel


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    """A kernel that answers what its header says, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SYNCNERF_NATIVE", raising=False)
    (tmp_path / "answer.h").write_text("#define ANSWER 41\n")
    path = tmp_path / "answer.c"
    path.write_text('#include "answer.h"\nint answer(void) { return ANSWER; }\n')
    return path


def line_of(caplog) -> str:
    """The only line that was logged."""
    (record,) = caplog.records
    message = record.getMessage()
    assert "\n" not in message
    return message


def test_a_changed_header_makes_another_kernel(source):
    header = source.with_suffix(".h")
    first = compile_native(source, [header])
    if first is None:
        pytest.skip("no C compiler")
    assert first.answer() == 41
    header.write_text("#define ANSWER 42\n")
    assert compile_native(source, [header]).answer() == 42
    assert first.answer() == 41


def test_without_a_compiler_one_line_says_how_slow_it_will_be(source, monkeypatch, caplog):
    monkeypatch.setenv("CC", "no-such-compiler")
    with caplog.at_level(logging.WARNING, logger="syncnerf"):
        assert compile_native(source, twin="a week slower") is None
    assert line_of(caplog) == "answer runs as plain torch, a week slower: no C compiler (cc)"


def test_what_fails_to_compile_takes_one_line_with_the_first_error(source, caplog):
    if compile_native(source) is None:
        pytest.skip("no C compiler")
    source.write_text("int unused(void) { return nowhere; }\nint other(void) { return nothing; }\n")
    with caplog.at_level(logging.WARNING, logger="syncnerf"):
        assert compile_native(source) is None
    message = line_of(caplog)
    assert message.startswith("answer runs as plain torch, several times slower: compiling it failed (")
    assert "nowhere" in message
    assert "error" in message


def test_gaussians_without_their_kernel_are_said_to_take_hours(source, monkeypatch, caplog):
    monkeypatch.setenv("CC", "no-such-compiler")
    kernel.library.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, logger="syncnerf"):
            assert kernel.library() is None
    finally:
        kernel.library.cache_clear()
    assert "takes hours" in line_of(caplog)


@pytest.mark.parametrize(
    ("points", "gradient_numbers", "threads"),
    [(0, 0, 1), (511, 0, 1), (1024, 0, 2), (10**6, 0, 8), (2048, 2**17, 2), (2048, 10**9, 1), (10**6, 10, 8)],
)
def test_threads_are_as_many_as_have_enough_to_do(monkeypatch, points, gradient_numbers, threads):
    """Of eight, with 512 points for each, and so that clearing its own gradient is not all that one does."""
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    assert useful_threads(points, 512, gradient_numbers) == threads
