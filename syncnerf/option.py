"""What an option is: a default, a line of help, and the values that make sense."""

import math
import os
import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any

from syncnerf.errors import UserError

Only = Mapping[str, tuple[str | int, ...]]
"""Options by name, and values of them."""


@dataclass(frozen=True)
class Range:
    """The numbers that an option may hold; both ends are finite, so that neither nan nor inf ever passes.

    Of an option that is a text of comma-separated whole numbers, every one of them should lie in it.

    Attributes:
        least: smallest number.
        most: largest number.
        reason: why no other makes sense; ends the error's line.
        also: a single number outside that means something of its own, as 0 does in "0 for none".
        above: whether ``least`` itself is excluded.
        below: whether ``most`` itself is excluded.
    """

    least: float
    most: float
    reason: str
    also: float | None = None
    above: bool = False
    below: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.least) and math.isfinite(self.most) and self.least <= self.most and self.reason):
            raise ValueError(f"a range needs two finite ends and a reason: {self}")

    def admits(self, value: float) -> bool:
        """Whether a number is allowed."""
        if self.also is not None and value == self.also:
            return True
        low = value > self.least if self.above else value >= self.least
        high = value < self.most if self.below else value <= self.most
        return low and high

    def check(self, name: str, value: float) -> None:
        """Raise UserError, naming the option, the range and the reason, where ``value`` is not allowed."""
        if not self.admits(value):
            raise UserError(f"{name} = {value}: should be {self} ({self.reason})")

    def __str__(self) -> str:
        least, most = _text(self.least), _text(self.most)
        between = f"from {least} to {most}"
        if self.above or self.below:
            low, high = "more than" if self.above else "at least", "less than" if self.below else "at most"
            between = f"{low} {least} and {high} {most}"
        return between if self.also is None else f"{_text(self.also)}, or {between}"


def share(reason: str = "it is a share") -> Range:
    """From 0 to 1."""
    return Range(0, 1, reason)


def weight(reason: str = "a negative weight would reward what it should hold back") -> Range:
    """A weight of a loss; 0 leaves the loss out."""
    return Range(0, 1e6, reason)


def count(least: int, reason: str, most: int = 10**9, also: int | None = None) -> Range:
    """A number of things: steps, rays, cells."""
    return Range(least, most, reason, also)


def _text(value: float) -> str:
    """A number as people write it."""
    return f"{value:,}".replace(",", "_") if isinstance(value, int) else f"{value:g}"


@dataclass(frozen=True)
class Number:
    """Reads a number for argparse (its ``type``); one that is not allowed is refused with the range and the reason.

    Attributes:
        kind: ``int`` or ``float``.
        allowed: what it may be.
    """

    kind: type[int] | type[float]
    allowed: Range

    def __call__(self, text: str) -> float:
        try:
            value = self.kind(text)
        except ValueError:
            raise ArgumentTypeError(f"'{text}' is not a {'whole ' if self.kind is int else ''}number") from None
        if not self.allowed.admits(value):
            raise ArgumentTypeError(f"{text}: should be {self.allowed} ({self.allowed.reason})")
        return value


def add_number(
    parser: ArgumentParser, name: str, kind: type[int] | type[float], default: float | None, help: str, allowed: Range
) -> None:
    """Add an option that is a number to a command's parser; ``--help`` shows its default and its range."""
    words = help if default is None else f"{help} (default: {default:g})"
    parser.add_argument(name, type=Number(kind, allowed), default=default, help=f"{words} [{allowed}]")


def option(default: Any, help: str, allowed: tuple[str | int, ...] | Range = (), only: Only | None = None) -> Any:
    """A dataclass field that is an option: its default, its line of ``--help``, its choices or its range.

    ``only`` names other options, and the values of these with which this one does anything.
    """
    ranged = isinstance(allowed, Range)
    metadata = {"help": help, "choices": () if ranged else allowed, "range": allowed if ranged else None}
    return field(default=default, metadata={**metadata, "only": only or {}})


def colour_threshold_option(default: float) -> Any:
    """An option that several backends share: the weight below which a sample's colour is not computed."""
    return option(
        default,
        "samples of less weight skip the colour networks",
        Range(0, 1, "no sample has a weight of 1 or more: none would be coloured", below=True),
    )


def gradient_radius_option(default: float) -> Any:
    """An option that several backends share: the ``share`` of :func:`syncnerf.rendering.starting.near_radius`."""
    return option(
        default,
        "distance from a camera, as a share of half the box's longest side, below which gradients shrink with its "
        "square, against fog before the lenses; 0 for none, -1 for 0.6 where the background is unknown",
        Range(-1, 1e3, "a distance, or -1"),
    )


