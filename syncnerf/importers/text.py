"""Reading the text that calibrations are written in: toml, OpenCV's yaml, csv."""

import tomllib
from pathlib import Path
from typing import Any

from syncnerf.errors import UserError, one_line

LARGEST_TEXT = 64 << 20
"""Largest file in bytes that is read; a larger one is no calibration."""


def read_text(path: Path) -> str:
    """A file's text; raises UserError where it is missing, too large or no text."""
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise UserError(f"{path}: is too large for a calibration; name the calibration's file")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name the calibration's file or folder") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as text ({one_line(error)}); write it again") from error


def read_toml(path: Path) -> dict[str, Any]:
    """A toml file's tables; raises UserError."""
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{path}: is not valid toml ({one_line(error)}); write it again") from error


def read_opencv_yaml(path: Path) -> dict[str, Any]:
    """A file of OpenCV's FileStorage: numbers, texts, lists, and matrices as nested lists; raises UserError.

    OpenCV's first line (``%YAML:1.0``) is not valid yaml, and its matrices have a tag of their own. Only plain data and
    that tag are accepted.
    """
    try:
        import yaml
    except ImportError as error:
        raise UserError(f"{path}: reading yaml needs PyYAML ({error}); pip install 'syncnerf[yaml]'") from error

    class OpenCvLoader(yaml.SafeLoader):
        """Plain data and OpenCV's matrices."""

    def matrix(loader: yaml.SafeLoader, node: yaml.Node) -> list:
        return _rows(loader.construct_mapping(node, deep=True))

    OpenCvLoader.add_constructor("tag:yaml.org,2002:opencv-matrix", matrix)
    lines = read_text(path).splitlines()
    if lines and lines[0].startswith("%YAML"):
        lines = lines[1:]
    loader = None
    try:
        loader = OpenCvLoader("\n".join(lines))
        record = loader.get_single_data()
    except (yaml.YAMLError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = getattr(error, "problem", None) or one_line(error)
        raise UserError(f"{path}: is not valid yaml of OpenCV ({reason}); write it again") from error
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(record, dict):
        raise UserError(f"{path}: holds no named values; write it again with OpenCV's FileStorage")
    return record


def _rows(record: dict[str, Any]) -> list:
    """A matrix's rows; raises ValueError where its size and its data disagree."""
    rows, columns, data = int(record["rows"]), int(record["cols"]), record["data"]
    if not isinstance(data, list) or len(data) != rows * columns:
        raise ValueError("a matrix's data does not fill its rows and columns")
    data = [float(value) for value in data]
    return [data[row * columns : (row + 1) * columns] for row in range(rows)]
