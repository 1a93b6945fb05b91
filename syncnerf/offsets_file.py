"""The ``offsets.json`` that synchronisation and training write, and training reads."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.atomic import write_text
from syncnerf.errors import UserError

Source = Literal["sync", "joint", "test-optim"]


@dataclass(frozen=True)
class Estimates:
    """What is known of cameras' clocks, as an ``offsets.json`` holds it.

    Attributes:
        names: the cameras in order.
        reference: name of the camera whose offset is zero.
        offsets: seconds, shape [C]; NaN for a camera that is not determined, written as null with its reason.
        stderr: their standard errors in seconds, shape [C]; NaN (written as null) where unknown.
        source: what computed them.
        reasons: by name, why a camera is not determined.
        extra: by name, further entries of a camera (a clock's rate, a warning, ...), numbers finite. ``rate_ppm`` means
            that frame k was exposed at ``k / fps * (1 + 1e-6 rate_ppm) + offset``, and the file says so.
        began_known: of a training, whether it began from offsets with standard errors: then its own are of the best of
            both. (Those of a training that began with nothing tell how sure it is of the valley that it is in.)
    """

    names: Sequence[str]
    reference: str
    offsets: Float64[Tensor, " C"]
    stderr: Float64[Tensor, " C"]
    source: Source
    reasons: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    began_known: bool = False


def write_offsets(path: Path, estimates: Estimates) -> None:
    """Write offsets as json, atomically; the folder is made if need be."""
    cameras, offsets, errors = {}, estimates.offsets.tolist(), estimates.stderr.tolist()
    for name, offset, error in zip(estimates.names, offsets, errors, strict=True):
        known = math.isfinite(offset)
        entry = {"offset": offset if known else None, "stderr": error if known and math.isfinite(error) else None}
        if not known:
            entry["reason"] = estimates.reasons.get(name, "not determined")
        cameras[name] = entry | dict(estimates.extra.get(name, {}))
    record = {"unit": "seconds", "reference": estimates.reference, "cameras": cameras, "source": estimates.source}
    if estimates.began_known:
        record["began_known"] = True
    if any("rate_ppm" in entry for entry in cameras.values()):
        record["time_of_frame"] = "k / fps * (1 + 1e-6 * rate_ppm) + offset"
    target = _not_true(path, _held(path))
    write_text(target, json.dumps(record, indent=1, allow_nan=False) + "\n")


def replaceable(path: Path) -> Path:
    """Where an offsets file may be written, without links and ``..``: where there is no file, or one of this kind.

    Raises:
        UserError: a scene's true offsets are there (``{"seconds": ...}``), or something else than offsets.
    """
    held = _held(path)
    target = _not_true(path, held)
    if target.is_file() and target.stat().st_size > 0 and not {"cameras", "source"} <= held.keys():
        raise UserError(f"{path}: is there already, and holds no offsets; name another file (--out)")
    return target


def _held(path: Path) -> dict:
    """What a file holds; nothing where it is missing or holds no json object."""
    try:
        record = json.loads(Path(path).resolve().read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _not_true(path: Path, held: dict) -> Path:
    """The path without links and ``..``; raises UserError where a scene's true offsets are held there."""
    if "seconds" in held:
        raise UserError(f"{path}: holds a scene's true offsets, which are never overwritten; name another file (--out)")
    return Path(path).resolve()


def read_offsets(path: Path, names: Sequence[str]) -> Float64[Tensor, " C"]:
    """Read offsets by camera name.

    Both layouts are taken: this package's own, and the ground truth of a scene folder (``{"seconds": [...]}`` in
    camera order, or by name).

    Args:
        path: the file.
        names: the cameras in order; cameras of the file that are not among them are ignored.

    Returns:
        Seconds, float64, shape [C]; NaN for cameras that the file calls undetermined (``"offset": null``).

    Raises:
        UserError: the file is missing or unreadable, lacks a camera, or holds something that is no number.
    """
    path = Path(path)
    values = _by_name(path, _record(path), names)
    missing = [name for name in names if name not in values]
    if missing:
        raise UserError(f"{path}: has no offset for camera '{missing[0]}'; add it (has: {', '.join(values)})")
    return torch.tensor([_seconds(path, name, values[name]) for name in names], dtype=torch.float64)


def read_rates(path: Path, names: Sequence[str]) -> Float64[Tensor, " C"]:
    """Clock rates by camera name (1e-6: one part per million), float64, shape [C]; 0 where the file has none.

    Both layouts are taken, as by :func:`read_offsets`.

    Raises:
        UserError: the file is missing or unreadable, or a rate is no number.
    """
    path = Path(path)
    parts = _true_rates(_record(path), names) or [entry.get("rate_ppm", 0.0) for entry in _entries(path, names)]
    for name, part in zip(names, parts, strict=True):
        if isinstance(part, bool) or not isinstance(part, int | float) or not math.isfinite(part):
            raise UserError(f"{path}: the rate of camera '{name}' should be a finite number, not {part!r}")
    return 1e-6 * torch.tensor(parts, dtype=torch.float64)


def read_errors(path: Path, names: Sequence[str]) -> Float64[Tensor, " C"]:
    """Standard errors by camera name, seconds, float64, shape [C]; NaN where none is written."""
    return _finite([entry.get("stderr") for entry in _entries(path, names)])


def read_rate_errors(path: Path, names: Sequence[str]) -> Float64[Tensor, " C"]:
    """Standard errors of the rates likewise, 1e-6: one part per million."""
    return 1e-6 * _finite([entry.get("rate_ppm_stderr") for entry in _entries(path, names)])


def read_reasons(path: Path, names: Sequence[str]) -> dict[str, str]:
    """By camera name, why the file calls it undetermined, where it says so."""
    found = zip(names, (entry.get("reason") for entry in _entries(path, names)), strict=True)
    return {name: reason for name, reason in found if isinstance(reason, str) and reason}


def read_believed(path: Path) -> bool:
    """Whether the file's standard errors are the whole error: of ``sync``, or of a training that began with such."""
    record = _record(path)
    return isinstance(record, dict) and (record.get("source") == "sync" or record.get("began_known") is True)


def _finite(parts: Sequence[object]) -> Float64[Tensor, " C"]:
    """Numbers as they are; NaN for anything else."""
    known = [isinstance(part, int | float) and not isinstance(part, bool) and math.isfinite(part) for part in parts]
    values = [part if fine else math.nan for part, fine in zip(parts, known, strict=True)]
    return torch.tensor(values, dtype=torch.float64)


def _true_rates(record: object, names: Sequence[str]) -> list | None:
    """The ``rates_ppm`` of a scene folder's truth, in camera order or by name; None where there are none."""
    rates = record.get("rates_ppm") if isinstance(record, dict) and "seconds" in record else None
    if isinstance(rates, dict):
        return [rates.get(name, 0.0) for name in names]
    return rates if isinstance(rates, list) and len(rates) == len(names) else None


def _entries(path: Path, names: Sequence[str]) -> list[dict]:
    """What the file says of each camera beside an offset; empty where it says nothing."""
    record = _record(path)
    cameras = record.get("cameras") if isinstance(record, dict) else None
    found = [cameras.get(name) if isinstance(cameras, dict) else None for name in names]
    return [entry if isinstance(entry, dict) else {} for entry in found]


def _record(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; write it with 'syncnerf sync --out'") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: is not valid json ({error}); write it again") from error


def _by_name(path: Path, record: object, names: Sequence[str]) -> dict[str, object]:
    if isinstance(record, dict) and isinstance(record.get("cameras"), dict):
        if record.get("unit", "seconds") != "seconds":
            raise UserError(f"{path}: its unit is {record['unit']!r}; convert the offsets to seconds")
        cameras = record["cameras"]
        return {name: entry.get("offset") if isinstance(entry, dict) else entry for name, entry in cameras.items()}
    seconds = record.get("seconds") if isinstance(record, dict) else None
    if isinstance(seconds, dict):
        return seconds
    if isinstance(seconds, list) and len(seconds) == len(names):
        return dict(zip(names, seconds, strict=True))
    raise UserError(f"{path}: holds neither 'cameras' nor 'seconds' for {len(names)} cameras; is it an offsets.json?")


def _seconds(path: Path, name: str, value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{path}: the offset of camera '{name}' should be a finite number, not {value!r}")
    return float(value)
