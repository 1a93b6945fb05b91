"""The offsets that a scene folder says are true."""

from pathlib import Path

import torch
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.records import number, read_json_object


def read_true_offsets(root: Path, names: list[str]) -> Tensor | None:
    """Ground-truth offsets of a scene folder's ``offsets.json``, seconds, float64, shape [C]; None if there is none.

    ``{"seconds": [...]}`` in camera order, or ``{"seconds": {name: value}}``. A file that ``sync`` or a training wrote
    is no truth.
    """
    path = root / "offsets.json"
    if not path.exists():
        return None
    record = read_json_object(path)
    if "seconds" not in record and {"cameras", "source"} <= record.keys():
        return None
    values = record.get("seconds")
    if isinstance(values, dict):
        missing = [name for name in names if name not in values]
        if missing:
            raise UserError(f"{path}: has no offset for camera '{missing[0]}'; add it or remove the file")
        values = [values[name] for name in names]
    if not isinstance(values, list) or len(values) != len(names):
        raise UserError(f"{path}: 'seconds' should hold one number per camera ({len(names)})")
    return torch.tensor([number({"seconds": v}, "seconds", str(path)) for v in values], dtype=torch.float64)
