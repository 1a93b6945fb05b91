"""The files of COLMAP's models: where they lie, and their numbers."""

import struct
from pathlib import Path

from syncnerf.errors import UserError, one_line
from syncnerf.importers.text import read_text

FOLDERS = ("", "sparse/0", "sparse", "colmap/sparse/0", "0")
"""Subfolders of the folder that the user names in which a model is looked for."""


def model_folder(path: Path) -> tuple[Path, str] | None:
    """Folder of the model in or below the one that the user named, and its files' suffix; None if there is none."""
    for below in FOLDERS:
        for suffix in (".bin", ".txt"):
            if all((path / below / f"{part}{suffix}").is_file() for part in ("cameras", "images")):
                return path / below, suffix
    return None


class BinaryFile:
    """Reads little-endian numbers of a binary file in order; every method raises UserError if the file ends early."""

    def __init__(self, path: Path):
        self.path, self.place = path, 0
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({one_line(error)})") from error

    def take(self, layout: str) -> tuple:
        """The next numbers, as ``struct`` lays them out."""
        try:
            values = struct.unpack_from("<" + layout, self.data, self.place)
        except (struct.error, OverflowError):
            raise UserError(f"{self.path}: breaks off; export the model again") from None
        self.place += struct.calcsize("<" + layout)
        return values

    def text(self) -> str:
        """The next text, which ends with a 0."""
        end = self.data.find(b"\0", self.place)
        if end < 0:
            raise UserError(f"{self.path}: breaks off; export the model again")
        text = self.data[self.place : end].decode("utf-8", errors="replace")
        self.place = end + 1
        return text


def numbered_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Numbered lines as words, without the comments."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    return [(number, line.split()) for number, line in lines if not line.startswith("#")]


def numbers(where: str, words: list[str]) -> list[float]:
    """Words as numbers; raises UserError."""
    try:
        return [float(word) for word in words]
    except ValueError:
        raise UserError(f"{where} holds a word where a number should be; export the model again") from None
