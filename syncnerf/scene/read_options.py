"""What a reader is asked for: size, split, cache."""

from dataclasses import dataclass
from pathlib import Path

from syncnerf.errors import UserError, did_you_mean


@dataclass(frozen=True)
class ReadOptions:
    """How a scene is read.

    Attributes:
        downsample: images are this many times smaller than the files', per side.
        max_side: largest side of an image in pixels after that, or None.
        test_cameras: names of the evaluation cameras; empty for the format's own (camera 0).
        exclude_cameras: names of cameras to leave out.
        cache_dir: folder of the decoded frames; None for the default one.
    """

    downsample: float = 1.0
    max_side: int | None = None
    test_cameras: tuple[str, ...] = ()
    exclude_cameras: tuple[str, ...] = ()
    cache_dir: Path | None = None

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height to read at, in pixels, from the full ones."""
        factor = 1 / self.downsample
        if self.max_side is not None:
            factor = min(factor, self.max_side / max(width, height))
        return max(1, round(width * factor)), max(1, round(height * factor))


def choose_cameras(names: list[str], options: ReadOptions, path: Path) -> tuple[list[int], tuple[int, ...]]:
    """Apply ``exclude_cameras`` and ``test_cameras``.

    Args:
        names: all cameras' names in order.
        options: what the user asked for.
        path: the file to name in errors.

    Returns:
        Indices of the cameras that are kept, and among the kept the indices of the test ones (default: the first).

    Raises:
        UserError: an unknown name, or nothing left to train on.
    """
    for name in (*options.exclude_cameras, *options.test_cameras):
        if name not in names:
            raise UserError(f"{path}: has no camera '{name}'{did_you_mean(name, names)} (has: {', '.join(names)})")
    kept = [i for i, name in enumerate(names) if name not in options.exclude_cameras]
    kept_names = [names[i] for i in kept]
    test = tuple(i for i, name in enumerate(kept_names) if name in options.test_cameras) or ((0,) if kept else ())
    if len(kept) < 2 or len(test) == len(kept):
        raise UserError(
            f"{path}: {len(kept)} cameras, {len(test)} for evaluation: none is left to train on; add cameras"
        )
    return kept, test
