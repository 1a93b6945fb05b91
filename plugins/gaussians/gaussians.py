"""What is drawn: Gaussians, how they move, and the views that they are seen in."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float, Float64, Int32
from torch import Tensor

from syncnerf.scene.camera import Camera, Intrinsics
from syncnerf.scene.rays import Rays


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians at their own moments of reference; float32 (float64 for the plain twin), all differentiable.

    A Gaussian with a number that is not finite, or with a quaternion of length 0, is not drawn and gets no gradient.

    Attributes:
        means: centres, scene units, shape [N, 3].
        quaternions: rotations w x y z from the Gaussian's axes to the world's, of any length, shape [N, 4].
        log_scales: logarithms of the standard deviations along its axes, shape [N, 3].
        opacity_logits: opacities before the logistic function, shape [N].
        harmonics: colours as real spherical harmonics of the direction from the ray's origin to the centre, in the
            order of :func:`syncnerf.encodings.spherical_harmonics.spherical_harmonics`, of degree 0 to 3, shape
            [N, 1 | 4 | 9 | 16, 3]; a colour is ``max(0, 0.5 + sum of harmonics)``. They do not turn with the Gaussian.
    """

    means: Float[Tensor, "N 3"]
    quaternions: Float[Tensor, "N 4"]
    log_scales: Float[Tensor, "N 3"]
    opacity_logits: Float[Tensor, " N"]
    harmonics: Float[Tensor, "N K 3"]

    def __len__(self) -> int:
        return self.means.shape[0]


@dataclass(frozen=True)
class Poses:
    """Poses of M nodes of a scaffold at V moments, or their derivatives by time.

    Attributes:
        positions: shape [V, M, 3].
        quaternions: rotations w x y z of length 1, shape [V, M, 4].
    """

    positions: Float[Tensor, "V M 3"]
    quaternions: Float[Tensor, "V M 4"]

    def __getitem__(self, moments: slice) -> Poses:
        """The poses at some of the moments."""
        return Poses(self.positions[moments], self.quaternions[moments])


@dataclass(frozen=True)
class Skinning:
    """Which nodes of a scaffold carry each Gaussian.

    Attributes:
        nodes: four nodes of each Gaussian, int32, shape [N, 4]; -1 in all four places for one that rests.
        weights: their shares, which should sum to 1, shape [N, 4].
        moments: the row of ``rest`` at which a Gaussian is where its mean says, int32, shape [N].
        rest: the nodes' poses at the J moments of reference.
        poses: the nodes' poses at the V moments that are drawn.
        rates: derivatives of ``poses`` by time, for derivatives of pictures by time.
    """

    nodes: Int32[Tensor, "N 4"]
    weights: Float[Tensor, "N 4"]
    moments: Int32[Tensor, " N"]
    rest: Poses
    poses: Poses
    rates: Poses | None = None


@dataclass(frozen=True)
class Drift:
    """Straight motion and a limited life (FreeTimeGS, Wang et al., CVPR 2025, arXiv 2506.05348, with a plateau).

    Attributes:
        velocities: scene units per unit of time, shape [N, 3].
        centres: the middle of a Gaussian's life, at which drift is zero, shape [N].
        plateaus: time to either side through which its opacity is whole, shape [N].
        fades: standard deviation of the decline beyond, in units of time, positive, shape [N]; infinite where a
            Gaussian lives forever.
    """

    velocities: Float[Tensor, "N 3"]
    centres: Float[Tensor, " N"]
    plateaus: Float[Tensor, " N"]
    fades: Float[Tensor, " N"]


@dataclass(frozen=True)
class Motion:
    """How Gaussians come to V moments.

    Attributes:
        times: the moments, in any one unit of time, float64, shape [V].
        skinning: motion with a scaffold, or None.
        drift: motion and life of their own, or None.
    """

    times: Float64[Tensor, " V"]
    skinning: Skinning | None = None
    drift: Drift | None = None


@dataclass(frozen=True)
class PinholePicture:
    """A picture, or a part of one, that a pinhole camera takes at one moment.

    Attributes:
        intrinsics: size, focal lengths and centre, pixels.
        camera_to_world: OpenGL axes (+X right, +Y up, -Z view), float64, shape [4, 4].
        near: Gaussians whose centres are nearer to the camera than this are not drawn.
        far: nor are those whose centres are further than this.
    """

    intrinsics: Intrinsics
    camera_to_world: Float64[Tensor, "4 4"]
    near: float = 0.0
    far: float = float("inf")

    def __len__(self) -> int:
        """Number of pixels."""
        return self.intrinsics.width * self.intrinsics.height

    def cropped(self, left: int, top: int, width: int, height: int) -> PinholePicture:
        """The part of the picture that begins at a pixel and has a size."""
        whole = self.intrinsics
        part = replace(whole, width=width, height=height, centre_x=whole.centre_x - left, centre_y=whole.centre_y - top)
        return replace(self, intrinsics=part)

    def bands(self, rows: int) -> list[PinholePicture]:
        """The picture cut into bands of ``rows`` rows, top to bottom, the last one of what is left.

        Rolling shutters are drawn so, each band at the moment of its own middle row.
        """
        height, width = self.intrinsics.height, self.intrinsics.width
        return [self.cropped(0, top, width, min(rows, height - top)) for top in range(0, height, rows)]

    def rays(self) -> Rays:
        """Rays through the pixel centres, row by row."""
        camera = Camera("", self.intrinsics, self.camera_to_world.double().cpu(), fps=1.0, frame_count=1)
        return camera.all_rays(self.near, self.far)
