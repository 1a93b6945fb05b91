"""What a reader is asked for: size, split, cache."""

import math
from dataclasses import dataclass
from pathlib import Path

from syncnerf.errors import UserError, did_you_mean
from syncnerf.option import Range
from syncnerf.records import refuse_repeated

DOWNSAMPLE = Range(1, 1000, "images are only made smaller", also=0)
DISTANCE = Range(0, 1e12, "a scene lies before its cameras")


@dataclass(frozen=True)
class ReadOptions:
    """How a scene is read.

    Attributes:
        downsample: images are this many times smaller than the files', per side; 0 for the format's own (2 for the
            2704-pixel videos of N3V, else 1).
        max_side: largest side of an image in pixels after that, or None.
        test_cameras: names of the evaluation cameras; empty for the format's own (camera 0).
        exclude_cameras: names of cameras to leave out.
        cache_dir: folder of the decoded frames; None for the default one.
        bounds: two corners of the scene's box, six numbers; empty for the scene's own.
        near: distance from a camera at which the scene may begin; 0 for the scene's own.
        far: distance at which it ends; 0 for the scene's own.

    Raises:
        UserError: a number is out of range, or the bounds are none.
    """

    downsample: float = 0.0
    max_side: int | None = None
    test_cameras: tuple[str, ...] = ()
    exclude_cameras: tuple[str, ...] = ()
    cache_dir: Path | None = None
    bounds: tuple[float, ...] = ()
    near: float = 0.0
    far: float = 0.0

    def __post_init__(self) -> None:
        DOWNSAMPLE.check("downsample", self.downsample)
        if self.max_side is not None and self.max_side < 1:
            raise UserError(f"max_side = {self.max_side}: should be 1 or more")
        if self.bounds and (len(self.bounds) != 6 or not all(map(math.isfinite, self.bounds))):
            raise UserError(f"bounds = {','.join(map(str, self.bounds))}: should be six numbers, two corners of a box")
        if self.bounds and any(low >= high for low, high in zip(self.bounds[:3], self.bounds[3:], strict=True)):
            raise UserError("bounds: should be two corners of three numbers, the lower one first")
        for name in ("near", "far"):
            DISTANCE.check(name, getattr(self, name))

    def size(self, width: int, height: int, standard: float = 1.0) -> tuple[int, int]:
        """Width and height to read at, in pixels, from the full ones; ``standard`` is the format's own downsample."""
        factor = 1 / (self.downsample or standard)
        if self.max_side is not None:
            factor = min(factor, self.max_side / max(width, height))
        return max(1, round(width * factor)), max(1, round(height * factor))


def names_in(text: str) -> tuple[str, ...]:
    """The names in an option like ``cam01,cam02``."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def box_numbers(text: str) -> tuple[float, ...]:
    """The numbers of an option like ``-1,-1,-1,1,1,1``, empty for an empty one; raises UserError."""
    try:
        return tuple(float(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise UserError(f"bounds = {text}: should be six numbers with commas between, two corners of a box") from None


def choose_cameras(
    names: list[str], options: ReadOptions, path: Path, own_test: tuple[str, ...] = ()
) -> tuple[list[int], tuple[int, ...]]:
    """Apply ``exclude_cameras`` and ``test_cameras``.

    Args:
        names: all cameras' names in order.
        options: what the user asked for.
        path: the file to name in errors.
        own_test: the format's own evaluation cameras; empty for the first that is kept.

    Returns:
        Indices of the cameras that are kept, and among the kept the indices of the test ones.

    Raises:
        UserError: an unknown or repeated name, or nothing left to train on.
    """
    refuse_repeated(names, path)
    for name in (*options.exclude_cameras, *options.test_cameras):
        if name not in names:
            raise UserError(f"{path}: has no camera '{name}'{did_you_mean(name, names)} (has: {', '.join(names)})")
    both = [name for name in options.test_cameras if name in options.exclude_cameras]
    if both:
        raise UserError(f"camera '{both[0]}' is among test_cameras and among exclude_cameras; leave it out of one")
    kept = [i for i, name in enumerate(names) if name not in options.exclude_cameras]
    wanted = options.test_cameras or own_test
    test = tuple(i for i, k in enumerate(kept) if names[k] in wanted) or ((0,) if kept else ())
    if len(kept) < 2 or len(test) == len(kept):
        raise UserError(
            f"{path}: {len(kept)} cameras, {len(test)} for evaluation: none is left to train on; add cameras"
        )
    return kept, test
