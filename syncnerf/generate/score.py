"""What every score is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Score:
    """One number, and what it has to be read against.

    Attributes:
        label: what it is called on the page.
        unit: what one of it is.
        value: of these views; None where it cannot be determined, and ``reason`` says why.
        floor: what the same footage scores where it is made wrong on purpose; None where unknown.
        ceiling: the best that the same footage, or true footage of the same rig, allows; None where unknown.
        reason: why a number is missing; empty if none is.
        details: further numbers for ``scores.json``.
    """

    label: str
    unit: str
    value: float | None
    floor: float | None = None
    ceiling: float | None = None
    reason: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The layout of an entry of ``scores.json``."""
        record = {"unit": self.unit, "value": self.value, "floor": self.floor, "ceiling": self.ceiling}
        if self.reason:
            record["reason"] = self.reason
        return record | self.details


def known(value: float) -> float | None:
    """The number, or None for one that json cannot hold."""
    return float(value) if math.isfinite(value) else None
