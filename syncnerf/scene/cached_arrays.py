"""Arrays that are computed once and kept in a file, beside the frames of a scene, for the next run."""

import logging
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from syncnerf.atomic import atomic_file
from syncnerf.errors import UserError

logger = logging.getLogger(__name__)


def load_arrays(path: Path, names: Sequence[str]) -> list[Shaped[np.ndarray, " ..."]] | None:
    """The arrays of these names in a file; None where it or one of them is not there, or is damaged."""
    try:
        with np.load(path, allow_pickle=False) as record:
            return [record[name] for name in names]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def save_arrays(path: Path, arrays: Mapping[str, Shaped[np.ndarray, " ..."]]) -> None:
    """Keep arrays by name for the next run; where that fails, a line in the log says so, and it computes them again."""
    try:
        with atomic_file(path, "it is computed again next time") as partial, partial.open("wb") as file:
            np.savez(file, **arrays)
    except UserError as error:
        logger.warning("%s", error)
