"""The command line, config files and environment of `syncnerf train`, built from the dataclasses of config.py."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import configargparse

from syncnerf.backend import BackendSpec
from syncnerf.combinations import check_combinations
from syncnerf.config import CONCERNS, Config
from syncnerf.errors import UserError, did_you_mean, usage
from syncnerf.installed import DEVELOPMENT_VARIABLE, discover_backends, find_backend
from syncnerf.native import DISABLE_VARIABLE
from syncnerf.option import at_home, configured, options_of, own_options, parts_of

PREFIX = "SYNCNERF_"
ACTIONS = ("ckpt", "resume", "extend", "dry_run", "validate_only", "render_only")
"""Options that say what to do now; a run's config.txt leaves them out, so that it can be given again."""


def parse(arguments: Sequence[str]) -> Config:
    """The effective configuration from config files, then ``SYNCNERF_*`` variables, then the command line.

    Raises:
        UserError: an unknown key or value, naming the nearest known one; an unknown backend; an unreadable file;
            options of which one would do nothing.
    """
    name = _first_look(arguments)
    spec = find_backend(name)
    parser = build_parser(spec.config)
    known, unknown = _parse_known(parser, arguments)
    option_names = _option_names(parser)
    if unknown:
        key = unknown[0].split("=")[0]
        if not key.startswith("-"):
            raise UserError(f"'{key}' belongs to no option; see syncnerf train --help")
        plain = key.lstrip("-").replace("-", "_")
        hint = _other_backends(spec, plain) or did_you_mean(plain, option_names)
        raise UserError(f"unknown option '{plain}'{hint} (see syncnerf train --help)")
    _check_environment(option_names)
    values = vars(known)
    for item in options_of(spec.config):
        value, choices = values[item.name], item.metadata["choices"]
        if choices and value not in choices and (hint := _other_backends(spec, item.name, value)):
            raise UserError(f"{item.name} = {value}: not of the backend '{spec.name}'{hint}")
    concerns = {name: configured(kind, values) for name, kind in {**CONCERNS, "backend_options": spec.config}.items()}
    config = Config(**concerns, spec=spec)
    check_combinations(config)
    return config


def build_parser(field_config: type) -> configargparse.ArgumentParser:
    """The full parser: one group per concern, one for the backend's own options and one for each of their parts."""
    parser = _empty_parser(add_help=True)
    for name, kind in {**CONCERNS, "backend's own": field_config}.items():
        _add_groups(parser, name, kind)
    return parser


def write_config(config: Config) -> str:
    """The effective configuration as the text of a config file that gives the same again."""
    lines = ["# Effective configuration; give it again with --config."]
    for name, value in config.values().items():
        if name not in ACTIONS and value != "":
            lines.append(f"{name} = {str(value).lower() if isinstance(value, bool) else _quoted(str(value))}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A value as a config file must hold it: in quotes where part of it would be read as quotes or as a comment."""
    if text == text.strip() and text[:1] not in ("'", '"') and not re.search(r"\s[;#]", text):
        return text
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}"


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help with defaults, where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, "") else super()._get_help_string(action)


def _empty_parser(add_help: bool) -> configargparse.ArgumentParser:
    parser = configargparse.ArgumentParser(
        prog="syncnerf train",
        add_help=add_help,
        allow_abbrev=False,
        auto_env_var_prefix=PREFIX,
        formatter_class=_HelpFormatter,
        description="Train, evaluate or render a dynamic radiance field and its cameras' time offsets.",
        epilog="Options can stand in the config file (key = value), in SYNCNERF_* variables or here; the later wins. "
        f"Backends: {'; '.join(f'{s.name}: {s.summary}' for s in discover_backends().values())}.",
        add_env_var_help=False,
        add_config_file_help=False,
        config_file_open_func=partial(open, encoding="utf-8-sig"),  # editors on Windows begin files with a mark
    )
    parser.add_argument("--config", is_config_file=True, metavar="FILE", help="configuration file, as in configs/")
    return parser


def _other_backends(chosen: BackendSpec, name: str, value: Any = None) -> str:
    """Says which backends other than the chosen one have an option (with ``value`` among its choices); else empty."""
    having = [
        spec.name
        for spec in discover_backends().values()
        for item in options_of(spec.config)
        if spec.name != chosen.name and item.name == name and (value is None or value in item.metadata["choices"])
    ]
    return f"; it belongs to --backend {' or '.join(having)}" if having else ""


def _first_look(arguments: Sequence[str]) -> str:
    """Which backend is asked for, before its options are known."""
    parser = _empty_parser(add_help=False)
    item = next(item for item in own_options(CONCERNS["run"]) if item.name == "backend")
    _add_option(parser, item)
    return _parse_known(parser, arguments)[0].backend


def _parse_known(parser: configargparse.ArgumentParser, arguments: Sequence[str]) -> tuple[argparse.Namespace, list]:
    def refuse(message: str) -> None:
        raise UserError(usage(message))

    parser.error = refuse
    try:
        return parser.parse_known_args(list(arguments))
    except (OSError, UnicodeDecodeError, configargparse.ConfigFileParserException) as error:
        raise UserError(f"the config file cannot be read ({' '.join(str(error).split())}); see --config") from error


def _add_groups(parser: configargparse.ArgumentParser, name: str, kind: type) -> None:
    if own := own_options(kind):
        group = parser.add_argument_group(name.replace("_", " "), (kind.__doc__ or "").split("\n")[0])
        for item in own:
            _add_option(group, item)
    for inner_name, inner in parts_of(kind).items():
        _add_groups(parser, f"{name}, {inner_name}", inner)


def _add_option(group: Any, item: Any) -> None:
    spellings = list(dict.fromkeys([f"--{item.name.replace('_', '-')}", f"--{item.name}"]))
    settings: dict[str, Any] = {"dest": item.name, "default": item.default, "help": item.metadata["help"]}
    settings["help"] = settings["help"].replace("%", "%%")
    if isinstance(item.default, bool):
        settings.update(type=_boolean, nargs="?", const=True, metavar="BOOL")
    else:
        types = {int: _whole_number, str: at_home}
        settings["type"] = types.get(type(item.default), type(item.default))
        choices = item.metadata.get("choices")
        settings["metavar"] = "|".join(map(str, choices)) if choices else type(item.default).__name__.upper()
        if item.metadata.get("range") is not None:
            settings["help"] += f" [{item.metadata['range']}]"
    group.add_argument(*spellings, **settings)


def _boolean(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(f"'{text}' is neither true nor false")
    return known[text.lower()]


def _whole_number(text: str) -> int:
    try:
        return int(text.replace("_", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None


def _option_names(parser: configargparse.ArgumentParser) -> list[str]:
    return [action.dest for action in parser._actions if action.dest != "help"]


def _check_environment(option_names: list[str]) -> None:
    known = {PREFIX + name.upper() for name in option_names} | {DEVELOPMENT_VARIABLE, DISABLE_VARIABLE}
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in known:
            raise UserError(f"unknown environment variable '{variable}'{did_you_mean(variable, known)}")
