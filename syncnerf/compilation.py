"""``torch.compile`` where it can be had: what it cannot compile runs as it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

logger = logging.getLogger(__name__)

LONG_TRAINING = 10_000
"""Steps from which on compiling, about 20 s, pays."""


def compilation_pays(choice: str, steps: int) -> bool:
    """Whether to compile, by the option ``compile`` (auto, on or off) and the length of the training."""
    return choice == "on" or (choice == "auto" and steps >= LONG_TRAINING)


def compiled(function: Callable[..., Any], wanted: bool) -> Callable[..., Any]:
    """The function, compiled where that is wanted.

    Compiling happens in the first call. Where it fails (no C++ compiler, an unsupported device), a warning says so and
    this call and later ones run the function as it is.
    """
    return _Compiled(function) if wanted else function


class _Compiled:
    def __init__(self, function: Callable[..., Any]):
        self.function, self.fast = function, torch.compile(function)

    def __call__(self, *arguments: Any) -> Any:
        if self.fast is not None:
            try:
                return self.fast(*arguments)
            except Exception as error:  # the compiler's many; a fault of the function's own shows again below
                reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
                logger.warning("%s is not compiled: %s", self.function.__name__, reason)
                self.fast = None
        return self.function(*arguments)
