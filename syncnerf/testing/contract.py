"""The contract's suite: what every backend must do, as a class of tests that a plugin's author inherits.

    from syncnerf.testing.contract import BackendContract
    from my_plugin.spec import SPEC

    class TestMyBackend(BackendContract):
        spec = SPEC
        options = {"layers": 2}

Run by pytest. Everything happens on the CPU, in a scene of a few dozen pixels.
"""

from __future__ import annotations

import itertools
from typing import Any

from syncnerf.backend import BackendSpec
from syncnerf.option import options_of
from syncnerf.testing.answers import AnswerTests
from syncnerf.testing.derivatives import DerivativeTests
from syncnerf.testing.training import TrainingTests


class BackendContract(AnswerTests, DerivativeTests, TrainingTests):
    """All tests of the contract; for what they can be told see :class:`syncnerf.testing.setting.ContractTests`."""


def every_choice(spec: BackendSpec, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Every combination of the choices of some options, as far as the backend has them; at least the empty one."""
    items = [item for item in options_of(spec.config) if item.name in names and item.metadata["choices"]]
    values = itertools.product(*(item.metadata["choices"] for item in items))
    return [dict(zip((item.name for item in items), choice, strict=True)) for choice in values]
