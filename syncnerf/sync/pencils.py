"""Epipolar pencils: the half-planes through two cameras' centres, and what each of them sees along its image line."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

from syncnerf.scene import Camera
from syncnerf.sync.energy import MotionEnergy

LINE_WIDTH, FINE_LINE_WIDTH = 0.85, 0.5
"""Distance between neighbouring lines where the median moving pixel is, in pixels of the finer energy map; the second
where the poses are exact enough for it."""
MOST_LINES = 400
"""Upper bound on the lines of a pair."""
WIDEST_PIXEL = 4.0
"""A pixel so near to an epipole that it spans more lines than this counts for nothing."""
LEAST_LINES = 4
"""A pair that shares fewer lines is not compared."""
LEAST_BASELINE = 1e-4
"""Smallest distance of two cameras, as a share of the cameras' typical distance from each other."""


@dataclass(frozen=True)
class PencilView:
    """What a pencil needs of one camera.

    Attributes:
        centre: the camera's place, scene units, float32, shape [3].
        forward: unit viewing direction, float32, shape [3].
        rays: unit directions in the world through the energy's pixels, float32, shape [P, 3].
        spacing: radians between neighbouring pixels of the energy map, at the image's middle.
    """

    centre: Float32[Tensor, " 3"]
    forward: Float32[Tensor, " 3"]
    rays: Float32[Tensor, "P 3"]
    spacing: float


def view_through(camera: Camera, places: Float[Tensor, "P 2"], pixels: float = 1.0) -> PencilView:
    """A static camera's view through places (column, row) in its picture, of which neighbours are pixels apart."""
    intrinsics, pose = camera.intrinsics, camera.pose(0)
    rays = normalize(intrinsics.directions(places) @ pose[:3, :3].to(places.dtype).T, dim=-1)
    spacing = pixels / max(intrinsics.focal_x, intrinsics.focal_y)
    return PencilView(pose[:3, 3].float(), -pose[:3, 2].float(), rays.float(), spacing)


def pencil_view(camera: Camera, energy: MotionEnergy) -> PencilView:
    """Directions through the pixels of a static camera's energy map."""
    return view_through(camera, energy.pixel_centres, energy.pool)


def half_plane_angles(first: PencilView, second: PencilView) -> tuple[Float32[Tensor, " P1"], Float32[Tensor, " P2"]]:
    """For each pixel of both views the angle, about the baseline, of the half-plane that holds its ray.

    A point in space lies in one half-plane bounded by the line through both centres, so both of its images carry the
    same angle: whether the epipoles lie inside the images, outside or at infinity makes no difference. The cut at
    +-pi is turned away from where the cameras look.

    Returns:
        Angles in (-pi, pi] of the first and of the second view's pixels, float32, shapes [P1] and [P2].
    """
    along = normalize(second.centre - first.centre, dim=0)
    look = first.forward + second.forward
    look = look - (look @ along) * along
    if look.norm() < 1e-3:
        look = torch.eye(3)[int(along.abs().argmin())]
        look = look - (look @ along) * along
    across = normalize(look, dim=0)
    upward = torch.linalg.cross(along, across)
    return tuple(torch.atan2(view.rays @ upward, view.rays @ across) for view in (first, second))


def line_signals(
    first: PencilView,
    second: PencilView,
    energies: tuple[MotionEnergy, MotionEnergy],
    width: float = LINE_WIDTH,
) -> tuple[Float[Tensor, "L I1"], Float[Tensor, "L I2"]]:
    """Energy along corresponding epipolar lines of two cameras.

    The angles that both cameras' moving pixels cover are cut into equal lines about a pixel wide; each pixel's energy
    is shared between the two lines next to it. Pixels right at an epipole, which many lines cross, count for nothing.

    Args:
        first: the one camera.
        second: the other.
        energies: of both.
        width: of a line, see :data:`LINE_WIDTH`.

    Returns:
        Two matrices with one row per line, float32, shapes [L, T1 - 1] and [L, T2 - 1]; L is 0 where the cameras
        share no lines.
    """
    angles = half_plane_angles(first, second)
    if min(len(a) for a in angles) == 0:
        return tuple(energy.values.new_zeros(0, energy.values.shape[1], dtype=torch.float32) for energy in energies)
    along = normalize(second.centre - first.centre, dim=0)
    # What a pixel spans of the pencil: the nearer to the epipole, the more.
    extents = [
        view.spacing / torch.linalg.cross(view.rays, along.expand_as(view.rays)).norm(dim=-1).clamp_min(1e-6)
        for view in (first, second)
    ]
    low = max(float(a.min()) for a in angles)
    high = min(float(a.max()) for a in angles)
    count = int((high - low) / (width * min(float(extent.median()) for extent in extents)))
    if count < LEAST_LINES:
        return tuple(energy.values.new_zeros(0, energy.values.shape[1], dtype=torch.float32) for energy in energies)
    count = min(count, MOST_LINES)
    angle_width = (high - low) / count
    return tuple(
        _splat((angle - low) / angle_width - 0.5, extent < WIDEST_PIXEL * angle_width, count, energy.values.float())
        for angle, extent, energy in zip(angles, extents, energies, strict=True)
    )


def _splat(place: Tensor, usable: Tensor, count: int, values: Tensor) -> Tensor:
    """Share each pixel's values between the two rows next to its place, float32, shape [count, T]."""
    pixels = (usable & (place > -1) & (place < count)).nonzero()[:, 0]
    lower = place[pixels].floor()
    upper_share = place[pixels] - lower
    # Row -1 comes first. NumPy sorts whole numbers of 16 bits by their digits, many times faster than torch does.
    order = torch.from_numpy((lower + 1).short().numpy().argsort(kind="stable"))
    starts = torch.searchsorted(lower[order] + 1, torch.arange(count + 2, dtype=lower.dtype))
    below, above = (
        embedding_bag(
            pixels[order], values, starts, mode="sum", per_sample_weights=share[order], include_last_offset=True
        )
        for share in (1 - upper_share, upper_share)
    )
    return below[1:] + above[:-1]
