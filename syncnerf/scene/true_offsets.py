"""The ground truth in a scene folder: offsets, clock rates and readout times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.records import number, read_json_object

PARTS_PER_MILLION = 1e-6


def read_true_clocks(root: Path, names: list[str], kept: Sequence[int]) -> dict[str, Float64[Tensor, " C"] | None]:
    """The true clocks that a scene folder's ``offsets.json`` states, as a :class:`syncnerf.scene.Scene` has them.

    These are ``true_offsets`` (seconds; ``seconds`` in the file), ``true_rates`` (no unit; ``rates_ppm``) and
    ``true_row_times`` (seconds; ``row_times``), float64, shape [C], or None for what the file does not state. Each
    entry is a list in camera order, or ``{name: value}``. A file that ``sync`` or a training wrote states no truth.

    Args:
        root: the scene's folder.
        names: all cameras of the folder in order.
        kept: places among them of the C cameras that the scene has.

    Raises:
        UserError: an entry lacks a camera, or holds something else than numbers; or the file's unit is not seconds.
    """
    factors = {"seconds": 1.0, "rates_ppm": PARTS_PER_MILLION, "row_times": 1.0}
    values = [_read(root, key, names) for key in factors]
    kept_values = [None if v is None else f * v[kept] for v, f in zip(values, factors.values(), strict=True)]
    return dict(zip(("true_offsets", "true_rates", "true_row_times"), kept_values, strict=True))


def _read(root: Path, key: str, names: list[str]) -> Tensor | None:
    """One entry of the file, a number for each name, float64; None where the file does not state it."""
    path = root / "offsets.json"
    if not path.exists():
        return None
    record = read_json_object(path)
    if "seconds" not in record and {"cameras", "source"} <= record.keys():
        return None
    if key != "seconds" and key not in record:
        return None
    if record.get("unit", "seconds") != "seconds":
        raise UserError(f"{path}: its unit is {record['unit']!r}; convert the offsets to seconds")
    if "cameras" in record and "seconds" not in record:
        raise UserError(
            f"{path}: holds 'cameras' without 'source': add what computed them (\"source\": \"sync\"), or, if they are "
            f"the truth, give them as \"seconds\": [...], one number per camera ({len(names)})"
        )
    values = record.get(key)
    if isinstance(values, dict):
        missing = [name for name in names if name not in values]
        if missing:
            raise UserError(f"{path}: '{key}' has nothing for camera '{missing[0]}'; add it or remove the file")
        values = [values[name] for name in names]
    if not isinstance(values, list) or len(values) != len(names):
        raise UserError(f"{path}: '{key}' should hold one number per camera ({len(names)})")
    return torch.tensor([number({key: v}, key, str(path)) for v in values], dtype=torch.float64)