DISTANCE_WEIGHT = "distance_weight"
"""What a backend calls :func:`distance_weight_option`: where it is 0, no distances are computed."""


def distance_weight_option(default: float) -> Any:
    """An option that several backends share: the weight of :func:`syncnerf.rendering.ray_ends.end_loss`."""
    return option(
        default, "weight at the start of distances that stereo tells (see stereo); it falls to 0 by the end", weight()
    )


def part(kind: type, only: Only | None = None) -> Any:
    """A dataclass field that holds options of its own: one part of a configuration, for the code that it belongs to.

    ``only`` says of all of them what it says of an :func:`option`.
    """
    return field(default_factory=kind, metadata={"only": only or {}})


def at_home(text: str) -> str:
    """A path that begins with ``~/``, alone or after an option's ``=``, from the root on; anything else as it is.

    Shells do this only where nothing stands before the ``~``, and not at all in files; a folder called ``~`` would be
    made.
    """
    before, path = re.fullmatch(r"(--?[\w-]+=)?(.*)", text, re.DOTALL).groups(default="")
    return before + (os.path.expanduser(path) if path == "~" or path.startswith("~/") else path)


@cache
def own_options(kind: type) -> list[Field]:
    """The options of a dataclass itself, without those of its parts."""
    return [item for item in fields(kind) if not _is_part(item)]


@cache
def parts_of(kind: type) -> dict[str, type]:
    """The parts of a dataclass of options by name."""
    return {item.name: item.default_factory for item in fields(kind) if _is_part(item)}


def options_of(kind: type) -> list[Field]:
    """The options of a dataclass and of its parts: what stands side by side in files and on the command line."""
    return own_options(kind) + [item for inner in parts_of(kind).values() for item in options_of(inner)]


def option_values(config: Any) -> dict[str, Any]:
    """Every option of a configuration by name, those of its parts among them."""
    values = {item.name: getattr(config, item.name) for item in own_options(type(config))}
    for name in parts_of(type(config)):
        values |= option_values(getattr(config, name))
    return values


def configured(kind: type, values: Mapping[str, Any]) -> Any:
    """A configuration from values by name; options without a value have their default, and other names are ignored.

    Raises:
        UserError: a value is not allowed.
    """
    own = {item.name: values[item.name] for item in own_options(kind) if item.name in values}
    return kind(**own, **{name: configured(inner, values) for name, inner in parts_of(kind).items()})


def idle_options(config: Any) -> dict[str, list[str]]:
    """Options that were given and do nothing, by what makes them idle, as "sampler = proposal"."""
    values, idle = option_values(config), {}
    for item, only in _conditions(type(config), {}):
        if values[item.name] != item.default:
            for other in [name for name, suitable in only.items() if values[name] not in suitable][:1]:
                idle.setdefault(f"{other} = {values[other]}", []).append(item.name)
    return idle


def _conditions(kind: type, only: Only) -> list[tuple[Field, Only]]:
    """Every option of a dataclass and of its parts, with all that must hold for it to do anything."""
    own = [(item, {**only, **item.metadata["only"]}) for item in own_options(kind)]
    inner = [(item.default_factory, {**only, **item.metadata["only"]}) for item in fields(kind) if _is_part(item)]
    return own + [pair for kind, conditions in inner for pair in _conditions(kind, conditions)]


def _is_part(item: Field) -> bool:
    return is_dataclass(item.default_factory)


def check_values(config: Any) -> None:
    """Raise UserError where a field lies outside its choices or its range; called from ``__post_init__``."""
    for item in own_options(type(config)):
        value, choices, allowed = getattr(config, item.name), item.metadata["choices"], item.metadata["range"]
        if choices and value not in choices:
            raise UserError(f"{item.name} = {value}: should be one of {', '.join(map(str, choices))}")
        if allowed is not None:
            for number in whole_numbers(config, item.name) if isinstance(value, str) else [value]:
                allowed.check(item.name, number)


def whole_numbers(config: Any, name: str) -> list[int]:
    """An option of comma-separated whole numbers, as a list; raises UserError where something else is in it."""
    text = str(getattr(config, name))
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(re.fullmatch(r"[0-9]{1,18}", part) for part in parts):
        raise UserError(f"{name} = {text}: should be whole numbers with commas between")
    return [int(part) for part in parts]
