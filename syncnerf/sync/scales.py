"""What finer lines and trends make of the offsets, and what that says of their errors."""

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn.functional import normalize, pad

from syncnerf.scene.camera import Camera
from syncnerf.scene.placement import looked_at_point

BETWEEN_SCALES = 1.5
"""Standard errors for each second by which an offset differs from scale to scale; measured."""
LEAST_TREND = 0.01
"""Frames per unit of direction: a trend's standard error at least; measured."""
LEAST_CAMERAS = 10
"""From fewer cameras no trend is taken: it has three unknowns beside the common shift."""
RIDGE = 0.1
"""What directions that the cameras hardly differ in lack, as a sum of squares; else chance would be blown up there."""


def moved_by_scale(
    design: Float64[Tensor, "rows U"], deviations: Float64[Tensor, " rows"], rescaled: Float64[Tensor, " M"], count: int
) -> Float64[Tensor, " C"]:
    """By how much each offset differs from the coarser to the finer scale, seconds, float64, shape [C].

    Args:
        design: as of :func:`syncnerf.sync.uncertainty.jackknife`.
        deviations: likewise.
        rescaled: by how much each used lag differs, seconds, float64, shape [M].
        count: number C of offsets, the first unknowns.
    """
    moved = pad(rescaled, (0, len(design) - len(rescaled)))
    return (torch.linalg.pinv(design / deviations[:, None]) @ (moved / deviations))[:count]


def between_scales(moved: Float64[Tensor, " C"]) -> Float64[Tensor, "C C"]:
    """What offsets err by that neither pairs nor stretches of time show, from how they change with the scale.

    What moves slowly, is hidden or comes into view draws all lags of a camera the same way, at all times. How far
    depends on the widths of lines and trends: where finer ones move an offset, still finer ones would too. Half of each
    camera's variance is its own, half that of all.

    Args:
        moved: as of :func:`moved_by_scale`, the part that follows no trend.

    Returns:
        Covariance, diagonal, seconds^2, float64, shape [C, C].
    """
    squares = moved.square()
    return torch.diag(BETWEEN_SCALES**2 * 0.5 * (squares + squares.mean()))


def viewing_directions(cameras: Sequence[Camera]) -> Float64[Tensor, "C 3"]:
    """Unit directions to static cameras from what they look at, in the world, float64, shape [C, 3]."""
    poses = torch.stack([camera.pose(0).double() for camera in cameras])
    return normalize(poses[:, :3, 3] - looked_at_point(poses), dim=1)


def trend_over_directions(
    moved: Float64[Tensor, " C"], directions: Float64[Tensor, "C 3"], interval: float
) -> tuple[Float64[Tensor, " C"], Float64[Tensor, "C C"]]:
    """How the offsets' change from scale to scale goes on beyond the finer one, and what is then left to err.

    A camera sees the near side of what moves, and that lies ahead of the middle for cameras that it comes towards, and
    behind for those that it leaves: on the average over the motion, offsets err by a linear function of the direction
    to the camera. Finer scales, which weigh small parts more, lose part of it; the rest follows the same directions.
    The finer scale's gain is taken once more, and the errors are those of a trend of unknown direction.

    Args:
        moved: as of :func:`moved_by_scale`.
        directions: of these cameras, see :func:`viewing_directions`.
        interval: seconds between frames.

    Returns:
        Correction, seconds, float64, shape [C], and its covariance, seconds^2, float64, shape [C, C]; of the mean 0.
    """
    count = len(moved)
    if count < LEAST_CAMERAS:
        return torch.zeros_like(moved), torch.zeros(count, count, dtype=torch.float64)
    apart = directions - directions.mean(0)
    normal = apart.T @ apart + RIDGE * torch.eye(3, dtype=torch.float64)
    slope = torch.linalg.solve(normal, apart.T @ (moved - moved.mean()))
    # Which way the next scale would go is not known: all directions may err alike.
    variance = BETWEEN_SCALES**2 * slope.square().mean() + (LEAST_TREND * interval) ** 2
    return apart @ slope, variance * apart @ apart.T
