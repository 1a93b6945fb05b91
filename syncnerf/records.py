"""Reading and checking json records: numbers, matrices, rigid motions, cameras' names."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.errors import UserError, one_line


def read_json(path: Path) -> Any:
    """Parse a json file; raises UserError that names it when it is missing or unreadable."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # editors on Windows begin files with a mark
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is this the scene's folder?") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: is not valid json (line {error.lineno}: {error.msg}); write it again") from error
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not in UTF-8; save it so (PowerShell's '>' writes UTF-16)") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)})") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Parse a json file that should hold an object; raises UserError that names it."""
    record = read_json(path)
    if not isinstance(record, dict):
        raise UserError(f"{path}: should hold a json object, not a {type(record).__name__}; write it again")
    return record


def rigid_matrix(values: Any, where: str) -> Float64[Tensor, "4 4"]:
    """Check a camera-to-world matrix, float64, shape [4, 4].

    Args:
        values: 4 (or 3) rows of 4 numbers.
        where: file and entry, for the error's text.

    Raises:
        UserError: not a matrix, not finite, or not a rotation with a translation.
    """
    matrix = matrix_of(values, where)
    if matrix.shape == (3, 4):
        matrix = torch.cat([matrix, torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)])
    if matrix.shape != (4, 4):
        raise UserError(f"{where}: has shape {tuple(matrix.shape)}; give 4 rows of 4")
    rotation = matrix[:3, :3]
    deviation = (rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max().item()
    if deviation > 1e-3 or torch.linalg.det(rotation) < 0:
        raise UserError(
            f"{where}: is not a rigid motion (rotation part off by {deviation:.2g}, "
            f"determinant {torch.linalg.det(rotation).item():.3f}); camera-to-world in OpenGL axes is expected"
        )
    if (matrix[3] - torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)).abs().max() > 1e-6:
        raise UserError(f"{where}: its last row is not 0 0 0 1; is the matrix transposed?")
    return matrix


def quaternion_matrix(quaternion: Sequence[float], where: str) -> Float64[Tensor, "3 3"]:
    """Rotation of a quaternion (w, x, y, z) of any length, float64, shape [3, 3]; raises UserError where it is 0."""
    numbers = torch.tensor(quaternion, dtype=torch.float64)
    length = float(numbers.norm())
    if not math.isfinite(length) or length < 1e-9:
        raise UserError(f"{where} is no rotation; calibrate again")
    w, x, y, z = (numbers / length).tolist()
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    return torch.eye(3, dtype=torch.float64) + 2 * w * cross + 2 * cross @ cross


def matrix_of(values: Any, where: str) -> Float64[Tensor, "..."]:
    """Nested lists of finite numbers as a float64 tensor; raises UserError."""
    try:
        matrix = torch.tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise UserError(f"{where}: is not a matrix of numbers; give rows of numbers") from None
    if not torch.isfinite(matrix).all():
        raise UserError(f"{where}: holds NaN or infinity; estimate it again")
    return matrix


def number(record: dict[str, Any], key: str, where: str, default: float | None = None) -> float:
    """A finite number from a json record; raises UserError naming file and key where it is missing or unfit."""
    value = record.get(key, default)
    try:
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer beyond floating point
        pass
    raise UserError(f"{where}: '{key}' should be a finite number, not {str(value)[:40]!r}")


def positive(record: dict[str, Any], key: str, where: str, default: float | None = None) -> float:
    """A finite number above zero from a json record; raises UserError."""
    value = number(record, key, where, default)
    if value <= 0:
        raise UserError(f"{where}: '{key}' should be more than 0, not {value:g}")
    return value


def refuse_repeated(names: Sequence[str], path: Path) -> None:
    """Raise UserError where two cameras of a file have one name."""
    repeated = [name for i, name in enumerate(names) if name in names[:i]]
    if repeated:
        raise UserError(f"{path}: two cameras are called '{repeated[0]}'; give each its own name")
