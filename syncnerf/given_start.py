"""A training that starts from an ``offsets.json``: what that knows of the clocks, and how well."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from syncnerf.clock_prior import ClockStart
from syncnerf.errors import UserError
from syncnerf.offsets_file import read_believed, read_errors, read_offsets, read_rate_errors, read_rates, read_reasons
from syncnerf.scene.scene import Scene

logger = logging.getLogger(__name__)


def start_of_file(path: Path, scene: Scene) -> ClockStart | None:
    """What a file of offsets knows of cameras' clocks; None, with a warning, where it has no offset at all.

    Standard errors count where synchronisation wrote them, or a training that began with such, one for each camera that
    is determined. (Those of a training that began with nothing tell how sure it is of the valley that it is in.) They
    are of the videos' beginnings; in the middle of the videos, which is what training holds clocks by, rates make them
    no larger.

    Args:
        path: the file.
        scene: whose cameras it should know; a training camera without an offset, or one that by its offset filmed while
            no other did, is worth a warning.

    Raises:
        UserError: the file is missing or unfit, or by it no two training cameras filmed at the same time.
    """
    names = scene.names
    offsets, rates, errors = read_offsets(path, names), read_rates(path, names), read_errors(path, names)
    known = ~offsets.isnan()
    if not known.any():
        logger.warning("%s: determines no camera; offsets start from zero", path)
        return None
    stated = read_believed(path) and bool(errors[known].isfinite().all())
    _warn_of_undetermined(path, names, [index for index in scene.train if not known[index]], stated)
    _check_overlap(path, scene, offsets)
    if not stated:
        return ClockStart(offsets, rates)
    rate_errors = read_rate_errors(path, names)
    return ClockStart(offsets, rates, _covariance(errors, known), rate_errors if rates.any() else None)


def _check_overlap(path: Path, scene: Scene, offsets: Float64[Tensor, " C"]) -> None:
    """Name the training cameras that filmed while no other did, by offsets in seconds [C] of which some may be NaN."""
    indices = [index for index in scene.train if not offsets[index].isnan()]
    ends = torch.stack([scene.cameras[index].frame_times[[0, -1]] for index in indices]) + offsets[indices, None]
    meets = (ends[:, None, 0] <= ends[:, 1]) & (ends[:, 0] <= ends[:, None, 1])  # of each two cameras, float64 seconds
    alone = [scene.names[index] for index, met in zip(indices, meets.sum(dim=1).tolist(), strict=True) if met == 1]
    if not alone or len(indices) < 2:
        return
    if len(alone) == len(indices):
        raise UserError(f"{path}: by it no two training cameras filmed at the same time; are its offsets in seconds?")
    logger.warning("%s: by it %s filmed while no other training camera did", path, ", ".join(alone))


def _covariance(errors: Float64[Tensor, " C"], known: Bool[Tensor, " C"]) -> Float64[Tensor, "C C"]:
    """Covariance [C, C] of errors [C] that have nothing to do with each other; NaN rows and columns where not known."""
    return torch.where(known[:, None] & known, torch.diag(errors.square().nan_to_num(0.0)), torch.nan)


def _warn_of_undetermined(path: Path, names: Sequence[str], cameras: Sequence[int], stated: bool) -> None:
    """Say which cameras start at 0 for want of an offset, and whether they are sought."""
    reasons = read_reasons(path, names)
    what_then = (
        ", and is sought in the field that the others make" if stated
        else " and hardly moves, as nothing tells how sure the others are; give it an offset, or start from a sync.json"
    )  # fmt: skip
    for index in cameras:
        reason = reasons.get(names[index], "no reason given")
        logger.warning(
            "camera %s is not determined by %s (%s); its offset starts at 0%s", names[index], path, reason, what_then
        )
