"""From world points to the cube [-1, 1]^3 that a field lives in."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.scene.geometry import NormalizedDeviceCoordinates, SceneGeometry
from syncnerf.scene.rays import Rays


def contract(points: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
    """Contract unbounded space into the cube of half side 2, leaving the cube [-1, 1]^3 as it is.

    mip-NeRF 360 (Barron et al. 2022, equation 10) with the maximum norm, as nerfstudio and K-Planes use it.
    Points [..., 3], in units in which the scene's box is [-1, 1]^3.
    """
    norm = points.abs().amax(dim=-1, keepdim=True).clamp_min(1e-9)
    return torch.where(norm <= 1.0, points, (2.0 - 1.0 / norm) * points / norm)


def to_ndc(rays: Rays, camera: NormalizedDeviceCoordinates, near: float = 1.0) -> Rays:
    """Warp rays of forward-facing cameras to normalised device coordinates (NeRF, appendix C).

    A ray's point at distance infinity lands at z = 1, at the near plane (``z = -near`` in the world) at z = -1.

    Returns:
        Rays with unit directions that begin at the near plane (near 0) and end at infinity (far: their length there).
    """
    shift = -(near + rays.origins[:, 2]) / rays.directions[:, 2]
    origins = rays.origins + shift[:, None] * rays.directions
    scale_x, scale_y = 2.0 * camera.focal / camera.width, 2.0 * camera.focal / camera.height
    x, y = origins[:, 0] / origins[:, 2], origins[:, 1] / origins[:, 2]
    warped_origins = torch.stack([-scale_x * x, -scale_y * y, 1.0 + 2.0 * near / origins[:, 2]], dim=-1)
    warped_directions = torch.stack(
        [
            -scale_x * (rays.directions[:, 0] / rays.directions[:, 2] - x),
            -scale_y * (rays.directions[:, 1] / rays.directions[:, 2] - y),
            -2.0 * near / origins[:, 2],
        ],
        dim=-1,
    )
    length = warped_directions.norm(dim=-1)
    return Rays(warped_origins, warped_directions / length[:, None], torch.zeros_like(length), length)


class FieldSpace(nn.Module):
    """From the world to the cube [-1, 1]^3 that a field lives in.

    First the world (or its normalised device coordinates) is moved and scaled so that the box is centred on the origin
    and its longest side is 2: there rays are followed, and lengths and densities have their units. Nothing that comes
    after knows the scene's own units, or where its origin is. Then the box is stretched to the cube and, where asked,
    what lies beyond it is contracted.

    Attributes:
        bounds: corners of the box in these units, float32, shape [2, 3].
        unit: length of one of them in the space of the geometry's bounds.
    """

    def __init__(self, geometry: SceneGeometry):
        super().__init__()
        self.contraction = geometry.contraction
        self.ndc = geometry.ndc
        box = geometry.bounds.double()
        self.unit = 0.5 * float((box[1] - box[0]).max())
        centre = 0.5 * (box[0] + box[1])
        self.register_buffer("centre", centre, persistent=False)
        self.register_buffer("bounds", ((box - centre) / self.unit).float(), persistent=False)
        self.reach = (geometry.far - geometry.near) / self.unit if geometry.contraction else 2.0

    def warp(self, rays: Rays) -> Rays:
        """Rays in the space where samples are placed, float32."""
        warped = rays if self.ndc is None else to_ndc(rays, self.ndc)
        # Subtracted in double precision: a world whose origin is far away keeps its detail.
        origins = ((warped.origins.double() - self.centre) / self.unit).float()
        return Rays(origins, warped.directions.float(), warped.near.float() / self.unit, warped.far.float() / self.unit)

    def normalize(self, points: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        """Points [..., 3] of that space to the field's cube, [-1, 1]^3."""
        scaled = 2.0 * (points - self.bounds[0]) / (self.bounds[1] - self.bounds[0]) - 1.0
        return 0.5 * contract(scaled) if self.contraction else scaled
