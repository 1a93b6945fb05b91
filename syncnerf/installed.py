"""Which backends are installed: found by entry point, or named for development."""

from __future__ import annotations

import importlib
import logging
import os
from dataclasses import is_dataclass
from importlib.metadata import entry_points
from typing import Any, get_args

from syncnerf.backend import BackendSpec, TrainsOn
from syncnerf.config import CONCERNS
from syncnerf.errors import UserError, did_you_mean
from syncnerf.option import options_of

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "syncnerf.backends"
DEVELOPMENT_VARIABLE = "SYNCNERF_BACKENDS"


def discover_backends() -> dict[str, BackendSpec]:
    """Find installed backends by entry point, and those named in ``SYNCNERF_BACKENDS`` (``name=module:attr,...``).

    A plugin that fails to import, or whose :class:`BackendSpec` is unfit, is left out with a warning that names it.

    Raises:
        UserError: two plugins claim one name, or the variable cannot be read.
    """
    sources: list[tuple[str, str]] = [(entry.name, entry.value) for entry in entry_points(group=ENTRY_POINT_GROUP)]
    for item in filter(None, os.environ.get(DEVELOPMENT_VARIABLE, "").split(",")):
        name, separator, target = item.partition("=")
        if not separator or ":" not in target:
            raise UserError(f"{DEVELOPMENT_VARIABLE}: '{item}' is not of the form name=module:attribute")
        sources.append((name.strip(), target.strip()))
    found: dict[str, BackendSpec] = {}
    for name, target in sources:
        spec = _load_spec(name, target)
        if spec is None:
            continue
        if name in found:
            raise UserError(f"backend '{name}' is provided twice (once by {target}); uninstall or rename one")
        found[name] = spec
    return found


def _load_spec(name: str, target: str) -> BackendSpec | None:
    module, _, attribute = target.partition(":")
    try:
        spec = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a plugin may fail in any way; the others must still work
        logger.warning("backend '%s' (%s) cannot be loaded and is left out: %s", name, target, error)
        return None
    if fault := _fault(name, spec):
        logger.warning("backend '%s' (%s) is left out: %s", name, target, fault)
        return None
    return spec


def _fault(name: str, spec: Any) -> str:
    """Why something cannot be a backend's spec; empty if it can."""
    if not isinstance(spec, BackendSpec):
        return f"it is {type(spec).__name__}, not a BackendSpec"
    if spec.name != name:
        return f"it calls itself '{spec.name}'; give both one name"
    if spec.trains_on not in get_args(TrainsOn):
        return f"trains_on = {spec.trains_on}: should be one of {', '.join(get_args(TrainsOn))}"
    if ":" not in spec.adapter:
        return f"adapter = {spec.adapter}: should be module:callable"
    if not is_dataclass(spec.config):
        return "its config is not a dataclass"
    plain = [item.name for item in options_of(spec.config) if "help" not in item.metadata]
    if plain:
        return f"its option {plain[0]} is not made by syncnerf.option.option"
    known = {item.name for kind in CONCERNS.values() for item in options_of(kind)}
    twice = [item.name for item in options_of(spec.config) if item.name in known]
    return f"its option {twice[0]} has the name of one that all backends share; rename it" if twice else ""


def find_backend(name: str) -> BackendSpec:
    """The backend called ``name``; raises UserError listing what exists."""
    found = discover_backends()
    if name not in found:
        raise UserError(
            f"no backend '{name}'{did_you_mean(name, found)} (installed: {', '.join(sorted(found)) or 'none'})"
        )
    return found[name]
