"""What the tools' command lines read: numbers within limits, lists, sizes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence


def picture_size(text: str) -> tuple[int, int]:
    """Parses ``128`` or ``160x120`` to (width, height) in pixels; both even, as 4:2:0 video needs."""
    try:
        width, height = (int(side) for side in (text.lower().split("x") if "x" in text.lower() else (text, text)))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write 128 or 160x120") from None
    if width < 16 or height < 16 or width % 2 or height % 2:
        raise argparse.ArgumentTypeError(f"{text!r}: both sides must be even and at least 16 pixels")
    return width, height


def whole_number(minimum: int) -> Callable[[str], int]:
    """A parser of whole numbers of at least ``minimum``."""

    def parse(text: str) -> int:
        if not text.isdigit() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {minimum}")
        return int(text)

    return parse


def finite_number(text: str) -> float:
    """Parses a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def not_negative(text: str) -> float:
    """Parses a finite number of at least 0."""
    value = finite_number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def positive(text: str) -> float:
    """Parses a finite number above 0."""
    value = finite_number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def several(parse: Callable[[str], float]) -> Callable[[str], list[float]]:
    """A parser of values separated by commas."""
    return lambda text: [parse(item.strip()) for item in text.split(",")]


def split_at_dashes(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """A tool's own arguments, and those behind ``--``, which are for what it runs."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return list(arguments[:place]), list(arguments[place + 1 :])
